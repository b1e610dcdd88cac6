# SPDX-License-Identifier: MIT
"""Convolution that reads at shifted positions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..op import Arrays, Types, Values
from ..types import FLOATS, Array, TensorType, Type
from .convolution import check_groups
from .elementwise import result_type, widened
from .linear import MatMul
from .sampling import SamplePoints
from .shape import Concat, Iota, Reshape, slice_along
from .sliding import Ints, Sliding, check_sliding
from .terms import Term
from .widening import Widened

if TYPE_CHECKING:
    from ..emitter import Emitter
    from ..graph import Value


@dataclass(frozen=True)
class DeformConv(Widened):
    """Convolution that reads each element of a window at a shifted, fractional position.

    ``z[n, o, p] = sum_{c, k} mask[n, g k, p] * w[o, c, k] * x(n, c, p * strides + k * dilation
    - low + offset[n, g k, :, p])``, where ``x(...)`` interpolates linearly between neighbours
    and is 0 outside, and ``g`` is the offset group of channel ``c``.

    Shapes: x (N, C, S...), w (O, C / groups, K...), offset (N, offset_groups * prod(K) * d,
    P...) with the ``d`` coordinates innermost, optional mask (N, offset_groups * prod(K),
    P...), result (N, O, P...). ONNX: DeformConv-22; the bias is an Add.

    Attributes:
        strides: step between windows, per spatial axis.
        low: how far the first window starts before the first element.
        high: how far the last window may end after the last element.
        dilation: distance between the elements of a window.
        groups: channels are split into this many independent convolutions.
        offset_groups: channels are split into this many groups with offsets of their own.

    References: J. Dai et al., Deformable convolutional networks, ICCV 2017; X. Zhu et al.,
    Deformable ConvNets v2: more deformable, better results, CVPR 2019 (the mask).
    """

    name: ClassVar[str] = "deform_conv"
    strides: tuple[int, ...]
    low: tuple[int, ...]
    high: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int = 1
    offset_groups: int = 1

    def sliding(self, window: Ints) -> Sliding:
        """How windows of this size move over the data."""
        ones = (1,) * len(window)
        return Sliding(window, self.strides, self.low, self.high, self.dilation, ones)

    def infer(self, *inputs: Type) -> Types:
        """Return the type of the result."""
        x, w, offset, *mask = self.tensors(inputs)
        listed = ", ".join(map(str, inputs))
        if x.rank < 3 or w.rank != x.rank or len(mask) > 1:
            raise self.error(f"expected data, weights, offsets, perhaps a mask; found {listed}")
        if len({t.dtype for t in (x, w, offset, *mask)}) > 1 or x.dtype not in FLOATS:
            raise self.error(f"operands must be of one float type, found {listed}")
        check_groups(self, x.dims[1], w.dims[0], w.dims[1], self.groups)
        if self.offset_groups < 1 or x.dims[1] % self.offset_groups:
            raise self.error(f"{x.dims[1]} channels for offset_groups={self.offset_groups}")
        sliding = self.sliding(w.dims[2:])
        check_sliding(self, sliding, x.rank - 2)
        positions = sliding.positions(x.dims[2:])
        count = self.offset_groups * math.prod(w.dims[2:])
        wanted = [(x.dims[0], count * (x.rank - 2), *positions), (x.dims[0], count, *positions)]
        for operand, shape in zip((offset, *mask), wanted, strict=False):
            if operand.shape != shape:
                raise self.error(f"expected shape {list(shape)} of offsets or mask, got {operand}")
        return (TensorType(x.dtype, (x.dims[0], w.dims[0], *positions)),)

    def evaluate(self, *inputs: Any) -> Arrays:
        """Gather the columns of all windows, interpolated, and multiply by the weights."""
        x, w, offset, *mask = map(widened, inputs)
        window, spatial = w.shape[2:], offset.shape[2:]
        n, rank, taps, size = x.shape[0], len(window), math.prod(window), math.prod(spatial)
        rows = n * self.offset_groups
        data = x.reshape(rows, x.shape[1] // self.offset_groups, *x.shape[2:])
        shift = np.moveaxis(offset.reshape(rows, taps, rank, size), 2, -1)
        base = np.stack([self._base(axis, window, spatial) for axis in range(rank)], -1)
        points = (shift + base).astype(x.dtype).reshape(rows, taps * size, rank)
        (columns,) = SamplePoints().evaluate(data, points)
        columns = columns.reshape(rows, -1, taps, size)
        if mask:
            columns = columns * mask[0].reshape(rows, 1, taps, size)
        columns = columns.reshape(n, self.groups, -1, size)
        weights = w.reshape(self.groups, w.shape[0] // self.groups, w.shape[1] * taps)
        result = np.matmul(weights, columns).reshape(n, w.shape[0], *spatial)
        return (result.astype(inputs[0].dtype),)

    def _base(self, axis: int, window: Ints, spatial: Ints) -> Array:
        """Return the positions along an axis that are read without offsets, (taps, size)."""
        at = np.indices((*window, *spatial), sparse=True)
        base = at[axis] * self.dilation[axis] + at[len(window) + axis] * self.strides[axis]
        whole = np.broadcast_to(base - self.low[axis], (*window, *spatial))
        return whole.reshape(math.prod(window), math.prod(spatial))

    def formula(self, emit: Emitter, *inputs: Value) -> Values:
        """Emit the reads, then one matrix product per group."""
        x, w, offset, *mask = inputs
        window, spatial = result_type(w).dims[2:], result_type(offset).dims[2:]
        taps, size = math.prod(window), math.prod(spatial)
        n, channels, *sizes = result_type(x).dims
        rows, each = n * self.offset_groups, channels // self.offset_groups
        data = emit(Reshape((rows, each, *sizes)), x)
        points = self._points(emit, offset, rows, window, spatial)
        columns = Term(emit, emit(SamplePoints(), data, points))
        if mask:
            factors = Term(emit, mask[0]).reshape(rows, 1, taps, size)
            columns = columns.reshape(rows, each, taps, size) * factors
        outputs, per_group = result_type(w).dims[:2]
        inner = per_group * taps
        weights = emit(Reshape((self.groups, outputs // self.groups, inner)), w)
        moved = columns.reshape(n, self.groups, inner, size)
        product = emit(MatMul(), weights, moved.value)
        return (emit(Reshape((n, outputs, *spatial)), product),)

    def _points(
        self, emit: Emitter, offset: Value, rows: int, window: Ints, spatial: Ints
    ) -> Value:
        """Emit the positions that are read, (rows, taps * size, rank)."""
        rank, dtype = len(window), result_type(offset).dtype
        taps, size = math.prod(window), math.prod(spatial)
        shift = emit(Reshape((rows, taps, rank, size)), offset)
        coordinates = []
        for axis in range(rank):
            k = Term(emit, emit(Iota(dtype, (1, *window, *spatial), 1 + axis)))
            p = Term(emit, emit(Iota(dtype, (1, *window, *spatial), 1 + rank + axis)))
            base = k * self.dilation[axis] + p * self.strides[axis] - self.low[axis]
            moved = Term(emit, slice_along(emit, shift, 2, axis, axis + 1))
            point = moved.reshape(rows, taps, size) + base.reshape(1, taps, size)
            coordinates.append(point.reshape(rows, taps * size, 1).value)
        return emit(Concat(2), *coordinates)


__all__ = ["DeformConv"]
