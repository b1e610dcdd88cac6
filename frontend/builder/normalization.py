# SPDX-License-Identifier: MIT
"""Normalisation layers; their parameters are drawn so that leaving one out is noticed."""

from __future__ import annotations

import math

from ...ir import ops
from .tensor import Layer, Tensor
from .weights import Filled, Uniform, around

_BIAS = around(0.0, 0.2)
_MEAN = around(0.0, 0.2)
_VARIANCE = Uniform(0.6, 1.7)
"""``1 / variance`` times the square of a scale is 1 on average: signals keep their size."""


def batch_norm(
    x: Tensor, *, epsilon: float = 1e-5, gain: float = 1.0, name: str | None = None
) -> Tensor:
    """Return ``x`` normalised per channel by the statistics of training.

    Parameters (C): ``scale`` and ``bias``, and ``mean`` and ``variance``, which are counted by
    training and not found by gradients.

    Args:
        x: data (N, C, ...).
        epsilon: added to the variance.
        gain: what the scales are drawn around.
        name: of the layer.

    Raises:
        LayerError: ``x`` has no channels.
    """
    layer = Layer.begin("batch_norm", name)
    shape = (_channels(layer, x),)
    return layer.apply(
        ops.BatchNorm(epsilon),
        x,
        _scaled(layer, shape, gain),
        _bias(layer, shape),
        layer.parameter("mean", shape, _MEAN, trainable=False, standard=Filled(0.0)),
        layer.parameter("variance", shape, _VARIANCE, trainable=False, standard=Filled(1.0)),
    )


def instance_norm(
    x: Tensor,
    *,
    affine: bool = True,
    epsilon: float = 1e-5,
    gain: float = 1.0,
    name: str | None = None,
) -> Tensor:
    """Return ``x`` normalised per sample and channel; parameters ``scale`` and ``bias`` (C).

    Args:
        x: data (N, C, spatial...).
        affine: whether there are parameters.
        epsilon: added to the variance.
        gain: what the scales are drawn around.
        name: of the layer.

    Raises:
        LayerError: ``x`` has no channels, or one element per channel, which makes it 0.
    """
    layer = Layer.begin("instance_norm", name)
    shape = (_channels(layer, x),)
    _check_many(layer, x, math.prod(x.shape[2:]))
    if affine:
        scale, bias = _scaled(layer, shape, gain), _bias(layer, shape)
    else:
        scale, bias = layer.filled(1, shape), layer.filled(0, shape)
    return layer.apply(ops.InstanceNorm(epsilon), x, scale, bias)


def group_norm(
    x: Tensor, groups: int, *, epsilon: float = 1e-5, gain: float = 1.0, name: str | None = None
) -> Tensor:
    """Return ``x`` normalised per sample and group of channels; ``scale`` and ``bias`` (C).

    Args:
        x: data (N, C, ...).
        groups: number of groups, a divisor of C.
        epsilon: added to the variance.
        gain: what the scales are drawn around.
        name: of the layer.

    Raises:
        LayerError: ``x`` has no channels, or the groups do not divide them.
    """
    layer = Layer.begin("group_norm", name)
    shape = (_channels(layer, x),)
    if groups < 1 or shape[0] % groups:
        raise layer.error(f"groups={groups} must divide the channels of {x.type}")
    _check_many(layer, x, math.prod(x.shape[1:]) // groups)
    scale, bias = _scaled(layer, shape, gain), _bias(layer, shape)
    return layer.apply(ops.GroupNorm(groups, epsilon), x, scale, bias)


def layer_norm(
    x: Tensor, *, epsilon: float = 1e-5, gain: float = 1.0, name: str | None = None
) -> Tensor:
    """Return ``x`` normalised over its last axis; parameters ``scale`` and ``bias``.

    Args:
        x: data (..., features).
        epsilon: added to the variance.
        gain: what the scales are drawn around.
        name: of the layer.
    """
    layer = Layer.begin("layer_norm", name)
    if not x.rank:
        raise layer.error(f"data must have an axis, found {x.type}")
    shape = x.shape[-1:]
    scale, bias = _scaled(layer, shape, gain), _bias(layer, shape)
    return layer.apply(ops.LayerNorm(-1, epsilon), x, scale, bias)


def _scaled(layer: Layer, shape: tuple[int, ...], gain: float) -> Tensor:
    initial = Uniform(0.75 * gain, 1.25 * gain)
    return layer.parameter("scale", shape, initial, standard=Filled(1.0))


def _bias(layer: Layer, shape: tuple[int, ...]) -> Tensor:
    return layer.parameter("bias", shape, _BIAS, standard=Filled(0.0))


def _channels(layer: Layer, x: Tensor) -> int:
    if x.rank < 2:
        raise layer.error(f"data must be (batch, channels, ...), found {x.type}")
    return x.shape[1]


def _check_many(layer: Layer, x: Tensor, count: int) -> None:
    if count < 2:
        raise layer.error(f"the statistics of one element make {x.type} zero; give larger data")
