# SPDX-License-Identifier: MIT
"""Converters of resizing, of sampling at points that are data, and of pooled regions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...ir import Value, ops
from ...ir.ops.shape import slice_along
from ..convert import Conversion, converter
from .windows import Ints

_MODES = {"bilinear": "linear", "bicubic": "cubic", "trilinear": "linear"}


@dataclass(frozen=True)
class _Target:
    """What a tensor is resized to: axes, their sizes and scales."""

    axes: Ints
    sizes: Ints
    scales: tuple[float, ...]


@converter("Upsample")
def upsample(c: Conversion) -> Value:
    """Repeat or interpolate, counting from the first element."""
    scales: tuple[float, ...]
    if c.version < 7:
        scales = (1.0, 1.0, float(c.attr("height_scale")), float(c.attr("width_scale")))
    elif c.version < 9:
        scales = tuple(map(float, c.attr("scales")))
    else:
        scales = tuple(float(s) for s in c.array(1))
    return _asymmetric(c, _scaled(c, tuple(range(len(scales))), scales))


@converter("Resize")
def resize(c: Conversion) -> Value:
    """Resolve scales or sizes to both."""
    if c.version < 11:
        scales = tuple(float(s) for s in c.array(1))
        return _asymmetric(c, _scaled(c, tuple(range(len(scales))), scales))
    rank = len(c.shape(0))
    axes = tuple(c.axis(a, rank) for a in c.attr("axes", tuple(range(rank))))
    coordinates = c.attr("coordinate_transformation_mode", "half_pixel")
    region = _region(c, len(axes)) if coordinates == "tf_crop_and_resize" else ()
    return _resized(c, _target(c, axes), region, coordinates)


def _asymmetric(c: Conversion, target: _Target) -> Value:
    """Resize as operator sets before 11 did: nearest is upwards where an axis shrinks."""
    mode = _mode(c)
    y = c.operand(0)
    for rounding in ("floor", "ceil"):
        part = [k for k, s in enumerate(target.scales) if (s < 1) == (rounding == "ceil")]
        chosen = [(target.axes[k], target.sizes[k], target.scales[k]) for k in part]
        changed = [(a, n, s) for a, n, s in chosen if s != 1]
        if changed:
            axes, sizes, scales = map(tuple, zip(*changed, strict=True))
            op = ops.Resize(axes, sizes, scales, mode, "asymmetric", rounding)
            y = c.emit(op, y)
    return y


def _mode(c: Conversion) -> str:
    mode = c.attr("mode", "nearest")
    return str(_MODES.get(mode, mode))


def _scaled(c: Conversion, axes: Ints, scales: Sequence[float]) -> _Target:
    shape = c.shape(0)
    if len(scales) != len(axes):
        raise c.error(f"expected {len(axes)} scales, found {len(scales)}")
    if not all(s > 0 and math.isfinite(s) for s in scales):
        raise c.error(f"scales {list(scales)} must be positive")
    # The product is rounded to float32, as 10 * 0.7 is meant to be 7.
    sizes = (
        math.floor(np.float32(shape[a]) * np.float32(s)) for a, s in zip(axes, scales, strict=True)
    )
    return _Target(axes, tuple(sizes), tuple(scales))


def _target(c: Conversion, axes: Ints) -> _Target:
    scales = () if c.entry(2) is None else tuple(float(s) for s in c.array(2).ravel())
    if scales:
        return _scaled(c, axes, scales)
    if c.entry(3) is None:
        raise c.error("neither scales nor sizes are given")
    sizes, shape = c.ints(3), c.shape(0)
    if len(sizes) != len(axes) or min(sizes, default=0) < 0:
        raise c.error(f"expected {len(axes)} sizes, found {list(sizes)}")
    ratios = tuple(n / max(shape[a], 1) for n, a in zip(sizes, axes, strict=True))
    policy = c.attr("keep_aspect_ratio_policy", "stretch")
    if policy == "stretch":
        return _Target(axes, sizes, ratios)
    if policy not in ("not_larger", "not_smaller"):
        raise c.error(f"keep_aspect_ratio_policy is {policy!r}")
    ratio = min(ratios) if policy == "not_larger" else max(ratios)
    rounded = tuple(math.floor(ratio * shape[a] + 0.5) for a in axes)
    return _Target(axes, rounded, (ratio,) * len(axes))


def _region(c: Conversion, count: int) -> tuple[float, ...]:
    region = tuple(float(v) for v in c.array(1).ravel())
    if len(region) != 2 * count:
        raise c.error(f"roi must have {2 * count} elements, found {len(region)}")
    return region


def _resized(c: Conversion, target: _Target, region: tuple[float, ...], coordinates: str) -> Value:
    shape, count = c.shape(0), len(target.axes)
    kept = [
        k
        for k, (a, n, s) in enumerate(zip(target.axes, target.sizes, target.scales, strict=True))
        if n != shape[a] or s != 1 or (region and (region[k], region[count + k]) != (0, 1))
    ]
    if not kept:
        return c.operand(0)
    op = ops.Resize(
        tuple(target.axes[k] for k in kept),
        tuple(target.sizes[k] for k in kept),
        tuple(max(target.scales[k], 1e-30) for k in kept),
        _mode(c),
        coordinates,
        c.attr("nearest_mode", "round_prefer_floor"),
        float(c.attr("cubic_coeff_a", -0.75)),
        bool(c.attr("exclude_outside", 0)),
        bool(c.attr("antialias", 0)),
        tuple(region[k] for k in (*kept, *(count + k for k in kept))) if region else (),
        float(c.attr("extrapolation_value", 0.0)),
    )
    return c.emit(op, c.operand(0))


@converter("GridSample")
def grid_sample(c: Conversion) -> Value:
    """Name modes as operator set 20 does."""
    mode = str(c.attr("mode", "linear"))
    padding = c.attr("padding_mode", "zeros")
    op = ops.GridSample(_MODES.get(mode, mode), padding, bool(c.attr("align_corners", 0)))
    return c.emit(op, c.operand(0), c.operand(1))


@converter("AffineGrid")
def affine_grid(c: Conversion) -> Value:
    """Drop batch and channels from the size."""
    size = c.ints(1)
    if len(size) not in (4, 5) or size[0] != c.shape(0)[0]:
        raise c.error(f"size {list(size)} must be (N, C, [D,] H, W) with N={c.shape(0)[0]}")
    return c.emit(ops.AffineGrid(size[2:], bool(c.attr("align_corners", 0))), c.operand(0))


@converter("RoiAlign")
def roi_align(c: Conversion) -> Value:
    """Check that every box belongs to an image."""
    half_pixel = c.attr("coordinate_transformation_mode", "half_pixel") == "half_pixel"
    op = ops.RoiAlign(
        (c.attr("output_height", 1), c.attr("output_width", 1)),
        c.attr("sampling_ratio", 0),
        float(c.attr("spatial_scale", 1.0)),
        c.attr("mode", "avg"),
        half_pixel and c.version >= 16,
    )
    _check_images(c, c.operand(2))
    return c.emit(op, c.operand(0), c.operand(1), c.operand(2))


@converter("MaxRoiPool")
def max_roi_pool(c: Conversion) -> Value:
    """Check that every box belongs to an image."""
    boxes = c.operand(1)
    images = c.emit(ops.Cast("int64"), slice_along(c.emit, boxes, 1, 0, 1))
    _check_images(c, images)
    op = ops.MaxRoiPool(tuple(c.attr("pooled_shape")), float(c.attr("spatial_scale", 1.0)))
    return c.emit(op, c.operand(0), boxes)


def _check_images(c: Conversion, images: Value) -> None:
    count = c.shape(0)[0]
    flag = c.emit(ops.InRange(0, count), images)
    c.check(flag, f"a box belongs to an image that is not among {count}")
