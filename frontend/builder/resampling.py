# SPDX-License-Identifier: MIT
"""Pooling and upsampling."""

from __future__ import annotations

from collections.abc import Sequence

from ...ir import ops
from .tensor import Layer, Tensor, sizes, spatial_rank
from .weighted import Sizes


def max_pool(
    x: Tensor,
    window: Sizes,
    *,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    name: str | None = None,
) -> Tensor:
    """Return the largest element of each window.

    Args:
        x: data (N, C, spatial...).
        window: its size.
        stride: step between windows; the window's size if it is left out.
        padding: elements on either side that never win.
        name: of the layer.

    Raises:
        LayerError: ``x`` has no spatial axes, or sizes do not fit.
    """
    layer = Layer.begin("max_pool", name)
    shape, steps, pads = _geometry(layer, x, window, stride, padding)
    return layer.apply(ops.MaxPool(shape, steps, pads, pads, (1,) * len(shape)), x)


def average_pool(
    x: Tensor,
    window: Sizes,
    *,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    count_padding: bool = True,
    name: str | None = None,
) -> Tensor:
    """Return the mean of each window.

    Args:
        x: data (N, C, spatial...).
        window: its size.
        stride: step between windows; the window's size if it is left out.
        padding: elements on either side.
        count_padding: whether they count as zeros, as in PyTorch.
        name: of the layer.

    Raises:
        LayerError: ``x`` has no spatial axes, or sizes do not fit.
    """
    layer = Layer.begin("average_pool", name)
    shape, steps, pads = _geometry(layer, x, window, stride, padding)
    op = ops.AveragePool(shape, steps, pads, pads, (1,) * len(shape), count_padding)
    return layer.apply(op, x)


def global_average_pool(x: Tensor, *, keep: bool = False, name: str | None = None) -> Tensor:
    """Return the mean of each channel (N, C), or (N, C, 1...) with ``keep``.

    Raises:
        LayerError: ``x`` has no spatial axes.
    """
    layer = Layer.begin("global_average_pool", name)
    rank = spatial_rank(layer, x)
    y = layer.apply(ops.ReduceMean(tuple(range(2, x.rank))), x)
    return layer.apply(ops.Reshape((*y.shape, *(1,) * rank)), y) if keep else y


def resize(
    x: Tensor,
    size: Sizes,
    mode: str = "linear",
    *,
    align_corners: bool = False,
    name: str | None = None,
) -> Tensor:
    """Return ``x`` interpolated to other spatial sizes, in the manner of PyTorch.

    Args:
        x: data (N, C, spatial...).
        size: the new sizes.
        mode: ``linear`` (in every axis), ``nearest`` or ``cubic``.
        align_corners: whether the outermost elements stay the outermost; not for ``nearest``.
        name: of the layer.

    Raises:
        LayerError: ``x`` has no spatial axes, or there is no such mode.
    """
    layer = Layer.begin("resize", name)
    rank = spatial_rank(layer, x)
    target = sizes(layer, "size", size, rank)
    if mode not in ("linear", "nearest", "cubic"):
        raise layer.error(f"mode={mode!r} must be linear, nearest or cubic")
    coordinates = "align_corners" if align_corners else "half_pixel"
    scales = tuple(n / m for n, m in zip(target, x.shape[2:], strict=True))
    axes = tuple(range(2, x.rank))
    if mode == "nearest":
        return layer.apply(ops.Resize(axes, target, scales, mode, "asymmetric", "floor"), x)
    return layer.apply(ops.Resize(axes, target, scales, mode, coordinates), x)


def upsample(
    x: Tensor,
    factor: Sizes = 2,
    mode: str = "linear",
    *,
    align_corners: bool = False,
    name: str | None = None,
) -> Tensor:
    """Return ``x`` enlarged by whole factors; see :func:`resize`."""
    layer = Layer.begin("upsample", name)
    factors = sizes(layer, "factor", factor, spatial_rank(layer, x))
    target = [n * f for n, f in zip(x.shape[2:], factors, strict=True)]
    return resize(x, target, mode, align_corners=align_corners, name=name)


def _geometry(
    layer: Layer, x: Tensor, window: Sizes, stride: Sizes | None, padding: Sizes
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    rank = spatial_rank(layer, x)
    shape = sizes(layer, "window", window, rank)
    steps = shape if stride is None else sizes(layer, "stride", stride, rank)
    pads = sizes(layer, "padding", padding, rank)
    _check_padding(layer, shape, pads)
    return shape, steps, pads


def _check_padding(layer: Layer, window: Sequence[int], pads: Sequence[int]) -> None:
    if any(2 * p > k for p, k in zip(pads, window, strict=True)):
        raise layer.error(f"padding={list(pads)} must be at most half the window {list(window)}")
