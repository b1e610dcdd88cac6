# SPDX-License-Identifier: MIT
"""Layers whose weights multiply: convolutions, linear layers, embeddings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

from ...ir import ops
from ...ir.types import INTEGERS
from .initialisers import glorot_uniform, he_normal
from .tensor import Layer, Tensor, gain_for, sizes, spatial_rank
from .weights import Fans, Filled, Initialiser, Normal, around, scaled

Sizes: TypeAlias = "int | Sequence[int]"

_BIAS = around(0.0, 0.1)


def conv(  # noqa: PLR0913 - a convolution has this many attributes
    x: Tensor,
    channels: int,
    kernel: Sizes,
    *,
    stride: Sizes = 1,
    padding: Sizes | str = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    bias: bool = True,
    initial: Initialiser | None = None,
    name: str | None = None,
) -> Tensor:
    """Return the convolution of ``x`` in as many dimensions as it has spatial axes.

    Parameters: ``weight`` (channels, C / groups, kernel...) and ``bias`` (channels, 1...).

    Args:
        x: data (N, C, spatial...).
        channels: of the result.
        kernel: size of the window.
        stride: step between windows.
        padding: zeros on either side, or ``"same"`` for as many as keep the size at stride 1.
        dilation: distance between the elements of a window.
        groups: independent convolutions that the channels are split into.
        bias: whether a number is added per channel.
        initial: what the weight holds at first; before training by default as He et al.
        name: of the layer.

    Raises:
        LayerError: ``x`` has no spatial axes, or sizes do not fit.

    >>> from ranvier.frontend import builder as nn
    >>> x = nn.input("image", (1, 3, 224, 224))
    >>> nn.conv(x, 64, 7, stride=2, padding=3).shape
    (1, 64, 112, 112)
    """
    layer = Layer.begin("conv", name)
    rank = spatial_rank(layer, x)
    window, steps = sizes(layer, "kernel", kernel, rank), sizes(layer, "stride", stride, rank)
    spread = sizes(layer, "dilation", dilation, rank)
    pads = _padding(layer, padding, window, spread)
    per_group = _per_group(layer, x.shape[1], channels, groups)
    fan_in = per_group * math.prod(window)
    shape = (channels, per_group, *window)
    fans = Fans(fan_in, channels // groups * math.prod(window))
    noticed = scaled(fan_in, gain_for(x))
    weight = _weight(layer, shape, fans, initial, (noticed, he_normal()))
    op = ops.Conv(steps, pads, pads, spread, (1,) * rank, groups)
    return _biased(layer, layer.apply(op, x, weight), bias)


def conv_transpose(  # noqa: PLR0913 - a convolution has this many attributes
    x: Tensor,
    channels: int,
    kernel: Sizes,
    *,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    bias: bool = True,
    initial: Initialiser | None = None,
    name: str | None = None,
) -> Tensor:
    """Return the transposed convolution, which enlarges ``x`` by ``stride``.

    Parameters: ``weight`` (C, channels, kernel...) and ``bias`` (channels, 1...).

    Args:
        x: data (N, C, spatial...).
        channels: of the result.
        kernel: size of the window.
        stride: distance between the windows of neighbouring elements.
        padding: elements cut off on either side.
        output_padding: elements cut off less at the end.
        bias: whether a number is added per channel.
        initial: what the weight holds at first; before training by default as He et al.
        name: of the layer.

    Raises:
        LayerError: ``x`` has no spatial axes, or sizes do not fit.

    >>> from ranvier.frontend import builder as nn
    >>> nn.conv_transpose(nn.input("x", (1, 64, 14, 14)), 32, 2, stride=2).shape
    (1, 32, 28, 28)
    """
    layer = Layer.begin("conv_transpose", name)
    rank = spatial_rank(layer, x)
    window, steps = sizes(layer, "kernel", kernel, rank), sizes(layer, "stride", stride, rank)
    low = sizes(layer, "padding", padding, rank)
    extra = sizes(layer, "output_padding", output_padding, rank)
    # Each element of the result is reached by this many windows on average.
    fan_in = max(1, x.shape[1] * math.prod(window) // math.prod(steps))
    shape = (x.shape[1], channels, *window)
    fans = Fans(fan_in, channels * math.prod(window))
    noticed = scaled(fan_in, gain_for(x))
    weight = _weight(layer, shape, fans, initial, (noticed, he_normal()))
    high = tuple(p - e for p, e in zip(low, extra, strict=True))
    op = ops.ConvTranspose(steps, low, high, (1,) * rank)
    return _biased(layer, layer.apply(op, x, weight), bias)


def linear(
    x: Tensor,
    features: int,
    *,
    bias: bool = True,
    initial: Initialiser | None = None,
    name: str | None = None,
) -> Tensor:
    """Return ``x w + b`` over the last axis.

    Parameters: ``weight`` (inputs, features), the transpose of what PyTorch keeps, and
    ``bias`` (features).

    Args:
        x: data (..., inputs) of two axes or more.
        features: size of the last axis of the result.
        bias: whether a vector is added.
        initial: what the weight holds at first; before training by default as Glorot et al.
        name: of the layer.

    Raises:
        LayerError: ``x`` is a vector.
    """
    layer = Layer.begin("linear", name)
    if x.rank < 2:
        raise layer.error(f"data must have two axes or more, found {x.type}")
    count = x.shape[-1]
    fans, first = Fans(count, features), (scaled(count, gain_for(x)), glorot_uniform())
    weight = _weight(layer, (count, features), fans, initial, first)
    y = layer.apply(ops.MatMul(), x, weight)
    return layer.apply(ops.Add(), y, _bias(layer, (features,))) if bias else y


def embedding(
    x: Tensor,
    entries: int,
    features: int,
    *,
    initial: Initialiser | None = None,
    name: str | None = None,
) -> Tensor:
    """Return the rows of a table at the positions ``x``.

    Parameter: ``weight`` (entries, features).

    Args:
        x: integers (...) below ``entries``.
        entries: rows of the table.
        features: their length, the last axis of the result.
        initial: what the table holds at first; before training by default normal numbers of
            deviation 0.02.
        name: of the layer.

    Raises:
        LayerError: ``x`` does not hold integers.
    """
    layer = Layer.begin("embedding", name)
    if x.dtype not in INTEGERS:
        raise layer.error(f"positions must be integers, found {x.type}")
    fans, first = Fans(entries, features), (around(0.0, 1.0), Normal(0.0, 0.02))
    table = _weight(layer, (entries, features), fans, initial, first)
    return layer.apply(ops.Gather(0), table, x)


def _weight(
    layer: Layer,
    shape: Sequence[int],
    fans: Fans,
    given: Initialiser | None,
    default: tuple[Initialiser, Initialiser],
) -> Tensor:
    """Return the weight, which holds what is ``given``, by default one of two things at first."""
    if given is not None:
        return layer.parameter("weight", shape, given.fitted(fans))
    initial, standard = default
    return layer.parameter("weight", shape, initial, standard=standard.fitted(fans))


def _per_group(layer: Layer, inputs: int, channels: int, groups: int) -> int:
    if groups < 1 or inputs % groups or channels % groups:
        raise layer.error(
            f"groups={groups} must divide the {inputs} channels of the data and the "
            f"{channels} of the result"
        )
    return inputs // groups


def _padding(
    layer: Layer, padding: Sizes | str, window: Sequence[int], dilation: Sequence[int]
) -> tuple[int, ...]:
    if not isinstance(padding, str):
        return sizes(layer, "padding", padding, len(window))
    spans = [(k - 1) * d for k, d in zip(window, dilation, strict=True)]
    if padding != "same" or any(s % 2 for s in spans):
        raise layer.error(
            f"padding={padding!r} must be numbers, or 'same' with an odd kernel (is {window})"
        )
    return tuple(s // 2 for s in spans)


def _biased(layer: Layer, y: Tensor, bias: bool) -> Tensor:
    if not bias:
        return y
    shape = (y.shape[1], *(1 for _ in range(y.rank - 2)))
    return layer.apply(ops.Add(), y, _bias(layer, shape))


def _bias(layer: Layer, shape: Sequence[int]) -> Tensor:
    return layer.parameter("bias", shape, _BIAS, standard=Filled(0.0))
