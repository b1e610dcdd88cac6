# SPDX-License-Identifier: MIT
"""Reading arrays between their elements: interpolation weights and what lies outside."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..op import Arrays, Composite, Types, Values
from ..types import FLOATS, Array, TensorType, Type
from .elementwise import result_type, widened
from .gather import GatherND
from .interpolation import cubic_far, cubic_near
from .shape import Reshape, Transpose, slice_along
from .terms import Numbers, Term
from .widening import narrow, widen

if TYPE_CHECKING:
    from ..emitter import Emitter
    from ..graph import Value

MODES = ("nearest", "linear", "cubic")
PADDINGS = ("zeros", "border", "reflection")


def cubic_weights(t: Numbers, a: float = -0.75) -> tuple[Numbers, ...]:
    """Return the weights of the four elements around a point, ``t`` after the second.

    >>> cubic_weights(0.0)
    (0.0, 1.0, 0.0, 0.0)
    """
    return cubic_far(t + 1, a), cubic_near(t, a), cubic_near(1 - t, a), cubic_far(2 - t, a)


def weights_of(mode: str, fraction: Numbers) -> tuple[tuple[int, Numbers], ...]:
    """Return offset and weight of each element that an interpolation reads.

    Args:
        mode: ``nearest`` (one element, weight ``None``), ``linear`` or ``cubic``.
        fraction: how far the point lies after the element with offset 0.
    """
    if mode == "nearest":
        return ((0, None),)
    if mode == "linear":
        return (0, 1 - fraction), (1, fraction)
    return tuple(zip((-1, 0, 1, 2), cubic_weights(fraction), strict=True))


@dataclass(frozen=True)
class SamplePoints(Composite):
    """``y[n, c, p] = x(n, c, points[n, p])``, ``x`` interpolated between its elements.

    Coordinates count elements, those of the first spatial axis come first.

    Shapes: x (N, C, S...), points (N, P, d) with ``d`` spatial axes, result (N, C, P).

    Attributes:
        mode: ``nearest`` (ties to even), ``linear`` or ``cubic`` (coefficient -0.75).
        padding: what lies outside: ``zeros``, the ``border`` element everywhere, or the mirror
            image (``reflection``).
        align_corners: mirror images are about the outermost elements, not their outer edges;
            a point counts as outside from there on.
    """

    name: ClassVar[str] = "sample_points"
    mode: str = "linear"
    padding: str = "zeros"
    align_corners: bool = True

    @property
    def margin(self) -> float:
        """How far the array reaches beyond its outermost elements."""
        return 0.0 if self.align_corners else 0.5

    def period(self, n: int) -> int:
        """After how many elements mirror images of an axis repeat."""
        return max(2 * n - 2, 1) if self.align_corners else 2 * n

    def mirror(self, n: int) -> int:
        """The sum of a position in a period and that of the element which it mirrors."""
        return 2 * n - 2 if self.align_corners else 2 * n - 1

    def infer(self, *inputs: Type) -> Types:
        """Return one element per point and channel."""
        x, points = self.tensors(inputs, 2)
        if self.mode not in MODES or self.padding not in PADDINGS:
            raise self.error(
                f"mode={self.mode!r} must be one of {', '.join(MODES)}, "
                f"padding={self.padding!r} one of {', '.join(PADDINGS)}"
            )
        if points.dtype not in FLOATS or (x.dtype not in FLOATS and self.mode != "nearest"):
            raise self.error(f"expected floats, found {x} and points {points}")
        if points.rank != 3 or x.rank < 3 or x.shape[0] != points.shape[0]:
            raise self.error(f"expected (N, C, spatial...) and points (N, P, d): {x}, {points}")
        if points.shape[2] != x.rank - 2 or 0 in x.dims[2:]:
            raise self.error(f"points {points} do not fit the spatial axes of {x}")
        return (TensorType(x.dtype, (*x.shape[:2], points.shape[1])),)

    # NumPy

    def evaluate(self, *inputs: Any) -> Arrays:
        """Read the corners around each point."""
        x, points = map(widened, inputs)
        x = np.moveaxis(x, 1, -1)
        axes = [self._numpy_axis(points[..., k], n) for k, n in enumerate(x.shape[1:-1])]
        batch = np.arange(x.shape[0])[:, None]
        total = np.zeros((*points.shape[:2], x.shape[-1]), x.dtype)
        for corner in itertools.product(*axes):
            at_corner = (batch, *(index for index, _, _ in corner))
            value = x[at_corner]
            for _, weight, inside in corner:
                value = value if inside is None else np.where(inside[..., None], value, 0)
                if weight is not None:
                    value = value * weight[..., None].astype(x.dtype)
            total += value
        return (np.moveaxis(total, -1, 1).astype(inputs[0].dtype),)

    def _numpy_axis(self, c: Array, n: int) -> list[tuple[Array, Array | None, Array | None]]:
        c = np.rint(c) if self.mode == "nearest" else c
        if self.padding == "reflection":
            outside = (c < -self.margin) | (c > n - 1 + self.margin)
            c = np.where(outside, self._numpy_mirrored(c, n), c).astype(c.dtype)
        c = np.clip(c, -4, n + 4)
        whole = np.floor(c)
        base = whole.astype(np.int64)
        taps = []
        for offset, weight in weights_of(self.mode, c - whole):
            index = base + offset
            inside = (index >= 0) & (index < n) if self.padding == "zeros" else None
            taps.append((self._numpy_index(index, n), weight, inside))
        return taps

    def _numpy_mirrored(self, c: Array, n: int) -> Array:
        period = n - 1 + 2 * self.margin
        if period == 0:
            return np.zeros_like(c)
        moved = np.mod(c + self.margin, 2 * period)
        mirrored: Array = np.minimum(moved, 2 * period - moved) - self.margin
        return mirrored

    def _numpy_index(self, index: Array, n: int) -> Array:
        if self.padding != "reflection":
            return np.clip(index, 0, n - 1)
        moved = np.mod(index, self.period(n))
        mirrored: Array = np.minimum(moved, self.mirror(n) - moved)
        return mirrored

    # Emitted

    def expand(self, emit: Emitter, *inputs: Value) -> Values:
        """Emit the reads of the corners and their weighted sum."""
        x, points = widen(emit, inputs[0]), widen(emit, inputs[1])
        n, c, *sizes = result_type(x).dims
        count = result_type(points).dims[1]
        last = emit(Transpose((0, *range(2, len(sizes) + 2), 1)), x)
        rows = emit(Reshape((n, math.prod(sizes), c)), last)
        axes = [
            self._axis(_coordinate(emit, points, k).reshape(n, count), size)
            for k, size in enumerate(sizes)
        ]
        total: Term | None = None
        for corner in itertools.product(*axes):
            at = _column(_flat([index for index, _, _ in corner], sizes))
            value = Term(emit, emit(GatherND(1), rows, at.value))
            for _, weight, inside in corner:
                value = value if inside is None else _column(inside).where(value, 0)
                if weight is not None:
                    value = value * _column(weight).cast(result_type(x).dtype)
            total = value if total is None else total + value
        assert total is not None
        return (narrow(emit, emit(Transpose((0, 2, 1)), total.value), inputs[0]),)

    def _axis(self, c: Term, n: int) -> list[tuple[Term, Term | None, Term | None]]:
        c = c.round() if self.mode == "nearest" else c
        if self.padding == "reflection":
            outside = (c < -self.margin) | ((n - 1 + self.margin) - c < 0)
            c = outside.where(self._mirrored(c, n), c)
        c = c.clip(-4, n + 4)
        whole = c.floor()
        base = whole.cast("int32")
        taps = []
        for offset, weight in weights_of(self.mode, c - whole):
            index = base + offset if offset else base
            inside = (index >= 0) & (index < n) if self.padding == "zeros" else None
            taps.append((self._index(index, n), weight, inside))
        return taps

    def _mirrored(self, c: Term, n: int) -> Term:
        period = n - 1 + 2 * self.margin
        if period == 0:
            return c * 0
        moved = (c + self.margin) % (2 * period)
        return moved.minimum(2 * period - moved) - self.margin

    def _index(self, index: Term, n: int) -> Term:
        if self.padding != "reflection":
            return index.clip(0, n - 1)
        moved = index % self.period(n)
        return moved.minimum(self.mirror(n) - moved)


def _coordinate(emit: Emitter, points: Value, axis: int) -> Term:
    return Term(emit, slice_along(emit, points, 2, axis, axis + 1))


def _column(term: Term) -> Term:
    return term.reshape(*term.shape, 1)


def _flat(indices: Sequence[Term], sizes: Sequence[int]) -> Term:
    """Return row-major positions in an array of ``sizes``."""
    flat = indices[0]
    for index, n in zip(indices[1:], sizes[1:], strict=True):
        flat = flat * n + index
    return flat


__all__ = ["SamplePoints"]
