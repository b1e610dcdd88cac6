# SPDX-License-Identifier: MIT
"""Sampling at points that are data, and the points of an affine map."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..op import Arrays, Composite, Types, Values
from ..types import FLOATS, Array, TensorType, Type
from .elementwise import result_type, widened
from .sampling import SamplePoints
from .shape import Iota, Reshape, Reverse, slice_along
from .terms import Numbers, Term
from .widening import Widened, widen

if TYPE_CHECKING:
    from ..emitter import Emitter
    from ..graph import Value


@dataclass(frozen=True)
class GridSample(Composite):
    """``y[n, c, o] = x(n, c, grid[n, o])``, ``x`` interpolated at points that are data.

    A point has one coordinate per spatial axis, that of the last axis first; -1 and 1 are the
    centres of the outermost elements with ``align_corners``, else their outer edges.

    Shapes: x (N, C, S...), grid (N, O..., d) with ``d`` spatial axes, result (N, C, O...).
    ONNX: GridSample-22.

    Attributes:
        mode: ``nearest`` (ties to even), ``linear`` or ``cubic`` (coefficient -0.75).
        padding: what lies outside: ``zeros``, ``border`` or ``reflection``.
        align_corners: see above; also the axis of reflection.

    References: M. Jaderberg et al., Spatial transformer networks, NeurIPS 2015.
    """

    name: ClassVar[str] = "grid_sample"
    mode: str = "linear"
    padding: str = "zeros"
    align_corners: bool = False

    def infer(self, *inputs: Type) -> Types:
        """Return the element type of ``x`` in the shape of the grid."""
        x, grid = self.tensors(inputs, 2)
        if x.rank < 3 or grid.rank != x.rank:
            raise self.error(f"grid {grid} does not hold points in {x}")
        count = math.prod(grid.dims[1:-1])
        points = TensorType(grid.dtype, (grid.shape[0], count, grid.shape[-1]))
        self._sampling.infer(x, points)
        return (TensorType(x.dtype, (*x.dims[:2], *grid.dims[1:-1])),)

    @property
    def _sampling(self) -> SamplePoints:
        return SamplePoints(self.mode, self.padding, self.align_corners)

    def evaluate(self, *inputs: Any) -> Arrays:
        """Turn the grid into points and sample."""
        x, grid = inputs
        reverse: Array = widened(grid)[..., ::-1].reshape(len(grid), -1, grid.shape[-1])
        sizes = np.array(x.shape[2:], reverse.dtype)
        if self.align_corners:
            points = (reverse + 1) / 2 * (sizes - 1)
        else:
            points = ((reverse + 1) * sizes - 1) / 2
        (y,) = self._sampling.evaluate(x, points)
        return (y.reshape(*x.shape[:2], *grid.shape[1:-1]),)

    def expand(self, emit: Emitter, *inputs: Value) -> Values:
        """Emit the points and sample."""
        x, grid = inputs
        n, *spatial, rank = result_type(grid).dims
        first = emit(Reverse((len(spatial) + 1,)), widen(emit, grid))
        points = Term(emit, first).reshape(n, math.prod(spatial), rank)
        sizes = Term(emit, emit.constant(result_type(x).dims[2:], result_type(first).dtype))
        if self.align_corners:
            points = (points + 1) / 2 * (sizes - 1)
        else:
            points = ((points + 1) * sizes - 1) / 2
        y = emit(self._sampling, x, points.value)
        return (emit(Reshape((*result_type(x).dims[:2], *spatial)), y),)


@dataclass(frozen=True)
class AffineGrid(Widened):
    """The points of GridSample that sample through the affine map ``theta``.

    ``grid[n, o, :] = theta[n] @ (p(o), 1)`` with the point ``p(o)`` of output element ``o``,
    coordinates of the last axis first, between -1 and 1 as for GridSample.

    Shapes: theta (N, d, d + 1), result (N, size..., d). ONNX: AffineGrid-20.

    Attributes:
        size: spatial sizes of the output.
        align_corners: whether -1 and 1 are the centres of the outermost elements.
    """

    name: ClassVar[str] = "affine_grid"
    size: tuple[int, ...]
    align_corners: bool = False

    def infer(self, *inputs: Type) -> Types:
        """Return the grid's type."""
        (theta,) = self.tensors(inputs, 1)
        rank = len(self.size)
        if theta.rank != 3 or theta.shape[1:] != (rank, rank + 1) or theta.dtype not in FLOATS:
            raise self.error(f"expected theta (N, {rank}, {rank + 1}) of floats, found {theta}")
        return (TensorType(theta.dtype, (theta.shape[0], *self.size, rank)),)

    def _point(self, index: Numbers, n: int) -> Numbers:
        if not self.align_corners:
            return index * (2 / n) + (1 / n - 1)
        return index * (2 / (n - 1)) - 1 if n > 1 else index * 0

    def evaluate(self, *inputs: Any) -> Arrays:
        """Multiply the homogeneous points."""
        theta: Array = widened(inputs[0])
        grids = np.indices(self.size).astype(theta.dtype)
        points = [self._point(i, n) for i, n in zip(grids, self.size, strict=True)]
        homogeneous = np.stack([*points[::-1], np.ones(self.size)], -1).astype(theta.dtype)
        grid = np.einsum("...k,njk->n...j", homogeneous, theta)
        return (grid.astype(inputs[0].dtype),)

    def formula(self, emit: Emitter, *inputs: Value) -> Values:
        """Emit the sum of the columns of ``theta`` times the coordinates."""
        type, rank = result_type(inputs[0]), len(self.size)
        theta = Term(emit, inputs[0])
        ones = (1,) * rank

        def column(k: int) -> Term:
            part = slice_along(emit, theta.value, 2, k, k + 1)
            return Term(emit, part).reshape(type.dims[0], *ones, rank)

        total = column(rank)
        for k in range(rank):
            axis = rank - 1 - k
            shape = tuple(n if j == axis else 1 for j, n in enumerate(self.size))
            index = Term(emit, emit(Iota(type.dtype, shape, axis)))
            total = total + column(k) * self._point(index, self.size[axis]).reshape(1, *shape, 1)
        return (total.value,)


__all__ = ["AffineGrid", "GridSample"]
