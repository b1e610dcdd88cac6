# SPDX-License-Identifier: MIT
"""Samples of order along an axis."""

from __future__ import annotations

import ml_dtypes
import numpy as np

from arrays import distinct, integers, normal
from ranvier.ir import ops
from samples import Sample

X = distinct(3, 5, 2)
TIES = integers(2, 40, low=0, high=6)
SPECIAL = np.array([[1.0, np.nan, 3.0, -np.inf, np.nan], [-0.0, 0.0, np.inf, 2.0, 2.0]], np.float32)
LOWEST = np.full(3, -np.inf, np.float32)
WITH_ZEROS = np.array([[2.0, 0.0, -3.0, 0.5], [0.0, 4.0, 0.0, 1.0]], np.float32)
EXTREMES = [ops.ArgMax, ops.ArgMin]
WAYS = [(False, False), (False, True), (True, False), (True, True)]

SAMPLES = [
    *(Sample(op(1), (X,)) for op in EXTREMES),
    *(Sample(op(1), (TIES,), "ties") for op in EXTREMES),
    *(Sample(op(1, last=True), (TIES.astype(np.uint8),), "last") for op in EXTREMES),
    *(Sample(op(1), (SPECIAL,), "special") for op in EXTREMES),
    *(Sample(op(1, last=True), (SPECIAL,), "special-last") for op in EXTREMES),
    *(Sample(op(0), (LOWEST,), "lowest") for op in EXTREMES),
    *(Sample(op(0, last=True), (-LOWEST,), "greatest") for op in EXTREMES),
    *(Sample(op(0), (X[:, :0],), "empty") for op in EXTREMES),
    *(Sample(op(0), (normal(9).astype(np.float16),), "float16") for op in EXTREMES),
    Sample(ops.TopK(1, 3), (X,)),
    Sample(ops.TopK(1, 2, largest=False), (X,), "smallest"),
    Sample(ops.TopK(1, 4), (SPECIAL,), "special", gradient=None),
    Sample(ops.TopK(1, 4, largest=False), (SPECIAL,), "special-smallest", gradient=None),
    Sample(ops.TopK(1, 7), (TIES,), "ties"),
    Sample(ops.TopK(1, 33, largest=False), (TIES,), "many-ties"),
    Sample(ops.TopK(1, 30), (distinct(2, 31),), "many"),
    Sample(ops.TopK(0, 0), (X,), "none"),
    Sample(ops.TopK(0, 2), (normal(6).astype(ml_dtypes.bfloat16),), "bfloat16"),
    Sample(ops.TopK(0, 3), (normal(6) > 0,), "bool"),
    Sample(ops.Sort(1), (X,)),
    Sample(ops.Sort(1, descending=True), (SPECIAL,), "special", gradient=None),
    Sample(ops.Sort(0), (distinct(50),), "long"),
    *(Sample(ops.CumSum(1, *way), (X,), f"way{k}") for k, way in enumerate(WAYS)),
    *(Sample(ops.CumProd(1, *way), (WITH_ZEROS,), f"way{k}") for k, way in enumerate(WAYS)),
    *(Sample(ops.CumProd(0, *way), (X,), f"first{k}") for k, way in enumerate(WAYS)),
    Sample(ops.CumSum(0), (X[:0],), "empty"),
    Sample(ops.CumSum(0), (X[0, :1],), "one"),
    Sample(ops.CumSum(0), (integers(9, low=0, high=100, dtype="int8"),), "wraps"),
    Sample(ops.CumSum(0), (np.ones(3000, np.float16),), "float16"),
    Sample(ops.CumProd(0), (np.array([3, -2, 5], np.int32),), "int32"),
]
