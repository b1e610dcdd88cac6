# SPDX-License-Identifier: MIT
"""Activation functions, sums, products and dropout."""

from __future__ import annotations

from ...ir import ops
from .tensor import Layer, Number, Tensor, constant
from .weights import Filled, Uniform


def relu(x: Tensor, *, name: str | None = None) -> Tensor:
    """Return ``max(x, 0)``."""
    return Layer.begin("relu", name).apply(ops.Relu(), x)


def clip(x: Tensor, low: Number, high: Number, *, name: str | None = None) -> Tensor:
    """Return ``x`` moved between two bounds; 0 and 6 make the rectifier of MobileNet."""
    layer = Layer.begin("clip", name)
    floor = layer.apply(ops.Maximum(), x, constant(low, x))
    return layer.apply(ops.Minimum(), floor, constant(high, x))


def leaky_relu(x: Tensor, slope: float = 0.01, *, name: str | None = None) -> Tensor:
    """Return ``x`` where it is positive, else ``slope * x``."""
    return Layer.begin("leaky_relu", name).apply(ops.LeakyRelu(slope), x)


def prelu(x: Tensor, *, shared: bool = False, name: str | None = None) -> Tensor:
    """Return the rectifier with a learned slope per channel, or one for all.

    Parameter: ``weight`` (C, 1...), or (1) if ``shared``.

    Args:
        x: data (N, C, ...).
        shared: whether all channels have one slope.
        name: of the layer.
    """
    layer = Layer.begin("prelu", name)
    if x.rank < 2:
        raise layer.error(f"data must be (batch, channels, ...), found {x.type}")
    shape = (1,) if shared else (x.shape[1], *(1 for _ in range(x.rank - 2)))
    slope = layer.parameter("weight", shape, Uniform(0.1, 0.4), standard=Filled(0.25))
    return layer.apply(ops.PRelu(), x, slope)


def gelu(x: Tensor, approximate: str = "none", *, name: str | None = None) -> Tensor:
    """Return the Gaussian error linear unit; ``approximate`` may be ``tanh``."""
    return Layer.begin("gelu", name).apply(ops.Gelu(approximate), x)


def swish(x: Tensor, *, name: str | None = None) -> Tensor:
    """Return ``x * sigmoid(x)``, also called SiLU."""
    return Layer.begin("swish", name).apply(ops.Swish(), x)


def hard_swish(x: Tensor, *, name: str | None = None) -> Tensor:
    """Return ``x * clip(x / 6 + 1 / 2, 0, 1)``."""
    return Layer.begin("hard_swish", name).apply(ops.HardSwish(), x)


def sigmoid(x: Tensor, *, name: str | None = None) -> Tensor:
    """Return ``1 / (1 + exp(-x))``."""
    return Layer.begin("sigmoid", name).apply(ops.Sigmoid(), x)


def tanh(x: Tensor, *, name: str | None = None) -> Tensor:
    """Return the hyperbolic tangent."""
    return Layer.begin("tanh", name).apply(ops.Tanh(), x)


def softmax(x: Tensor, axis: int = -1, *, name: str | None = None) -> Tensor:
    """Return shares of ``axis`` that add up to 1."""
    layer = Layer.begin("softmax", name)
    return layer.apply(ops.Softmax(layer.axis(axis, x)), x)


def add(x: Tensor, y: Tensor | Number, *, name: str | None = None) -> Tensor:
    """Return ``x + y``, as the operator does, with a name."""
    return _named("add", name, ops.Add(), x, y)


def multiply(x: Tensor, y: Tensor | Number, *, name: str | None = None) -> Tensor:
    """Return ``x * y``, as the operator does, with a name."""
    return _named("multiply", name, ops.Mul(), x, y)


def dropout(x: Tensor, rate: float, *, name: str | None = None) -> Tensor:
    """Return ``x``: elements are dropped in training alone, for which ``rate`` is kept.

    Raises:
        LayerError: ``rate`` is not from 0 to below 1.
    """
    layer = Layer.begin("dropout", name)
    if not 0 <= rate < 1:
        raise layer.error(f"rate={rate} must be from 0 to below 1")
    return layer.apply(ops.DropoutSite(rate), x) if rate else x


def _named(
    kind: str, name: str | None, op: ops.Add | ops.Mul, x: Tensor, y: Tensor | Number
) -> Tensor:
    other = y if isinstance(y, Tensor) else constant(y, x)
    return Layer.begin(kind, name).apply(op, x, other)
