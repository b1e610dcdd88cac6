# SPDX-License-Identifier: MIT
"""Samples of normalisations."""

from __future__ import annotations

import numpy as np

from ranvier.ir import Array, ops
from samples import Sample

_RNG = np.random.default_rng(11)


def normal(*shape: int) -> Array:
    """Return float32 numbers around 0.5."""
    return (_RNG.standard_normal(shape) + 0.5).astype(np.float32)


def positive(*shape: int) -> Array:
    """Return float32 numbers between 0.5 and 2."""
    return _RNG.uniform(0.5, 2.0, shape).astype(np.float32)


X = normal(2, 4, 3, 2)
CHANNEL = (normal(4), normal(4))
RUNNING = (normal(4), positive(4))
MOMENTS = np.stack([normal(2, 1, 4), positive(2, 1, 4)], axis=2)
SLABS = np.stack([normal(2, 3, 4), positive(2, 3, 4)], axis=2)
HALF = (100 * X).astype(np.float16)
ZERO_ROW = np.array([[0.0, 0.0], [3.0, -4.0]], np.float32)

SAMPLES = [
    Sample(ops.BatchNorm(1e-3), (X, *CHANNEL, *RUNNING)),
    Sample(ops.BatchNorm(), (HALF, *CHANNEL, *RUNNING), "half"),
    Sample(ops.BatchNorm(), (X[:, :, 0, 0], *CHANNEL, *RUNNING), "matrix"),
    Sample(ops.BatchNormTraining(1e-3, 0.8), (X, *CHANNEL, *RUNNING)),
    Sample(ops.BatchNormTraining(), (HALF, *CHANNEL, *RUNNING), "half"),
    Sample(ops.LayerNorm(-1), (X, normal(2), normal(2))),
    Sample(ops.LayerNorm(2, 1e-3), (X, normal(3, 2)), "no-bias"),
    Sample(ops.LayerNorm(1, 1e-2, statistics=True), (X, normal(4, 3, 2), normal(2)), "statistics"),
    Sample(ops.LayerNorm(0, statistics=True), (HALF, HALF[0], HALF[1]), "half"),
    Sample(ops.LayerNormGradient(-1, 1e-2), (normal(3, 16), normal(16), normal(3, 16))),
    Sample(ops.LayerNormGradient(1, 1e-2), (X, normal(4, 1, 2), normal(*X.shape)), "axes"),
    Sample(ops.RmsNorm(-2), (X, normal(3, 2))),
    Sample(ops.InstanceNorm(), (X, *CHANNEL)),
    Sample(ops.InstanceNorm(), (normal(2, 4, 5), *CHANNEL), "line"),
    Sample(ops.InstanceNorm(), (HALF, *(c.astype(np.float16) for c in CHANNEL)), "half"),
    Sample(ops.GroupNorm(2, 1e-3), (X, *CHANNEL)),
    Sample(ops.GroupNorm(4), (X, *CHANNEL), "all"),
    Sample(ops.SlabMoments(), (X,)),
    Sample(ops.SlabMoments(), (normal(2, 4, 5),), "line"),
    Sample(ops.PooledMoments(3, 2), (SLABS,)),
    Sample(ops.PooledMoments(5, 4, batch=True), (SLABS,), "batch"),
    Sample(ops.SlabSums(), (X, normal(*X.shape))),
    Sample(ops.SlabSums(), (normal(2, 4, 3, 40),), "slabs"),
    Sample(ops.NormaliseByMoments(2, 1e-3), (X, MOMENTS, *CHANNEL)),
    Sample(ops.LpNorm(1, 2), (X,)),
    Sample(ops.LpNorm(-1, 1), (X,), "one"),
    Sample(ops.LpNorm(1, 2), (ZERO_ROW.astype(np.float16),), "zero", gradient=None),
    Sample(ops.MeanVarianceNorm(), (X,)),
]
