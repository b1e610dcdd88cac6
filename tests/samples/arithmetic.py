# SPDX-License-Identifier: MIT
"""Samples of arithmetic: broadcasting, every kind of number, what would trap or wrap."""

from __future__ import annotations

import numpy as np

from arrays import distinct, integers, normal, uniform
from ranvier.ir import Array, numpy_dtype, ops
from samples import Sample

X, ROW, COLUMN = normal(2, 3), normal(3, seed=1), normal(2, 1, seed=2)
BINARY = [ops.Add(), ops.Sub(), ops.Mul(), ops.Div(), ops.Rem(), ops.Mod()]
ORDER = [ops.Maximum(), ops.Minimum()]
ROUNDING = [ops.Ceil(), ops.Floor(), ops.Round(), ops.Trunc()]
SIGNS = [ops.Neg(), ops.Abs(), ops.Sign()]
WHOLE = ["int8", "int32", "int64", "uint8", "uint64"]
NARROW = ["float16", "bfloat16", "float8_e4m3fn", "float8_e5m2fnuz", "float4_e2m1fn"]


def extremes(dtype: str) -> tuple[Array, Array]:
    """Return pairs of integers with every sign, zero divisors and the ends of the range."""
    info = np.iinfo(dtype)
    low, high = int(info.min), int(info.max)
    x = [low, low, high, high, 7, -7, 7, -7, 5, 0, high, 2]
    y = [-1, 1, high, 2, 3, 3, -3, -3, 0, 0, low, 70]
    values = np.array([v % 2**info.bits for v in x + y], f"uint{info.bits}").view(dtype)
    return values[: len(x)], values[len(x) :]


def narrow(array: Array, dtype: str) -> Array:
    """Return ``array`` in an element type of few bits."""
    return array.astype(numpy_dtype(dtype))


SAMPLES = [
    *(Sample(op, (X, ROW), "row") for op in [*BINARY, ops.Atan2()]),
    *(Sample(op, (COLUMN, ROW), "outer") for op in [ops.Add(), ops.Div()]),
    *(Sample(op, (X.astype("f8"), ROW.astype("f8")), "float64", 1e-13) for op in BINARY),
    *(Sample(op, extremes(d), d) for op in [*BINARY, *ORDER] for d in WHOLE),
    *(Sample(op, (distinct(2, 3), distinct(2, 1, seed=3)), "column") for op in ORDER),
    Sample(ops.Maximum(), (np.ones(3), np.ones(3)), "tie"),
    *(Sample(ops.Add(), (narrow(X, d), narrow(ROW, d)), d) for d in NARROW),
    *(Sample(ops.Mul(), (integers(5, dtype=d, low=0, high=9),) * 2, d) for d in ["int4", "uint2"]),
    Sample(ops.Add(), (normal(), normal(1, 1, seed=1)), "scalar"),
    Sample(ops.Add(), (normal(0, 3), normal(3)), "empty"),
    Sample(ops.Pow(), (uniform(2, 3, low=0.2, high=2), ROW), "row"),
    Sample(ops.Pow(), (np.zeros(2), np.array([2.0, 3.0])), "zero"),
    Sample(ops.Pow(), (np.array([-2, 3, 2, 0, 1, -1, 5]), np.array([3, 39, 70, 0, -2, -3, -1]))),
    *(Sample(ops.Pow(), extremes(d), d) for d in ["int8", "int32", "uint8"]),
    *(Sample(op, (X,), "float32") for op in [*SIGNS, *ROUNDING, ops.Reciprocal()]),
    *(Sample(op, extremes(d)[:1], d) for op in SIGNS for d in WHOLE),
    *(Sample(ops.Neg(), (narrow(X, d),), d) for d in NARROW),
    *(Sample(ops.Floor(), (narrow(X, d),), d) for d in NARROW if d != "float4_e2m1fn"),
]
