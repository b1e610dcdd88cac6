# SPDX-License-Identifier: MIT
"""Kernels that only move elements, as another way to see what lies in memory already."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.graph import Node
from ..ir.ops import Reshape, Reverse, Slice, Transpose
from ..ir.ops.fused import Fused
from ..ir.types import TensorType
from .views import Dims, View


def seen(node: Node, view: View) -> tuple[int, View] | None:
    """Return how the result of a kernel lies in the memory of its operand.

    Args:
        node: a kernel.
        view: how its only operand lies.

    Returns:
        How many elements after the operand's first the result's first is, and the result's
        view; ``None`` if the kernel computes, or if no strides express what it moves.
    """
    if not is_movement(node):
        return None
    assert isinstance(node.op, Fused)
    first, found = 0, View(view.shape, view.strides)
    for inner in node.op.body.nodes:
        if isinstance(inner.op, Slice):
            first += found.offset(inner.op.starts)
            type = inner.output.type
            assert isinstance(type, TensorType)
            steps = zip(found.strides, inner.op.steps, strict=True)
            found = View(type.dims, tuple(s * k for s, k in steps))
        elif isinstance(inner.op, Transpose):
            order = inner.op.permutation
            found = View(_picked(found.shape, order), _picked(found.strides, order))
        elif isinstance(inner.op, Reverse):
            first += sum((found.shape[k] - 1) * found.strides[k] for k in inner.op.axes)
            turned = [-s if k in inner.op.axes else s for k, s in enumerate(found.strides)]
            found = View(found.shape, tuple(turned))
        else:
            assert isinstance(inner.op, Reshape)
            reshaped = regrouped(found, inner.op.shape)
            if reshaped is None:
                return None
            found = reshaped
    return first, found


def is_movement(node: Node) -> bool:
    """Whether a kernel does nothing but slice, turn, transpose and reshape one operand."""
    if not isinstance(node.op, Fused):
        return False
    body = node.op.body
    chain = [*body.inputs, *(v for n in body.nodes for v in n.outputs)]
    return (
        len(body.inputs) == len(body.outputs) == 1
        and all(isinstance(n.op, Slice | Transpose | Reshape | Reverse) for n in body.nodes)
        and [n.inputs for n in body.nodes] == [(v,) for v in chain[:-1]]
    )


def regrouped(view: View, shape: Dims) -> View | None:
    """Return the view of the same elements, in row-major order, in another shape.

    >>> regrouped(View((2, 12), (40, 1)), (2, 3, 4)).strides
    (40, 4, 1)
    >>> regrouped(View((2, 12), (40, 1)), (24,)) is None
    True
    """
    old = [(n, s) for n, s in zip(view.shape, view.strides, strict=True) if n != 1]
    runs: list[tuple[int, int]] = []
    for size, stride in old:
        # Axes that follow each other without a gap count as one.
        if runs and runs[-1][1] == size * stride:
            size *= runs.pop()[0]
        runs.append((size, stride))
    strides: list[int] = []
    left, step = runs.pop() if runs else (1, 1)
    for size in reversed(shape):
        if left == 1 and size != 1:
            left, step = runs.pop()
        if left % size:
            return None
        strides.append(step)
        step *= size
        left //= size
    return View(shape, tuple(reversed(strides)))


def _picked(values: Dims, order: Sequence[int]) -> Dims:
    return tuple(values[k] for k in order)


__all__ = ["is_movement", "regrouped", "seen"]
