# SPDX-License-Identifier: MIT
"""Samples of the reductions."""

from __future__ import annotations

from collections.abc import Callable

import ml_dtypes
import numpy as np

from arrays import distinct, integers, normal, uniform
from ranvier.ir import Op, ops
from samples import Sample

X = distinct(3, 4, 2)
POSITIVE = uniform(3, 4, low=0.5, high=2.0)
EMPTY = np.zeros((0, 3), np.float32)
FLAGS = np.array([[True, False, True], [False, False, True]])
SPECIAL = np.array([[np.nan, 1.0, -np.inf], [2.0, np.inf, -np.inf]], np.float32)
MANY = normal(4000, 2).astype(np.float16)
WITH_ZEROS = np.array([[2.0, 0.0, -3.0], [0.0, 4.0, 0.0], [1.5, 2.5, -0.5]], np.float32)

REDUCTIONS: list[Callable[[tuple[int, ...]], Op]] = [
    ops.ReduceSum,
    ops.ReduceMean,
    ops.ReduceMax,
    ops.ReduceMin,
    ops.ReduceProd,
]
NORMS: list[Callable[[tuple[int, ...]], Op]] = [
    ops.ReduceL1,
    ops.ReduceL2,
    ops.ReduceSumSquare,
    ops.ReduceLogSum,
    ops.ReduceLogSumExp,
]

SAMPLES = [
    *(Sample(op((1,)), (X,)) for op in REDUCTIONS),
    *(Sample(op((2, 0)), (X,), "axes") for op in REDUCTIONS),
    *(Sample(op((0, 1, 2)), (X,), "all") for op in REDUCTIONS),
    *(Sample(op(()), (X,), "none") for op in REDUCTIONS),
    *(Sample(op((0,)), (EMPTY,), "empty", gradient=None) for op in REDUCTIONS),
    *(Sample(op((1,)), (EMPTY,), "empty-result") for op in REDUCTIONS),
    *(
        Sample(op((0,)), (integers(6, 3, low=-90, high=90, dtype="int8"),), "int8")
        for op in REDUCTIONS
    ),
    *(
        Sample(op((1,)), (integers(2, 3, low=0, high=9, dtype="uint64"),), "uint64")
        for op in REDUCTIONS
    ),
    *(Sample(op((0,)), (SPECIAL,), "special", gradient=None) for op in REDUCTIONS),
    *(Sample(op((1,)), (uniform(3, 5).astype(np.float16),), "float16") for op in REDUCTIONS),
    Sample(ops.ReduceSum((0,)), (MANY,), "wide-sum"),
    Sample(ops.ReduceMean((0,)), (MANY * 64,), "wide-mean"),
    Sample(ops.ReduceMax((0,)), (normal(5, 3).astype(ml_dtypes.bfloat16),), "bfloat16"),
    Sample(ops.ReduceMax((0,)), (FLAGS,), "bool"),
    Sample(ops.ReduceMin((0,)), (FLAGS,), "bool"),
    Sample(ops.ReduceMax((0,)), (np.zeros((0, 2), ml_dtypes.int4),), "empty-int4"),
    Sample(ops.ReduceMin((0,)), (np.zeros((0, 2), np.bool_),), "empty-bool"),
    Sample(ops.ReduceProd((1,)), (WITH_ZEROS,), "zeros"),
    *(Sample(op((1,)), (POSITIVE,)) for op in NORMS),
    *(Sample(op((0, 1)), (POSITIVE,), "all") for op in NORMS),
    *(Sample(op((1,)), (POSITIVE.astype(np.float16),), "float16") for op in NORMS),
    *(Sample(op((0,)), (EMPTY,), "empty", gradient=None) for op in NORMS),
    Sample(ops.ReduceLogSumExp((1,)), (SPECIAL[1:],), "special", gradient=None),
    Sample(ops.ReduceLogSumExp((0,)), (np.array([1000.0, 999.0], np.float32),), "large"),
]
