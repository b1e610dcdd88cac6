# SPDX-License-Identifier: MIT
"""Samples of conversions; tests/codegen/test_storage.py goes through all codes and edges."""

from __future__ import annotations

import numpy as np

from arrays import integers, normal
from ranvier.ir import numpy_dtype, ops
from samples import Sample

# Numbers whose conversion is not obvious: halves, ends of ranges, infinities, NaN.
NEAR = [0.0, -0.0, 2.5, -2.5, 127.9, -129.0, 300.0, 1e-7, 448.0, 465.0, 61440.0, 65519.0]
FAR = [65520.0, 4e9, -1e10, 1e20, 1e39, np.inf, -np.inf, np.nan]
EDGES = np.array(NEAR + FAR)
with np.errstate(over="ignore"):
    SINGLE = EDGES.astype(np.float32)
FLOAT8 = ["float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz"]
SMALL = [*FLOAT8, "float4_e2m1fn", "bfloat16", "float16"]
WHOLE = ["int2", "uint4", "int8", "uint8", "int16", "int32", "uint32", "int64", "uint64"]
CODES = {
    d: np.arange(256, dtype=np.uint8).view(numpy_dtype(d)) for d in [*FLOAT8, "float8_e8m0fnu"]
}
# Differences of rounded numbers say nothing about the gradient; numbers that stay exact do.
EXACT = np.array([1.0, -2.0, 0.5])

SAMPLES = [
    Sample(ops.Cast("float32"), (EXACT,), "exact"),
    Sample(ops.Cast("float64"), (normal(3),), "widen"),
    *(Sample(ops.Cast(d), (SINGLE,), d) for d in [*WHOLE, "bool"]),
    *(Sample(ops.Cast(d), (EDGES,), f"float64-{d}") for d in WHOLE),
    *(Sample(ops.Cast(d), (integers(9, low=-300, high=300),), f"int64-{d}") for d in WHOLE),
    *(
        Sample(ops.Cast(d), (integers(9, low=-8, high=8, dtype="int4"),), f"int4-{d}")
        for d in WHOLE
    ),
    *(Sample(ops.Cast(d), (integers(9, low=-300, high=300),), f"int64-{d}") for d in SMALL),
    *(Sample(ops.Cast(d), (np.array([True, False]),), f"bool-{d}") for d in ["float32", "uint8"]),
    *(Sample(ops.Cast("int32"), (codes,), f"from-{d}") for d, codes in CODES.items()),
    Sample(ops.Bitcast("uint32"), (SINGLE,), "uint32"),
    Sample(ops.Bitcast("float64"), (integers(4),), "float64"),
    Sample(ops.Bitcast("bfloat16"), (integers(4, low=0, high=30000, dtype="int16"),), "bfloat16"),
    Sample(ops.Bitcast("uint8"), (CODES["float8_e5m2"],), "codes"),
    Sample(ops.Bitcast("int4"), (integers(16, low=0, high=16, dtype="uint4"),), "int4"),
    Sample(ops.Bitcast("bool"), (np.array([0, 1, 2, 255], np.uint8),), "bool"),
    Sample(ops.CastString("string"), (SINGLE,), "format"),
    Sample(ops.CastString("float32"), (np.array(["1e-5", "-INF", "nan", "7"], object),), "parse"),
    Sample(ops.CastString("int64"), (np.array(["-42", "9007199254740993"], object),), "whole"),
]
