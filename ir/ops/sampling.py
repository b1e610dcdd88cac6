# SPDX-License-Identifier: MIT
"""Reading arrays between their elements: interpolation weights and what lies outside."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..types import Array
from .elementwise import result_type
from .gather import GatherND
from .interpolation import cubic_far, cubic_near
from .shape import Reshape, Transpose
from .terms import Numbers, Term

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
class Sampler:
    """How points between elements are read.

    Attributes:
        mode: ``nearest`` (ties to even), ``linear`` or ``cubic``.
        padding: what lies outside: ``zeros``, the ``border`` element, or the mirror image
            (``reflection``).
        align_corners: mirror images are about the outermost elements, not their outer edges;
            a border or mirror point counts as outside from there on.
    """

    mode: str = "linear"
    padding: str = "zeros"
    align_corners: bool = True

    @property
    def margin(self) -> float:
        """How far the array reaches beyond its outermost elements."""
        return 0.0 if self.align_corners else 0.5

    # NumPy

    def evaluate(self, x: Array, at: Sequence[Array]) -> Array:
        """Return ``x`` (N, S..., C) at points given per spatial axis, each (N, P)."""
        axes = [self._numpy_axis(c, n) for c, n in zip(at, x.shape[1:-1], strict=True)]
        batch = np.arange(x.shape[0])[:, None]
        total = np.zeros((*at[0].shape, x.shape[-1]), x.dtype)
        for corner in itertools.product(*axes):
            at_corner = (batch, *(index for index, _, _ in corner))
            value = x[at_corner]
            for _, weight, inside in corner:
                value = value if inside is None else np.where(inside[..., None], value, 0)
                if weight is not None:
                    value = value * weight[..., None].astype(x.dtype)
            total += value
        return total

    def _numpy_axis(self, c: Array, n: int) -> list[tuple[Array, Array | None, Array | None]]:
        c = np.rint(c) if self.mode == "nearest" else c
        if self.padding != "zeros":
            outside = (c < -self.margin) | (c > n - 1 + self.margin)
            c = np.where(outside, self._numpy_inner(c, n), c).astype(c.dtype)
        c = np.clip(c, -4, n + 4)
        whole = np.floor(c)
        base = whole.astype(np.int64)
        taps = []
        for offset, weight in weights_of(self.mode, c - whole):
            index = base + offset
            inside = (index >= 0) & (index < n) if self.padding == "zeros" else None
            taps.append((self._numpy_index(index, n), weight, inside))
        return taps

    def _numpy_inner(self, c: Array, n: int) -> Array:
        if self.padding == "border":
            return np.clip(c, 0, n - 1)
        period = n - 1 + 2 * self.margin
        if period == 0:
            return np.zeros_like(c)
        moved = np.mod(c + self.margin, 2 * period)
        mirrored: Array = np.minimum(moved, 2 * period - moved) - self.margin
        return mirrored

    def _numpy_index(self, index: Array, n: int) -> Array:
        if self.padding != "reflection":
            return np.clip(index, 0, n - 1)
        period = 2 * n - 2 if self.align_corners else 2 * n
        moved = np.mod(index, max(period, 1))
        mirrored: Array = np.minimum(moved, (period if self.align_corners else period - 1) - moved)
        return mirrored

    # Emitted

    def expand(self, emit: Emitter, x: Value, at: Sequence[Term]) -> Value:
        """Emit ``x`` (N, S..., C) at points given per spatial axis, each (N, P)."""
        sizes = result_type(x).dims[1:-1]
        axes = [self._axis(c, n) for c, n in zip(at, sizes, strict=True)]
        total: Term | None = None
        for corner in itertools.product(*axes):
            value = _read(emit, x, _flat([index for index, _, _ in corner], sizes))
            for _, weight, inside in corner:
                value = value if inside is None else _column(inside).where(value, 0)
                if weight is not None:
                    value = value * _column(weight).cast(result_type(x).dtype)
            total = value if total is None else total + value
        assert total is not None
        return total.value

    def _axis(self, c: Term, n: int) -> list[tuple[Term, Term | None, Term | None]]:
        c = c.round() if self.mode == "nearest" else c
        if self.padding != "zeros":
            outside = (c < -self.margin) | ((n - 1 + self.margin) - c < 0)
            c = outside.where(self._inner(c, n), c)
        c = c.clip(-4, n + 4)
        whole = c.floor()
        base = whole.cast("int32")
        taps = []
        for offset, weight in weights_of(self.mode, c - whole):
            index = base + offset if offset else base
            inside = (index >= 0) & (index < n) if self.padding == "zeros" else None
            taps.append((self._index(index, n), weight, inside))
        return taps

    def _inner(self, c: Term, n: int) -> Term:
        if self.padding == "border":
            return c.clip(0, n - 1)
        period = n - 1 + 2 * self.margin
        if period == 0:
            return c * 0
        moved = (c + self.margin) % (2 * period)
        return moved.minimum(2 * period - moved) - self.margin

    def _index(self, index: Term, n: int) -> Term:
        if self.padding != "reflection":
            return index.clip(0, n - 1)
        period = 2 * n - 2 if self.align_corners else 2 * n
        moved = index % max(period, 1)
        return moved.minimum((period if self.align_corners else period - 1) - moved)


def _column(term: Term) -> Term:
    return term.reshape(*term.shape, 1)


def _flat(indices: Sequence[Term], sizes: Sequence[int]) -> Term:
    """Return row-major positions in an array of ``sizes``."""
    flat = indices[0]
    for index, n in zip(indices[1:], sizes[1:], strict=True):
        flat = flat * n + index
    return flat


def _read(emit: Emitter, x: Value, at: Term) -> Term:
    n, *_, c = result_type(x).dims
    rows = emit(Reshape((n, result_type(x).size // max(n * c, 1), c)), x)
    return Term(emit, emit(GatherND(1), rows, _column(at).value))


def channels_last(emit: Emitter, x: Value) -> Value:
    """Emit (N, C, S...) as (N, S..., C)."""
    rank = result_type(x).rank
    return emit(Transpose((0, *range(2, rank), 1)), x)


def channels_first(emit: Emitter, x: Value, spatial: tuple[int, ...]) -> Value:
    """Emit (N, P, C) as (N, C, spatial...), where P is the product of ``spatial``."""
    n, _, c = result_type(x).dims
    return emit(Reshape((n, c, *spatial)), emit(Transpose((0, 2, 1)), x))
