# SPDX-License-Identifier: MIT
"""Functions of single elements that losses are written with."""

from __future__ import annotations

from ...ir import Op, ops
from .tensor import Layer, Number, Tensor, binary, constant


def exp(x: Tensor, *, name: str | None = None) -> Tensor:
    """Return ``e**x``."""
    return Layer.begin("exp", name).apply(ops.Exp(), x)


def expm1(x: Tensor, *, name: str | None = None) -> Tensor:
    """Return ``e**x - 1``, without loss of digits near 0."""
    return Layer.begin("expm1", name).apply(ops.Expm1(), x)


def log(x: Tensor, *, name: str | None = None) -> Tensor:
    """Return the natural logarithm: -inf of 0, NaN of negative numbers.

    The gradient is ``1 / x``: keep ``x`` away from 0, such as by :func:`maximum`.
    """
    return Layer.begin("log", name).apply(ops.Log(), x)


def log1p(x: Tensor, *, name: str | None = None) -> Tensor:
    """Return ``log(1 + x)``, without loss of digits near 0."""
    return Layer.begin("log1p", name).apply(ops.Log1p(), x)


def sqrt(x: Tensor, *, name: str | None = None) -> Tensor:
    """Return the square root, NaN of negative numbers; its gradient is infinite at 0."""
    return Layer.begin("sqrt", name).apply(ops.Sqrt(), x)


def abs(x: Tensor, *, name: str | None = None) -> Tensor:
    """Return ``|x|``; its gradient at 0 is 0."""
    return Layer.begin("abs", name).apply(ops.Abs(), x)


def square(x: Tensor, *, name: str | None = None) -> Tensor:
    """Return ``x * x``."""
    return Layer.begin("square", name).apply(ops.Mul(), x, x)


def power(x: Tensor, exponent: Tensor | Number, *, name: str | None = None) -> Tensor:
    """Return ``x**exponent``, as the operator does, with a name.

    The gradient is infinite at ``x`` = 0 where the exponent is below 1.
    """
    return _named("power", name, ops.Pow(), x, exponent)


def maximum(x: Tensor, y: Tensor | Number, *, name: str | None = None) -> Tensor:
    """Return the larger of two numbers, element by element.

    >>> from ranvier.frontend import builder as nn
    >>> x = nn.input("x", (2, 3))
    >>> nn.maximum(x, 0).shape, nn.maximum(x, nn.input("row", (3,))).shape
    ((2, 3), (2, 3))
    """
    return _named("maximum", name, ops.Maximum(), x, y)


def minimum(x: Tensor, y: Tensor | Number, *, name: str | None = None) -> Tensor:
    """Return the smaller of two numbers, element by element."""
    return _named("minimum", name, ops.Minimum(), x, y)


def softplus(x: Tensor, *, name: str | None = None) -> Tensor:
    """Return ``log(1 + e**x)``, which overflows for no ``x``.

    ``log(sigmoid(x)) = -softplus(-x)``.
    """
    return Layer.begin("softplus", name).apply(ops.Softplus(), x)


def log_softmax(x: Tensor, axis: int = -1, *, name: str | None = None) -> Tensor:
    """Return the logarithms of the shares that :func:`softmax` makes, all of them finite."""
    layer = Layer.begin("log_softmax", name)
    return layer.apply(ops.LogSoftmax(layer.axis(axis, x)), x)


def _named(kind: str, name: str | None, op: Op, x: Tensor, y: Tensor | Number) -> Tensor:
    if name is None:
        return binary(kind, op, x, y)
    other = y if isinstance(y, Tensor) else constant(y, x)
    return Layer.begin(kind, name).apply(op, x, other)
