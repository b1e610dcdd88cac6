# SPDX-License-Identifier: MIT
"""Sampling at points that are data, and the points of an affine map."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..op import Arrays, Types, Values
from ..types import FLOATS, Array, TensorType, Type
from .elementwise import result_type, widened
from .sampling import MODES, PADDINGS, Sampler, channels_first, channels_last
from .shape import Iota, slice_along
from .terms import Numbers, Term
from .widening import Widened

if TYPE_CHECKING:
    from ..emitter import Emitter
    from ..graph import Value


@dataclass(frozen=True)
class GridSample(Widened):
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

    @property
    def sampler(self) -> Sampler:
        """How elements are read."""
        return Sampler(self.mode, self.padding, self.align_corners)

    def infer(self, *inputs: Type) -> Types:
        """Return the element type of ``x`` in the shape of the grid."""
        x, grid = self.tensors(inputs, 2)
        if self.mode not in MODES or self.padding not in PADDINGS:
            raise self.error(
                f"mode={self.mode!r} must be one of {', '.join(MODES)}, "
                f"padding={self.padding!r} one of {', '.join(PADDINGS)}"
            )
        if grid.dtype not in FLOATS or (x.dtype not in FLOATS and self.mode != "nearest"):
            raise self.error(f"expected floats, found {x} and grid {grid}")
        shapes_fit = x.rank == grid.rank >= 3 and x.shape[0] == grid.shape[0]
        if not shapes_fit or grid.shape[-1] != x.rank - 2:
            raise self.error(f"grid {grid} does not hold points in {x}")
        if 0 in x.dims[2:]:
            raise self.error(f"{x} has no elements to interpolate")
        return (TensorType(x.dtype, (*x.dims[:2], *grid.dims[1:-1])),)

    def _position(self, g: Numbers, n: int) -> Numbers:
        if self.align_corners:
            return (g + 1) / 2 * (n - 1)
        return ((g + 1) * n - 1) / 2

    def evaluate(self, *inputs: Any) -> Arrays:
        """Read the corners around each point."""
        x, grid = map(widened, inputs)
        points = grid.reshape(len(grid), math.prod(grid.shape[1:-1]), grid.shape[-1])
        at = [
            self._position(points[..., -1 - axis], n).astype(grid.dtype)
            for axis, n in enumerate(x.shape[2:])
        ]
        y = self.sampler.evaluate(np.moveaxis(x, 1, -1), at)
        shape = (*x.shape[:2], *grid.shape[1:-1])
        return (np.moveaxis(y, -1, 1).reshape(shape).astype(inputs[0].dtype),)

    def formula(self, emit: Emitter, *inputs: Value) -> Values:
        """Emit the reads."""
        x, grid = inputs
        n, *spatial, rank = result_type(grid).dims
        points = Term(emit, grid).reshape(n, math.prod(spatial), rank)
        at = []
        for axis, size in enumerate(result_type(x).dims[2:]):
            k = rank - 1 - axis
            coordinate = Term(emit, slice_along(emit, points.value, 2, k, k + 1))
            at.append(self._position(coordinate.reshape(n, math.prod(spatial)), size))
        y = self.sampler.expand(emit, channels_last(emit, x), at)
        return (channels_first(emit, y, tuple(spatial)),)


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
