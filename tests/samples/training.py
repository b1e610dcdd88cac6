# SPDX-License-Identifier: MIT
"""Samples of optimizer steps."""

from __future__ import annotations

import numpy as np

from ranvier.ir import Array, ops
from samples import Sample

_RNG = np.random.default_rng(47)
RATE = np.array(0.1, np.float32)
FIRST, LATER = np.array(0, np.int64), np.array(3, np.int64)


def tensors(states: int) -> tuple[Array, ...]:
    """Return a parameter, its gradient and positive states."""
    signed = tuple(_RNG.standard_normal((2, 3)).astype(np.float32) for _ in range(2))
    return signed + tuple(_RNG.uniform(0.5, 1, (2, 3)).astype(np.float32) for _ in range(states))


HALF = tuple(a.astype(np.float16) for a in tensors(1))

SAMPLES = [
    Sample(ops.Adam(), (RATE, FIRST, *tensors(2))),
    Sample(ops.Adam(0.8, 0.9, 1e-3, 0.1, 0.2), (RATE, LATER, *tensors(2)), "later"),
    Sample(ops.Adagrad(), (RATE, FIRST, *tensors(1))),
    Sample(ops.Adagrad(0.1, 1e-3, 0.2), (RATE, LATER, *tensors(1)), "later"),
    Sample(ops.Momentum(beta=0.5), (RATE, FIRST, *tensors(1))),
    Sample(ops.Momentum(0.8, 0.5, 0.1, nesterov=True), (RATE, LATER, *tensors(1)), "nesterov"),
    Sample(ops.Momentum(), (RATE, LATER, *HALF), "half"),
]
