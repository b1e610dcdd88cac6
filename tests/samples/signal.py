# SPDX-License-Identifier: MIT
"""Samples of Fourier transforms."""

from __future__ import annotations

import numpy as np

from ranvier.ir import Array, ops
from samples import Sample

_RNG = np.random.default_rng(43)


def normal(*shape: int) -> Array:
    """Return float32 numbers around 0."""
    return _RNG.standard_normal(shape).astype(np.float32)


SAMPLES = [
    Sample(ops.Dft(1, 6), (normal(2, 6, 1),)),
    Sample(ops.Dft(0, 5, inverse=True), (normal(5, 3, 2),), "inverse"),
    Sample(ops.Dft(1, 8, onesided=True), (normal(2, 7, 1),), "padded"),
    Sample(ops.Dft(1, 7, inverse=True, onesided=True), (normal(2, 4, 2),), "real"),
    Sample(ops.Dft(1, 6, inverse=True, onesided=True), (normal(2, 5, 2),), "cropped"),
    Sample(ops.Dft(1, 96), (normal(1, 96, 2),), "split", atol=1e-5, gradient=None),
    Sample(ops.Dft(1, 131, inverse=True), (normal(1, 131, 2),), "chirp", gradient=None),
    Sample(ops.Dft(0, 4), (normal(4, 1).astype(np.float16),), "half"),
    Sample(ops.Stft(2, 5), (normal(2, 11, 1), normal(5))),
    Sample(ops.Stft(3, 4, onesided=False), (normal(1, 10, 2),), "complex"),
]
