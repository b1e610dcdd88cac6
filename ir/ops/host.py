# SPDX-License-Identifier: MIT
"""Ops whose result shape depends on the data; the executor runs them with NumPy.

The data-dependent size is the symbol ``n0`` in the inferred types; different results of one
op that share it have equal sizes, results of different ops need not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ...errors import ExecutionError
from ..op import Arrays, Kind, Op, Types
from ..types import Array, Dim, TensorType, Type
from .gather import check_indices
from .reduction import in_64_bits
from .shape import check_axes

COUNT = "n0"


class HostOp(Op):
    """Base of ops that are never compiled."""

    kind: ClassVar[Kind] = Kind.HOST


@dataclass(frozen=True)
class NonZero(HostOp):
    """Coordinates of the elements other than 0, in row-major order: int64 ``[rank, n0]``.

    No gradient: the result is integers. ONNX: NonZero-13.
    """

    name: ClassVar[str] = "nonzero"

    def infer(self, *inputs: Type) -> Types:
        """Return one row per axis."""
        (x,) = self.tensors(inputs, 1)
        return (TensorType("int64", (x.rank, COUNT)),)

    def evaluate(self, *inputs: Any) -> Arrays:
        """Find the elements; a scalar has one element and no coordinates."""
        (x,) = inputs
        nonzero = x != "" if x.dtype == object else in_64_bits(x) != 0
        return (np.argwhere(nonzero).T.astype(np.int64),)


@dataclass(frozen=True)
class Unique(HostOp):
    """Distinct elements, or distinct slices along ``axis``.

    Results: the distinct items; for each its first position; for each item of ``x`` the
    position of its like among the results; for each how often it occurs (all int64).
    No gradient. ONNX: Unique-11.

    Attributes:
        axis: the axis whose slices are compared; ``None`` compares all elements.
        sorted: items ascend; otherwise they are in order of first occurrence.
    """

    name: ClassVar[str] = "unique"
    axis: int | None = None
    sorted: bool = True

    def infer(self, *inputs: Type) -> Types:
        """Return items, first positions, inverse positions and counts."""
        (x,) = self.tensors(inputs, 1)
        if self.axis is None:
            shape: tuple[Dim, ...] = (COUNT,)
            length: Dim = x.size if x.is_static else "n1"
        else:
            check_axes(self, (self.axis,), x)
            shape = (*x.shape[: self.axis], COUNT, *x.shape[self.axis + 1 :])
            length = x.shape[self.axis]
        counted = TensorType("int64", (COUNT,))
        return TensorType(x.dtype, shape), counted, TensorType("int64", (length,)), counted

    def evaluate(self, *inputs: Any) -> Arrays:
        """Sort by :func:`numpy.unique`, then restore the order of occurrence if asked."""
        (x,) = inputs
        # NumPy sorts neither objects along an axis nor every narrow type.
        keys = x.astype(str) if x.dtype == object else in_64_bits(x)
        _, first, inverse, counts = np.unique(
            keys, return_index=True, return_inverse=True, return_counts=True, axis=self.axis
        )
        inverse = inverse.reshape(-1)
        if not self.sorted:
            order = np.argsort(first, kind="stable")
            first, counts = first[order], counts[order]
            inverse = np.argsort(order, kind="stable")[inverse]
        items = np.take(x.reshape(-1) if self.axis is None else x, first, self.axis or 0)
        return items, *(np.asarray(a, np.int64) for a in (first, inverse, counts))


@dataclass(frozen=True)
class Compress(HostOp):
    """The slices of ``x`` along ``axis`` (elements, without one) where ``condition`` holds.

    Operands: ``x`` and a boolean vector, which may be shorter than the axis; what it does not
    reach is left out. No gradient is defined for a result of unknown size. ONNX: Compress-11.

    Attributes:
        axis: the axis to compress; ``None`` takes the elements in row-major order.
    """

    name: ClassVar[str] = "compress"
    axis: int | None = None

    def infer(self, *inputs: Type) -> Types:
        """Return ``n0`` slices or elements."""
        x, condition = self.tensors(inputs, 2)
        if condition.dtype != "bool" or condition.rank != 1:
            raise self.error(f"condition must be a vector of bool, found {condition}")
        if self.axis is None:
            return (TensorType(x.dtype, (COUNT,)),)
        check_axes(self, (self.axis,), x)
        return (TensorType(x.dtype, (*x.shape[: self.axis], COUNT, *x.shape[self.axis + 1 :])),)

    def evaluate(self, *inputs: Any) -> Arrays:
        """Take the slices."""
        x, condition = inputs
        x = x.reshape(-1) if self.axis is None else x
        axis = self.axis or 0
        (chosen,) = np.nonzero(condition)
        if chosen.size and chosen[-1] >= x.shape[axis]:
            raise ExecutionError(
                f"compress: condition chooses position {chosen[-1]}, the axis has {x.shape[axis]}"
            )
        return (np.take(x, chosen, axis),)


@dataclass(frozen=True)
class Range(HostOp):
    """``start, start + delta, ...`` until before ``limit``; scalars of one type, ``[n0]``.

    Converters use it only where the bounds are run-time data; otherwise the values are known.
    No gradient: the size depends on the operands. ONNX: Range-11.
    """

    name: ClassVar[str] = "range"

    def infer(self, *inputs: Type) -> Types:
        """Return a vector."""
        start, limit, delta = self.tensors(inputs, 3)
        if not start == limit == delta or start.rank != 0:
            raise self.error(f"needs three scalars of one type, found {start}, {limit}, {delta}")
        return (TensorType(start.dtype, (COUNT,)),)

    def evaluate(self, *inputs: Any) -> Arrays:
        """Count ``ceil((limit - start) / delta)`` steps; each is ``start + k * delta``."""
        dtype = inputs[0].dtype
        start, limit, delta = (in_64_bits(np.asarray(a))[()] for a in inputs)
        if delta == 0:
            raise ExecutionError("range: delta is 0")
        count = max(int(np.ceil((limit - start) / delta)), 0)
        return ((start + np.arange(count).astype(start.dtype) * delta).astype(dtype),)


@dataclass(frozen=True)
class NonMaxSuppression(HostOp):
    """Boxes that are kept, best score first, when boxes that overlap a kept one are dropped.

    Operands: boxes ``[N, B, 4]``, scores ``[N, C, B]``, the most boxes per class (an integer),
    the intersection over union above which a box is dropped, and the score that a box must
    exceed (scalars, or one element). Result: int64 ``[n0, 3]`` of image, class and box.
    No gradient: the result is integers. ONNX: NonMaxSuppression-11.

    Attributes:
        center_point_box: boxes are centre x, centre y, width, height instead of two corners
            y, x, y, x in any order.
    """

    name: ClassVar[str] = "non_max_suppression"
    center_point_box: bool = False

    def infer(self, *inputs: Type) -> Types:
        """Return rows of three integers."""
        boxes, scores, most, iou, score = self.tensors(inputs, 5)
        check_indices(self, most)
        if boxes.rank != 3 or boxes.shape[2] != 4 or scores.rank != 3:
            raise self.error(f"boxes must be [N, B, 4], scores [N, C, B], found {boxes}, {scores}")
        if boxes.shape[:2] != (scores.shape[0], scores.shape[2]):
            raise self.error(f"boxes {boxes} and scores {scores} differ in number")
        if any(t.size != 1 for t in (most, iou, score)):
            raise self.error("the three limits must have one element each")
        return (TensorType("int64", (COUNT, 3)),)

    def evaluate(self, *inputs: Any) -> Arrays:
        """Treat every image and class alone."""
        boxes, scores = (a.astype(np.float64) for a in inputs[:2])
        most, iou, score = (a.reshape(-1)[0] for a in inputs[2:])
        rows = [
            (n, c, box)
            for n in range(scores.shape[0])
            for c in range(scores.shape[1])
            for box in _keep(self._corners(boxes[n]), scores[n, c], int(most), iou, score)
        ]
        return (np.asarray(rows, np.int64).reshape(-1, 3),)

    def _corners(self, boxes: Array) -> Array:
        """Return lower and upper corners, ``[2, B, 2]``."""
        first, second = boxes[:, :2], boxes[:, 2:]
        if self.center_point_box:
            return np.stack([first - second / 2, first + second / 2])
        return np.stack([np.minimum(first, second), np.maximum(first, second)])


def _keep(corners: Array, scores: Array, most: int, iou: float, score: float) -> list[int]:
    """Return the boxes of one class that are kept."""
    low, high = corners
    area = np.prod(high - low, -1)
    order = np.argsort(-scores, kind="stable")
    order = order[scores[order] > score]
    kept: list[int] = []
    while len(order) and len(kept) < most:
        best, order = order[0], order[1:]
        kept.append(int(best))
        sides = np.minimum(high[best], high[order]) - np.maximum(low[best], low[order])
        common = np.prod(np.maximum(sides, 0), -1)
        union = area[best] + area[order] - common
        ratio = np.divide(common, union, out=np.zeros_like(common), where=union > 0)
        order = order[ratio <= iou]
    return kept


__all__ = ["Compress", "NonMaxSuppression", "NonZero", "Range", "Unique"]
