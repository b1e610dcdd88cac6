# SPDX-License-Identifier: MIT
"""Samples of recurrent layers."""

from __future__ import annotations

import numpy as np

from ranvier.ir import Array, ops
from samples import Sample

_RNG = np.random.default_rng(23)
STEPS, BATCH, FEATURES, UNITS = 4, 3, 2, 3


def normal(*shape: int) -> Array:
    """Return float32 numbers around 0."""
    return _RNG.standard_normal(shape).astype(np.float32)


def layer(gates: int, states: int) -> tuple[Array, ...]:
    """Return x, w, r, b and the initial states."""
    return (
        normal(STEPS, BATCH, FEATURES),
        normal(gates * UNITS, FEATURES),
        normal(gates * UNITS, UNITS),
        normal(2 * gates * UNITS),
        *(normal(BATCH, UNITS) for _ in range(states)),
    )


LENGTHS = np.array([4, 0, 2], np.int32)
PEEPHOLE = normal(3 * UNITS)
SMOOTH = ("Softplus", "ScaledTanh", "Softsign")

SAMPLES = [
    Sample(ops.Rnn(), layer(1, 1)),
    Sample(ops.Rnn(("Affine",), (0.5,), (0.1,), clip=0.7), layer(1, 1), "clip", gradient=None),
    Sample(ops.Rnn(("Elu",), masked=True), (*layer(1, 1), LENGTHS), "masked"),
    Sample(ops.Gru(), layer(3, 1)),
    Sample(ops.Gru(linear_before_reset=True), layer(3, 1), "linear"),
    Sample(ops.Gru(("HardSigmoid", "LeakyRelu"), masked=True), (*layer(3, 1), LENGTHS), "masked"),
    Sample(ops.Lstm(), layer(4, 2)),
    Sample(ops.Lstm(peephole=True), (*layer(4, 2), PEEPHOLE), "peephole"),
    Sample(
        ops.Lstm(peephole=True, coupled=True, masked=True),
        (*layer(4, 2), PEEPHOLE, LENGTHS),
        "coupled",
    ),
    Sample(ops.Lstm(SMOOTH, (0.0, 1.2, 0.0), (0.0, 0.8, 0.0)), layer(4, 2), "smooth"),
    Sample(ops.Lstm(), tuple(a.astype(np.float16) for a in layer(4, 2)), "half"),
]
