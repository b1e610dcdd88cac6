# SPDX-License-Identifier: MIT
"""Samples of convolutions."""

from __future__ import annotations

from typing import Any

import numpy as np

from ranvier.ir import ops
from samples import Sample

_rng = np.random.default_rng(12)


def _floats(*shape: int) -> np.ndarray:
    return _rng.standard_normal(shape).astype(np.float32)


def _conv(rank: int, **fields: Any) -> ops.Conv:
    given = dict.fromkeys(("strides", "dilation", "input_dilation"), (1,) * rank)
    return ops.Conv(**{**given, "low": (0,) * rank, "high": (0,) * rank, **fields})


def _gradient(rank: int, *window: int, **fields: Any) -> ops.ConvWeightGradient:
    conv = _conv(rank, **fields)
    return ops.ConvWeightGradient(
        window, **{k: v for k, v in conv.attributes().items() if k != "accumulate"}
    )


def _transpose(rank: int, **fields: Any) -> ops.ConvTranspose:
    given = {"strides": (1,) * rank, "dilation": (1,) * rank}
    return ops.ConvTranspose(**{**given, "low": (0,) * rank, "high": (0,) * rank, **fields})


_bytes = _rng.integers(0, 256, (1, 2, 5, 4)).astype(np.uint8)
_weights = _rng.integers(-128, 128, (3, 2, 3, 2)).astype(np.int8)
_deform = ops.DeformConv((2, 1), (1, 0), (0, 1), (1, 2))

SAMPLES = [
    Sample(_conv(2, low=(1, 1), high=(1, 1)), (_floats(2, 3, 5, 6), _floats(4, 3, 3, 3))),
    Sample(_conv(1, strides=(2,), low=(2,), high=(1,)), (_floats(2, 3, 9), _floats(4, 3, 4)), "1d"),
    Sample(
        _conv(3, strides=(1, 2, 1), low=(1, 0, 1), high=(1, 1, 0)),
        (_floats(1, 2, 3, 4, 5), _floats(3, 2, 3, 2, 2)),
        "3d",
    ),
    Sample(
        _conv(2, strides=(3, 2), dilation=(2, 3), low=(3, 2), high=(1, 4)),
        (_floats(1, 2, 7, 8), _floats(3, 2, 2, 3)),
        "strided-dilated",
    ),
    Sample(
        _conv(2, input_dilation=(2, 3), strides=(3, 1), low=(2, 1), high=(1, 3)),
        (_floats(2, 2, 4, 3), _floats(3, 2, 3, 2)),
        "input-dilation",
    ),
    Sample(
        _conv(2, input_dilation=(2, 3), low=(-1, -2), high=(-2, 1)),
        (_floats(1, 2, 5, 3), _floats(1, 2, 2, 2)),
        "cropped",
    ),
    Sample(
        _conv(2, groups=2, low=(1, 1), strides=(2, 2)),
        (_floats(2, 4, 5, 5), _floats(6, 2, 3, 2)),
        "groups",
    ),
    Sample(
        _conv(2, groups=3, low=(1, 1), high=(1, 1)),
        (_floats(2, 3, 4, 5), _floats(3, 1, 3, 3)),
        "depthwise",
    ),
    Sample(_conv(2), (_floats(1, 5, 3, 4), _floats(2, 5, 1, 1)), "pointwise"),
    Sample(_conv(1), (_floats(0, 2, 5), _floats(3, 2, 3)), "empty-batch"),
    Sample(
        _conv(2, low=(1, 1), high=(1, 1)),
        (_floats(1, 3, 4, 4).astype(np.float16), _floats(2, 3, 3, 3).astype(np.float16)),
        "float16",
        rtol=2e-3,
        atol=2e-3,
    ),
    Sample(_conv(2, accumulate="int32", high=(0, 1)), (_bytes, _weights), "uint8-by-int8"),
    Sample(
        _transpose(2, strides=(2, 3), low=(1, 0), high=(0, 1)),
        (_floats(1, 3, 3, 4), _floats(3, 2, 3, 4)),
    ),
    Sample(
        _transpose(1, strides=(2,), dilation=(2,), high=(-1,), groups=2),
        (_floats(2, 4, 3), _floats(4, 3, 3)),
        "groups",
    ),
    Sample(_gradient(2, 3, 3, low=(1, 1), high=(1, 1)), (_floats(2, 3, 5, 6), _floats(2, 4, 5, 6))),
    Sample(
        _gradient(1, 4, strides=(2,), low=(2,), high=(1,)),
        (_floats(2, 3, 9), _floats(2, 4, 5)),
        "1d",
    ),
    Sample(
        _gradient(3, 3, 2, 2, strides=(1, 2, 1), low=(1, 0, 1), high=(1, 1, 0)),
        (_floats(1, 2, 3, 4, 5), _floats(1, 3, 3, 2, 5)),
        "3d",
    ),
    Sample(
        _gradient(2, 2, 3, strides=(3, 2), dilation=(2, 3), low=(3, 2), high=(1, 4), groups=2),
        (_floats(2, 4, 7, 8), _floats(2, 6, 3, 4)),
        "strided-dilated-groups",
    ),
    Sample(
        _gradient(2, 3, 2, input_dilation=(2, 3), strides=(3, 1), low=(2, 1), high=(1, 3)),
        (_floats(2, 2, 4, 3), _floats(2, 3, 3, 10)),
        "input-dilation",
    ),
    Sample(
        _gradient(2, 3, 3, groups=3, low=(1, 1), high=(1, 1)),
        (_floats(2, 3, 4, 5), _floats(2, 3, 4, 5)),
        "depthwise",
    ),
    Sample(
        _gradient(2, 2, 2, input_dilation=(2, 3), low=(-1, -2), high=(-2, 1)),
        (_floats(1, 2, 5, 3), _floats(1, 1, 5, 5)),
        "cropped",
    ),
    Sample(_gradient(1, 3), (_floats(0, 2, 5), _floats(0, 3, 3)), "empty-batch"),
    Sample(
        _gradient(2, 3, 3, low=(1, 1), high=(1, 1)),
        (_floats(1, 3, 4, 4).astype(np.float16), _floats(1, 2, 4, 4).astype(np.float16)),
        "float16",
        rtol=2e-3,
        atol=2e-3,
    ),
    Sample(
        _deform,
        (_floats(1, 2, 5, 6), _floats(3, 2, 2, 2), 0.9 * _floats(1, 8, 3, 5), _floats(1, 4, 3, 5)),
        atol=1e-5,
    ),
    Sample(
        ops.DeformConv((1, 1), (0, 0), (0, 0), (1, 1), 2, 2),
        (_floats(2, 4, 4, 3), _floats(4, 2, 2, 2), 0.9 * _floats(2, 16, 3, 2)),
        "groups-without-mask",
        atol=1e-5,
    ),
]
