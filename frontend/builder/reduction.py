# SPDX-License-Identifier: MIT
"""Sums, means and extremes over axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from ...ir import Op, ops
from .tensor import Layer, Tensor

Axes: TypeAlias = "int | Sequence[int] | None"
"""An axis, several of them, or ``None`` for all; they may be counted from the end."""


def sum(x: Tensor, axes: Axes = None, *, keep: bool = False, name: str | None = None) -> Tensor:
    """Return the sum over axes.

    Args:
        x: data.
        axes: one axis, several, or all of them.
        keep: whether the axes stay, with size 1.
        name: of the layer.

    Raises:
        LayerError: there is no such axis, or it is named twice.

    >>> from ranvier.frontend import builder as nn
    >>> x = nn.input("x", (2, 3, 4, 5))
    >>> nn.sum(x).shape, nn.sum(x, (-1, -2)).shape, nn.sum(x, 1, keep=True).shape
    ((), (2, 3), (2, 1, 4, 5))
    """
    return _reduced("sum", ops.ReduceSum, x, axes, keep, name)


def mean(x: Tensor, axes: Axes = None, *, keep: bool = False, name: str | None = None) -> Tensor:
    """Return the mean over axes; arguments and errors as for :func:`sum`."""
    return _reduced("mean", ops.ReduceMean, x, axes, keep, name)


def max(x: Tensor, axes: Axes = None, *, keep: bool = False, name: str | None = None) -> Tensor:
    """Return the largest element over axes; arguments and errors as for :func:`sum`.

    The gradient is shared equally among the largest elements.
    """
    return _reduced("max", ops.ReduceMax, x, axes, keep, name)


def min(x: Tensor, axes: Axes = None, *, keep: bool = False, name: str | None = None) -> Tensor:
    """Return the smallest element over axes; arguments and errors as for :func:`sum`."""
    return _reduced("min", ops.ReduceMin, x, axes, keep, name)


def argmax(x: Tensor, axis: int = -1, *, name: str | None = None) -> Tensor:
    """Return the position of the largest element along an axis, the first if there are several.

    Raises:
        LayerError: there is no such axis.
    """
    layer = Layer.begin("argmax", name)
    return layer.apply(ops.ArgMax(layer.axis(axis, x)), x)


def _reduced(
    kind: str,
    op: Callable[[tuple[int, ...]], Op],
    x: Tensor,
    axes: Axes,
    keep: bool,
    name: str | None,
) -> Tensor:
    layer = Layer.begin(kind, name)
    given = range(x.rank) if axes is None else (axes,) if isinstance(axes, int) else axes
    reduced = tuple(sorted(layer.axis(a, x) for a in given))
    if len(set(reduced)) < len(reduced):
        raise layer.error(f"axes {list(given)} of {x.type} name an axis twice")
    y = layer.apply(op(reduced), x)
    if not keep:
        return y
    shape = tuple(1 if k in reduced else n for k, n in enumerate(x.shape))
    return layer.apply(ops.Reshape(shape), y)
