# SPDX-License-Identifier: MIT
"""Samples of softmax and its relatives."""

from __future__ import annotations

import numpy as np

from ranvier.ir import ops
from samples import Sample

X = np.random.default_rng(3).standard_normal((2, 3, 4)).astype(np.float32)
LARGE = np.array([[-1e4, 0.0, 1e4], [-700.0, 800.0, 799.0]], np.float32)
HALF = (100 * X).astype(np.float16)

SAMPLES = [
    Sample(ops.Softmax(2), (X,)),
    Sample(ops.Softmax(0), (X,), "first"),
    Sample(ops.Softmax(1), (LARGE,), "large"),
    Sample(ops.Softmax(1), (HALF,), "half"),
    Sample(ops.SoftmaxGradient(2), (X, X[::-1].copy())),
    Sample(ops.SoftmaxGradient(1), (HALF, HALF), "half"),
    Sample(ops.LogSoftmax(2), (X,)),
    Sample(ops.LogSoftmax(1), (X,), "middle"),
    Sample(ops.LogSoftmax(1), (LARGE,), "large"),
    Sample(ops.LogSoftmax(1), (HALF,), "half"),
    Sample(ops.Hardmax(1), (X,)),
    Sample(ops.Hardmax(0), (np.array([1, 3, 3, 2], np.int32),), "tie"),
]
