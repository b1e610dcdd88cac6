# SPDX-License-Identifier: MIT
"""Samples of pooling and of windows laid out in columns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from ranvier.ir import ops
from samples import Sample

_rng = np.random.default_rng(13)
T = TypeVar("T")


def _floats(*shape: int) -> np.ndarray:
    return _rng.standard_normal(shape).astype(np.float32)


def _apart(*shape: int) -> np.ndarray:
    """Return numbers far enough from each other for differences of maxima."""
    size = int(np.prod(shape))
    return (_rng.permutation(size).reshape(shape) - size / 2).astype(np.float32) / 4


def _pool(kind: Callable[..., T], *window: int, **fields: Any) -> T:
    ones, zeros = (1,) * len(window), (0,) * len(window)
    given = {"strides": ones, "low": zeros, "high": zeros, "dilation": ones}
    return kind(window, **{**given, **fields})


_nan = _apart(1, 1, 4, 4).astype(np.float32)
_nan[0, 0, 1, 2] = np.nan
_nan[0, 0, 3, 3] = -np.inf
_flags = _rng.integers(-128, 128, (1, 2, 4, 5)).astype(np.int8)
_unpooled = np.array([[[[5, 7], [13, 15]]], [[[16, 18], [24, 31]]]])
_geometry: dict[str, Any] = {
    "strides": (2, 1),
    "low": (1, 0),
    "high": (2, 1),
    "dilation": (1, 2),
}

SAMPLES = [
    Sample(_pool(ops.WindowSum, 3, 2, input_dilation=(2, 3), **_geometry), (_floats(2, 2, 4, 3),)),
    Sample(_pool(ops.WindowSum, 2, input_dilation=(1,)), (_flags[:, :, 0],), "int8-wraps"),
    Sample(_pool(ops.AveragePool, 2, 2, strides=(2, 2)), (_floats(2, 3, 4, 6),)),
    Sample(_pool(ops.AveragePool, 3, 2, **_geometry), (_floats(1, 2, 5, 6),), "padded"),
    Sample(
        _pool(ops.AveragePool, 3, 2, **_geometry, count_include_pad=True, excess=(1, 0)),
        (_floats(1, 2, 4, 6),),
        "padding-counts",
    ),
    Sample(
        _pool(ops.AveragePool, 2, 2, 2, strides=(2, 1, 2)),
        (_floats(1, 2, 4, 3, 4).astype(np.float16),),
        "float16-3d",
        rtol=2e-3,
    ),
    Sample(_pool(ops.LpPool, 3, low=(1,), strides=(2,)), (_floats(2, 2, 7),)),
    Sample(_pool(ops.LpPool, 2, 2, p=1), (_floats(1, 2, 3, 4),), "1"),
    Sample(_pool(ops.LpPool, 2, 2, p=3), (_floats(1, 2, 3, 4),), "3"),
    Sample(_pool(ops.Im2Col, 3, 2, **_geometry), (_floats(2, 2, 5, 4),)),
    Sample(_pool(ops.Col2Im, 3, 2, **_geometry, shape=(5, 4)), (_floats(2, 12, 9),)),
    Sample(_pool(ops.Col2Im, 2, shape=(4,)), (_floats(1, 2, 3).astype(np.float16),), "float16"),
    Sample(_pool(ops.MaxPool, 3, 2, **_geometry), (_apart(2, 2, 5, 6),)),
    Sample(_pool(ops.MaxPool, 2, strides=(2,)), (_apart(2, 3, 6),), "1d"),
    Sample(_pool(ops.MaxPool, 2, 2, 2, low=(1, 0, 1)), (_apart(1, 2, 3, 3, 4),), "3d"),
    Sample(_pool(ops.MaxPool, 2, 2), (_nan,), "nan", gradient=None),
    Sample(_pool(ops.MaxPool, 3, 2, **_geometry), (_flags,), "int8"),
    Sample(_pool(ops.MaxPool, 2, low=(2,)), (_flags[:, :, 0],), "window-of-padding"),
    Sample(_pool(ops.MaxPoolWithIndices, 3, 2, **_geometry), (_apart(2, 2, 5, 6),)),
    Sample(
        _pool(ops.MaxPoolWithIndices, 2, 2, 2, column_major=True),
        (_apart(2, 1, 3, 4, 3),),
        "column-major",
    ),
    Sample(
        _pool(ops.MaxPoolWithIndices, 2, 2),
        (np.ones((1, 2, 3, 3), np.int32),),
        "first-of-equals",
    ),
    Sample(_pool(ops.MaxPoolWithIndices, 2, 2), (_nan,), "nan", gradient=None),
    Sample(
        _pool(ops.MaxPoolGradient, 3, 2, **_geometry), (_apart(2, 2, 5, 6), _floats(2, 2, 3, 5))
    ),
    Sample(ops.MaxUnpool((2, 1, 4, 4)), (_floats(2, 1, 2, 2), _unpooled)),
]
