# SPDX-License-Identifier: MIT
"""Samples of quantisation."""

from __future__ import annotations

import ml_dtypes
import numpy as np

from ranvier.ir import Array, ops
from samples import Sample

_RNG = np.random.default_rng(31)
# Quotients by the scales below stay away from ties, where rounding may go either way.
X = np.array([[-7.1, -0.26, 0.0, 0.3], [1.3, 2.2, 77.0, -300.0]], np.float32)
HALF = np.array(0.5, np.float32)
ROWS = np.array([0.25, 4.0], np.float32)
BLOCKS = np.array([[0.25, 4.0], [1.0, 0.5]], np.float32)


def whole(low: int, high: int, shape: tuple[int, ...], dtype: object) -> Array:
    """Return random integers."""
    return _RNG.integers(low, high, shape).astype(np.dtype(dtype))  # type: ignore[call-overload]


def scalar(number: float, dtype: object = np.float32) -> Array:
    """Return an array of rank 0."""
    return np.array(number, dtype)  # type: ignore[call-overload, no-any-return]


BYTES = whole(0, 255, (2, 4), np.uint8)
NIBBLES = whole(-8, 8, (2, 3), np.int8).astype(ml_dtypes.int4)

_A = (whole(0, 255, (2, 3), np.uint8), scalar(0.05), scalar(113, np.uint8))
_B = (whole(-128, 127, (3, 4), np.int8), scalar(0.02), scalar(3, np.int8))
_DATA = (whole(0, 255, (1, 2, 4, 4), np.uint8), scalar(0.05), scalar(101, np.uint8))
_WEIGHT = whole(-128, 127, (4, 1, 3, 3), np.int8)
_PER_CHANNEL = (np.array([0.1, 0.2, 0.03, 0.04], np.float32), np.array([0, 1, -2, 3], np.int8))

SAMPLES = [
    Sample(ops.Quantize("uint8"), (X, HALF, scalar(128, np.uint8)), atol=1),
    Sample(ops.Quantize("int8", axis=0), (X, ROWS), "rows", atol=1),
    Sample(ops.Quantize("int16", axis=-1, block=2), (X, BLOCKS), "blocks", atol=1),
    Sample(ops.Quantize("uint16", axis=1, block=3), (X, BLOCKS), "ragged", atol=1),
    Sample(ops.Quantize("int4"), (X, HALF), "int4", atol=1),
    Sample(ops.Quantize("uint2"), (X, HALF, scalar(1, ml_dtypes.uint2)), "uint2", atol=1),
    Sample(ops.Quantize("uint8", precision="float16"), (X, HALF), "precision", atol=1),
    Sample(ops.Quantize("float8_e4m3fn"), (X, scalar(0.5, np.float16)), "float8"),
    Sample(ops.Quantize("float8_e5m2", saturate=False), (X * 1e5, HALF), "infinite"),
    Sample(ops.Quantize("float4_e2m1fn"), (X, HALF), "float4"),
    Sample(ops.Dequantize(), (BYTES, HALF, scalar(128, np.uint8))),
    Sample(ops.Dequantize(axis=0), (BYTES, ROWS), "rows"),
    Sample(ops.Dequantize("float16", 1, 3), (BYTES, BLOCKS), "blocks"),
    Sample(ops.Dequantize(), (NIBBLES, HALF), "int4"),
    Sample(ops.Dequantize(), (X.astype(ml_dtypes.float8_e4m3fn), HALF), "float8", gradient=None),
    Sample(ops.Dequantize(), (whole(-999, 999, (3,), np.int32), HALF), "int32"),
    Sample(ops.QuantizedMatMul(), (*_A, *_B, scalar(0.3), scalar(17, np.uint8)), atol=1),
    Sample(
        ops.QuantizedMatMul(),
        (_A[0], ROWS, whole(0, 9, (2,), np.uint8), *_B, scalar(9.0), scalar(-4, np.int8)),
        "rows",
        atol=1,
    ),
    Sample(
        ops.QuantizedConv((1, 1), (1, 1), (1, 1), (1, 1), 2),
        (
            *_DATA,
            _WEIGHT,
            *_PER_CHANNEL,
            scalar(1.5),
            scalar(128, np.uint8),
            np.arange(4, dtype=np.int32),
        ),
        "channels",
        atol=1,
    ),
    Sample(
        ops.QuantizedConv((2, 1), (0, 1), (1, 0), (1, 1), 2),
        (*_DATA, _WEIGHT, scalar(0.1), scalar(-5, np.int8), scalar(1.5), scalar(0, np.int8)),
        atol=1,
    ),
]
