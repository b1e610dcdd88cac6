# SPDX-License-Identifier: MIT
"""Samples of resizing, of sampling at points that are data, and of pooled regions."""

from __future__ import annotations

from typing import Any

import numpy as np

from ranvier.ir import ops
from samples import Sample

_rng = np.random.default_rng(14)


def _floats(*shape: int) -> np.ndarray:
    return _rng.standard_normal(shape).astype(np.float32)


def _grid(*shape: int) -> np.ndarray:
    """Return points inside and outside, none of them where an interpolation has a kink."""
    cells = _rng.integers(-9, 10, shape) * 0.25
    return (cells + _rng.uniform(0.02, 0.06, shape)).astype(np.float32)


_table = np.array([[0, 1], [2, 2], [1, 0]])
_boxes = np.array([[0.3, 0.2, 3.4, 4.1], [1.2, 1.4, 2.2, 2.9], [-3.1, 2.3, 9.3, 9.9]], np.float32)
_images = np.array([1, 0, 1])
_up: dict[str, Any] = {"axes": (2, 3), "sizes": (6, 7), "scales": (2.0, 1.75)}
_down: dict[str, Any] = {"axes": (2, 3), "sizes": (2, 3), "scales": (0.5, 0.75)}


def _resize(direction: dict[str, Any], label: str, **fields: Any) -> Sample:
    op = ops.Resize(**{**direction, **fields})
    shape = (1, 2, 3, 4) if direction is _up else (2, 1, 4, 4)
    return Sample(op, (_floats(*shape),), label)


SAMPLES = [
    Sample(ops.Resample(1), (_floats(2, 3, 4), _table, _floats(3, 2))),
    _resize(_up, ""),
    _resize(_up, "nearest-ceil", coordinates="asymmetric", rounding="ceil"),
    _resize(_down, "nearest-half-up", rounding="round_prefer_ceil"),
    _resize(_up, "linear", mode="linear"),
    _resize(_down, "linear-antialias", mode="linear", antialias=True),
    _resize(_up, "linear-align-corners", mode="linear", coordinates="align_corners"),
    _resize(_up, "cubic", mode="cubic", coordinates="pytorch_half_pixel"),
    _resize(_down, "cubic-exclude-outside", mode="cubic", exclude_outside=True, cubic_a=-0.5),
    _resize(_down, "cubic-antialias", mode="cubic", antialias=True),
    _resize(
        _up,
        "crop",
        mode="linear",
        coordinates="tf_crop_and_resize",
        region=(-0.2, 0.1, 1.1, 0.8),
        extrapolation=7.0,
    ),
    Sample(
        ops.Resize((2,), (5,), (1.7,), "linear", "half_pixel_symmetric"),
        (_rng.integers(0, 256, (1, 2, 3, 2)).astype(np.uint8),),
        "uint8",
    ),
    Sample(
        ops.Resize((1,), (4,), (2.0,), "linear"),
        (_floats(2, 2).astype(np.float16),),
        "float16",
        rtol=2e-3,
        atol=1e-3,
    ),
    Sample(ops.SamplePoints(), (_floats(2, 3, 4, 5), 3 + 2 * _grid(2, 4, 2)), atol=1e-5),
    Sample(
        ops.SamplePoints("nearest", "reflection", align_corners=False),
        (_rng.integers(0, 99, (1, 2, 3)), 4 * _grid(1, 7, 1)),
        "integers",
    ),
    Sample(ops.GridSample(), (_floats(2, 3, 4, 4), _grid(2, 3, 2, 2)), atol=1e-5),
    *(
        Sample(
            ops.GridSample(mode, padding, align),
            (_floats(1, 2, 4, 4), _grid(1, 3, 4, 2)),
            f"{mode}-{padding}-{'corners' if align else 'edges'}",
            atol=1e-5,
        )
        for mode, padding, align in (
            ("linear", "border", True),
            ("linear", "reflection", False),
            ("nearest", "zeros", True),
            ("nearest", "reflection", False),
            ("cubic", "zeros", False),
            ("cubic", "border", False),
            ("cubic", "reflection", True),
        )
    ),
    Sample(
        ops.GridSample(padding="border"),
        (_floats(1, 2, 4, 2, 4), _grid(1, 2, 1, 3, 3)),
        "3d",
        atol=1e-5,
    ),
    Sample(ops.AffineGrid((3, 4)), (_floats(2, 2, 3),)),
    Sample(ops.AffineGrid((2, 1, 3), align_corners=True), (_floats(1, 3, 4),), "3d-corners"),
    Sample(
        ops.RoiAlign((2, 3), 2, 0.9),
        (_floats(2, 3, 6, 5), _boxes, _images),
        atol=1e-5,
    ),
    Sample(
        ops.RoiAlign((2, 2), 0, 0.9, half_pixel=False),
        (_floats(2, 3, 6, 5), _boxes, _images),
        "adaptive",
        atol=1e-5,
        gradient=False,
    ),
    Sample(
        ops.RoiAlign((2, 2), 2, mode="max"),
        (_floats(2, 2, 6, 5), _boxes, _images),
        "max",
        atol=1e-5,
    ),
    Sample(
        ops.MaxRoiPool((2, 3), 0.7),
        (_floats(2, 3, 6, 5), np.concatenate([_images[:, None], 2 * _boxes], 1).astype(np.float32)),
        gradient=False,
    ),
]
