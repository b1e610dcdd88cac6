# SPDX-License-Identifier: MIT
"""Tables of positions and weights that resize one axis, computed once from static sizes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..op import Op
from ..types import Array
from .terms import Numbers

MODES = ("nearest", "linear", "cubic")
COORDINATES = (
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
    "tf_crop_and_resize",
    "tf_half_pixel_for_nn",
)
ROUNDINGS = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")


def cubic_near(t: Numbers, a: float) -> Numbers:
    """Return the cubic kernel at a distance of up to 1.

    References:
        R. Keys, Cubic convolution interpolation for digital image processing, IEEE
        Transactions on Acoustics, Speech and Signal Processing, 1981.
    """
    return ((a + 2) * t - (a + 3)) * t * t + 1


def cubic_far(t: Numbers, a: float) -> Numbers:
    """Return the cubic kernel at a distance from 1 to 2."""
    return ((a * t - 5 * a) * t + 8 * a) * t - 4 * a


@dataclass(frozen=True, eq=False)
class Table:
    """Row ``o`` says which elements make up element ``o`` of the result, and by which weights.

    Attributes:
        indices: positions (O, T), all valid.
        weights: weights (O, T) in float64.
        length: size of the axis that the positions belong to.
    """

    indices: Array
    weights: Array
    length: int

    @property
    def is_identity(self) -> bool:
        """Whether every element of the result is the element of the operand at its place."""
        rows = len(self.indices)
        if rows != self.length:
            return False
        own = self.indices == np.arange(rows)[:, None]
        return bool(
            np.all(np.where(own, 0, self.weights) == 0) and np.all(self.weights.sum(1) == 1)
        )


@dataclass(frozen=True)
class AxisMap:
    """How one axis is resized; see :class:`~ranvier.ir.ops.resampling.Resize` for the fields.

    >>> table = AxisMap(2, 4, 2.0, "linear").table()
    >>> table.indices.tolist()
    [[0, 0], [0, 1], [0, 1], [1, 1]]
    >>> table.weights.tolist()
    [[0.25, 0.75], [0.75, 0.25], [0.25, 0.75], [0.75, 0.25]]
    """

    length: int
    size: int
    scale: float
    mode: str = "nearest"
    coordinates: str = "half_pixel"
    rounding: str = "round_prefer_floor"
    cubic_a: float = -0.75
    exclude_outside: bool = False
    antialias: bool = False
    region: tuple[float, float] = (0.0, 1.0)

    def check(self, op: Op) -> None:
        """Raise unless the settings are known words."""
        for name, value, known in (
            ("mode", self.mode, MODES),
            ("coordinates", self.coordinates, COORDINATES),
            ("rounding", self.rounding, ROUNDINGS),
        ):
            if value not in known:
                raise op.error(f"{name} is {value!r}, expected one of {', '.join(known)}")

    def points(self) -> Array:
        """Return where in the operand each element of the result is read."""
        o, n, scale = np.arange(self.size, dtype=np.float64), self.length, self.scale
        whole = scale * n  # the size of the result before it was rounded
        if math.isclose(whole, self.size):  # a scale made from sizes may be off by rounding
            whole = self.size
        if self.coordinates == "asymmetric":
            return o / scale
        if self.coordinates == "align_corners":
            return np.zeros_like(o) if whole == 1 else o * (n - 1) / (whole - 1)
        if self.coordinates == "tf_crop_and_resize":
            begin, end = self.region
            if whole == 1:
                return np.full_like(o, begin * (n - 1) + (end - begin) * (n - 1) / 2)
            return begin * (n - 1) + o * (end - begin) * (n - 1) / (whole - 1)
        if self.coordinates == "pytorch_half_pixel" and self.size == 1:
            return np.zeros_like(o)
        if self.coordinates == "tf_half_pixel_for_nn":
            return (o + 0.5) / scale
        points = (o + 0.5) / scale - 0.5
        if self.coordinates == "half_pixel_symmetric":
            points += n / 2 * (1 - self.size / whole)
        return points

    def outside(self) -> Array:
        """Return which elements of the result are extrapolated."""
        points = self.points()
        if self.coordinates != "tf_crop_and_resize":
            return np.zeros(points.shape, np.bool_)
        return (points < 0) | (points > self.length - 1)

    def table(self) -> Table:
        """Return positions and weights."""
        points = self.points()
        if self.mode == "nearest":
            nearest = np.clip(self._nearest(points), 0, max(self.length - 1, 0))
            return Table(nearest.astype(np.int64)[:, None], np.ones((self.size, 1)), self.length)
        reach = {"linear": 1, "cubic": 2}[self.mode]
        stretch = min(self.scale, 1.0) if self.antialias else 1.0
        first = np.floor(points - reach / stretch) + 1
        count = math.ceil(2 * reach / stretch)
        at = first[:, None] + np.arange(count)
        weights = self._kernel(np.abs(at - points[:, None]) * stretch)
        if self.exclude_outside:
            weights = np.where((at < 0) | (at >= self.length), 0, weights)
        if self.exclude_outside or self.antialias:
            total = weights.sum(1, keepdims=True)
            weights = weights / np.where(total == 0, 1, total)
        indices = np.clip(at, 0, max(self.length - 1, 0)).astype(np.int64)
        return Table(indices, weights, self.length)

    def _nearest(self, points: Array) -> Array:
        if self.rounding == "floor":
            return np.floor(points)
        if self.rounding == "ceil":
            return np.ceil(points)
        if self.rounding == "round_prefer_ceil":
            return np.floor(points + 0.5)
        return np.ceil(points - 0.5)

    def _kernel(self, distance: Array) -> Array:
        """Return the weight of an element at this distance."""
        near, far = cubic_near(distance, self.cubic_a), cubic_far(distance, self.cubic_a)
        cubic = np.where(distance <= 1, near, np.where(distance < 2, far, 0))
        return np.maximum(1 - distance, 0) if self.mode == "linear" else cubic


def transposed_table(table: Table, length: int) -> Table:
    """Return the table of the transposed map, from results back to an axis of ``length``.

    >>> forward = AxisMap(4, 2, 0.5, "linear", antialias=True).table()
    >>> transposed_table(forward, 4).indices.shape[0]
    4
    """
    rows, taps = table.indices.shape
    source = table.indices.ravel()
    order = np.argsort(source, kind="stable")
    counts = np.bincount(source, minlength=length)
    width = max(int(counts.max(initial=0)), 1)
    starts = np.concatenate([[0], np.cumsum(counts)])[:-1]
    slot = np.arange(rows * taps) - np.repeat(starts, counts)
    indices = np.zeros((length, width), np.int64)
    weights = np.zeros((length, width))
    indices[source[order], slot] = order // max(taps, 1)
    weights[source[order], slot] = table.weights.ravel()[order]
    return Table(indices, weights, rows)
