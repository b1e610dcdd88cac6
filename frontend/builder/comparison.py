# SPDX-License-Identifier: MIT
"""Comparisons, choices by condition, and changes of element type."""

from __future__ import annotations

from ...ir import ops
from ...ir.types import INTEGERS
from .movement import reshape
from .tensor import Layer, Number, Tensor, binary, constant


def equal(x: Tensor, y: Tensor | Number) -> Tensor:
    """Return where two tensors have the same elements, as bool."""
    return binary("equal", ops.Equal(), x, y)


def not_equal(x: Tensor, y: Tensor | Number) -> Tensor:
    """Return where two tensors differ."""
    return Layer.begin("not_equal").apply(ops.Not(), equal(x, y))


def less(x: Tensor, y: Tensor | Number) -> Tensor:
    """Return where ``x < y``, as bool; false where one of them is NaN."""
    return binary("less", ops.Less(), x, y)


def less_equal(x: Tensor, y: Tensor | Number) -> Tensor:
    """Return where ``x <= y``, as bool; false where one of them is NaN."""
    return binary("less_equal", ops.LessEqual(), x, y)


def greater(x: Tensor, y: Tensor | Number) -> Tensor:
    """Return where ``x > y``, as bool; false where one of them is NaN."""
    return binary("greater", ops.Greater(), x, y)


def greater_equal(x: Tensor, y: Tensor | Number) -> Tensor:
    """Return where ``x >= y``, as bool; false where one of them is NaN."""
    return binary("greater_equal", ops.GreaterEqual(), x, y)


def both(x: Tensor, y: Tensor) -> Tensor:
    """Return where two bool tensors hold."""
    return binary("both", ops.And(), x, y)


def either(x: Tensor, y: Tensor) -> Tensor:
    """Return where at least one of two bool tensors holds."""
    return binary("either", ops.Or(), x, y)


def where(
    condition: Tensor, x: Tensor | Number, y: Tensor | Number, *, name: str | None = None
) -> Tensor:
    """Return ``x`` where the condition holds, else ``y``.

    The gradient of what is not chosen is 0 times the gradient of how it came about: 0, unless
    that is infinite or NaN. Choose safe operands before a division, not results after it.

    Args:
        condition: bool.
        x: a tensor, or a number if ``y`` is a tensor.
        y: a tensor, or a number if ``x`` is a tensor.
        name: of the layer.

    Raises:
        LayerError: ``x`` and ``y`` are both numbers, or types or shapes do not fit.

    >>> from ranvier.frontend import builder as nn
    >>> x = nn.input("x", (2, 3))
    >>> str(nn.where(nn.greater(x, 1), x, 0))
    'float32[2, 3]'
    """
    layer = Layer.begin("where", name)
    if isinstance(x, Tensor):
        other = y if isinstance(y, Tensor) else constant(y, x)
        return layer.apply(ops.Select(), condition, x, other)
    if isinstance(y, Tensor):
        return layer.apply(ops.Select(), condition, constant(x, y), y)
    raise layer.error(f"{x} and {y} are both numbers; make one of them a tensor of the type meant")


def cast(x: Tensor, dtype: str, *, name: str | None = None) -> Tensor:
    """Return ``x`` with another element type; floats lose what is behind the point.

    >>> from ranvier.frontend import builder as nn
    >>> str(nn.cast(nn.input("mask", (1, 8), "uint8"), "float32"))
    'float32[1, 8]'
    """
    return x if x.dtype == dtype else Layer.begin("cast", name).apply(ops.Cast(dtype), x)


def one_hot(
    labels: Tensor,
    classes: int,
    *,
    axis: int = 1,
    dtype: str = "float32",
    name: str | None = None,
) -> Tensor:
    """Return 1 at the place of each label along a new axis, 0 elsewhere.

    A label that is no class has 0 everywhere.

    Args:
        labels: integers (N, D1, ...).
        classes: size of the new axis.
        axis: where the new axis is in the result; by default the axis of channels.
        dtype: element type of the result.
        name: of the layer.

    Raises:
        LayerError: labels are no integers, or there is no class, or no such axis.

    >>> from ranvier.frontend import builder as nn
    >>> str(nn.one_hot(nn.input("labels", (2, 8, 8), "int64"), 3))
    'float32[2, 3, 8, 8]'
    """
    layer = Layer.begin("one_hot", name)
    if labels.dtype not in INTEGERS or classes < 1:
        raise layer.error(f"expected integers and a class or more, found {labels} and {classes}")
    if not -labels.rank - 1 <= axis <= labels.rank:
        raise layer.error(f"axis {axis} does not exist behind {labels}")
    axis %= labels.rank + 1
    shape = list(labels.shape)
    shape.insert(axis, classes)
    # Wide enough for the number of any class, whatever the labels' type is.
    column = cast(labels, "int64" if labels.dtype in ("int64", "uint32", "uint64") else "int32")
    column = reshape(column, (*shape[:axis], 1, *shape[axis + 1 :]))
    positions = layer.apply(ops.Iota(column.dtype, tuple(shape), axis))
    return layer.apply(ops.Cast(dtype), layer.apply(ops.Equal(), positions, column))
