# SPDX-License-Identifier: MIT
"""Resizing to a static size, axis by axis, by tables of positions and weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..op import Arrays, Composite, Cotangents, Kind, Op, Types, Values
from ..types import FLOATS, INTEGERS, Array, TensorType, Type, dtype_name
from .arithmetic import Maximum, Minimum, Mul, Round
from .elementwise import result_type
from .gather import Gather, ScatterND
from .interpolation import AxisMap, Table, transposed_table
from .reduction import ReduceSum, in_64_bits, limits
from .shape import Reshape, Transpose, expand_axes, filled
from .widening import narrow, widen

if TYPE_CHECKING:
    from ..emitter import Emitter
    from ..graph import Value


@dataclass(frozen=True)
class Resample(Op):
    """Weighted sums of slices: ``y[a, o, b] = sum_t weights[o, t] * x[a, indices[o, t], b]``.

    Shapes: x (A..., S, B...), indices (O, T) integers from 0, weights (O, T), result
    (A..., O, B...). Floats narrower than float32 are added up in float32 and rounded once.
    Gradient: for ``x`` the slices of ``dy`` times their weights, added at the indices; for
    ``weights`` the products of ``dy`` with the slices they weigh.
    """

    name: ClassVar[str] = "resample"
    kind: ClassVar[Kind] = Kind.REDUCTION
    axis: int

    def infer(self, *inputs: Type) -> Types:
        """Return the type of ``x`` with as many slices as the tables have rows."""
        x, indices, weights = self.tensors(inputs, 3)
        if not 0 <= self.axis < x.rank or x.dims[self.axis] == 0:
            raise self.error(f"axis {self.axis} of {x} has no elements")
        if indices.rank != 2 or indices.dtype not in INTEGERS:
            raise self.error(f"expected a table of integers, found {indices}")
        if weights != TensorType(x.dtype, indices.shape):
            raise self.error(
                f"expected weights {TensorType(x.dtype, indices.shape)}, got {weights}"
            )
        shape = (*x.dims[: self.axis], indices.dims[0], *x.dims[self.axis + 1 :])
        return (TensorType(x.dtype, shape),)

    def evaluate(self, *inputs: Any) -> Arrays:
        """Add the slices up in 64 bits and round once."""
        x, indices, weights = inputs
        data, factors = in_64_bits(x), in_64_bits(weights)
        column = (-1, *(1,) * (x.ndim - self.axis - 1))
        total = np.zeros((*x.shape[: self.axis], len(indices), *x.shape[self.axis + 1 :]))
        total = total.astype(data.dtype)
        for t in range(indices.shape[1]):
            total += np.take(data, indices[:, t], self.axis) * factors[:, t].reshape(column)
        return (total.astype(x.dtype),)

    def vjp(
        self, emit: Emitter, inputs: Values, outputs: Values, cotangents: Cotangents
    ) -> Cotangents:
        """Scatter for ``x``, gather for the weights."""
        (dy,) = cotangents
        if dy is None:
            return None, None, None
        return self._dx(emit, inputs, dy), None, self._dw(emit, inputs, dy)

    def _dx(self, emit: Emitter, inputs: Values, dy: Value) -> Value:
        x, indices, _ = map(result_type, inputs)
        rest = [k for k in range(x.rank) if k != self.axis]
        rows = (*indices.dims, *(x.dims[k] for k in rest))
        front = emit(Transpose((self.axis, *rest)), dy)
        slices = emit(Reshape((rows[0], 1, *rows[2:])), front)
        weights = emit(Reshape((*indices.dims, *(1,) * len(rest))), inputs[2])
        zeros = filled(emit, 0, x.dtype, (x.dims[self.axis], *rows[2:]))
        at = emit(Reshape((*indices.dims, 1)), inputs[1])
        total = emit(ScatterND("add"), zeros, at, emit(Mul(), slices, weights))
        return emit(Transpose(tuple(np.argsort([self.axis, *rest]).tolist())), total)

    def _dw(self, emit: Emitter, inputs: Values, dy: Value) -> Value:
        x = result_type(inputs[0])
        slices = emit(Gather(self.axis), inputs[0], inputs[1])
        product = emit(Mul(), slices, expand_axes(emit, dy, (self.axis + 1,)))
        tables = (self.axis, self.axis + 1)
        return emit(ReduceSum(tuple(k for k in range(x.rank + 1) if k not in tables)), product)

    def flops(self, *inputs: Type) -> int:
        """Two operations per weight and element."""
        _, indices, _ = self.tensors(inputs, 3)
        (y,) = self.infer(*inputs)
        assert isinstance(y, TensorType)
        return 2 * y.size * indices.dims[1]


@dataclass(frozen=True)
class Resize(Composite):
    """``x`` interpolated at evenly spaced points, to another size along some axes.

    Every axis is resized on its own. Output element ``o`` of an axis reads around the point
    given by ``coordinates``, with the axis' input size ``n``, output size ``m`` and ``scale``:

    - ``half_pixel``: ``(o + 0.5) / scale - 0.5``;
    - ``half_pixel_symmetric``: the same, the output centred on the input;
    - ``pytorch_half_pixel``: the same, or 0 if the output has length 1;
    - ``align_corners``: ``o * (n - 1) / (n * scale - 1)``;
    - ``asymmetric``: ``o / scale``;
    - ``tf_half_pixel_for_nn``: ``(o + 0.5) / scale``;
    - ``tf_crop_and_resize``: from ``begin * (n - 1)`` to ``end * (n - 1)`` of the region.

    Tables of positions and weights are computed in float64; sums are carried out in float32
    or wider, and rounded once. Integers are rounded to nearest (ties to even)
    and saturate.
    Gradient: the transposed tables applied to ``dy``. ONNX: Resize-19, Upsample-9.

    Attributes:
        axes: the axes to resize.
        sizes: their sizes in the result.
        scales: their ratio of result to operand, which need not be exactly that of the sizes.
        mode: ``nearest``, ``linear`` or ``cubic``.
        coordinates: how result positions map to the operand, see above.
        rounding: of nearest: ``round_prefer_floor``, ``round_prefer_ceil``, ``floor``, ``ceil``.
        cubic_a: the coefficient of cubic interpolation.
        exclude_outside: elements outside get weight 0 and the others are scaled up to 1,
            instead of repeating the outermost element.
        antialias: stretch the kernel by ``1 / scale`` where the axis shrinks.
        region: begin of each axis, then end of each axis, as fractions of it.
        extrapolation: with ``tf_crop_and_resize``, the result at points outside.
    """

    name: ClassVar[str] = "resize"
    axes: tuple[int, ...]
    sizes: tuple[int, ...]
    scales: tuple[float, ...]
    mode: str = "nearest"
    coordinates: str = "half_pixel"
    rounding: str = "round_prefer_floor"
    cubic_a: float = -0.75
    exclude_outside: bool = False
    antialias: bool = False
    region: tuple[float, ...] = ()
    extrapolation: float = 0.0

    def maps(self, shape: tuple[int, ...]) -> list[AxisMap]:
        """Return how each of the axes is resampled, in the order of ``axes``."""
        count = len(self.axes)
        region = self.region or (0.0,) * count + (1.0,) * count
        return [
            AxisMap(
                shape[axis],
                self.sizes[k],
                self.scales[k],
                self.mode,
                self.coordinates,
                self.rounding,
                self.cubic_a,
                self.exclude_outside,
                self.antialias,
                (region[k], region[count + k]),
            )
            for k, axis in enumerate(self.axes)
        ]

    def infer(self, *inputs: Type) -> Types:
        """Return the type with the new sizes."""
        (x,) = self.tensors(inputs, 1)
        if not len(self.axes) == len(self.sizes) == len(self.scales):
            raise self.error("axes, sizes and scales must have equal lengths")
        if len(set(self.axes)) < len(self.axes) or not all(0 <= a < x.rank for a in self.axes):
            raise self.error(f"axes {list(self.axes)} are not distinct axes of {x}")
        if len(self.region) not in (0, 2 * len(self.axes)):
            raise self.error(f"region={self.region} must have a begin and an end per axis")
        if min(self.sizes, default=1) < 0 or min(self.scales, default=1) <= 0:
            raise self.error(f"sizes={self.sizes} and scales={self.scales} must be positive")
        shape = list(x.dims)
        for axis, size, axis_map in zip(self.axes, self.sizes, self.maps(x.dims), strict=True):
            axis_map.check(self)
            if size and not shape[axis]:
                raise self.error(f"axis {axis} of {x} has no element to interpolate")
            shape[axis] = size
        return (TensorType(x.dtype, tuple(shape)),)

    def tables(self, shape: tuple[int, ...]) -> list[tuple[int, Table]]:
        """Return the axes that change and their tables, those that shrink most first."""
        maps = zip(self.axes, self.maps(shape), strict=True)
        found = [(axis, m.table(), m.size / max(m.length, 1)) for axis, m in maps]
        changed = [(axis, table, ratio) for axis, table, ratio in found if not table.is_identity]
        return [(axis, table) for axis, table, _ in sorted(changed, key=lambda item: item[2])]

    def expand(self, emit: Emitter, *inputs: Value) -> Values:
        """Gather the nearest elements, or resample axis by axis."""
        (x,) = inputs
        (type,) = self.infer(x.type)
        assert isinstance(type, TensorType)
        y = x if self.mode == "nearest" else _floats(emit, x)
        for axis, table in self.tables(result_type(x).dims):
            if self.mode == "nearest":
                y = emit(Gather(axis), y, emit.constant(table.indices[:, 0]))
            else:
                y = _resampled(emit, y, axis, table)
        y = self._extrapolated(emit, y, result_type(x).dims)
        return (y if y.type == type else _rounded(emit, y, x),)

    def _extrapolated(self, emit: Emitter, y: Value, shape: tuple[int, ...]) -> Value:
        """Put ``extrapolation`` where a point lies outside, which is known beforehand."""
        from .comparison import Select

        outside = self._outside(shape)
        if not outside.any():
            return y
        return emit(Select(), emit.constant(outside), emit.scalar_like(self.extrapolation, y), y)

    def _outside(self, shape: tuple[int, ...]) -> Array:
        outside = np.zeros((1,) * len(shape), np.bool_)
        for axis, axis_map in zip(self.axes, self.maps(shape), strict=True):
            outside = outside | axis_map.outside().reshape(-1, *(1,) * (len(shape) - axis - 1))
        return outside

    def evaluate(self, *inputs: Any) -> Arrays:
        """Apply the tables in float64."""
        (x,) = inputs
        y = x if self.mode == "nearest" else x.astype(np.float64)
        for axis, axis_map in zip(self.axes, self.maps(x.shape), strict=True):
            table = axis_map.table()
            if self.mode == "nearest":
                y = np.take(y, table.indices[:, 0], axis)
            elif not table.is_identity:
                (y,) = Resample(axis).evaluate(y, table.indices, table.weights)
        outside = self._outside(x.shape)
        if outside.any():
            y = np.where(outside, np.asarray(self.extrapolation).astype(y.dtype), y)
        return (y.astype(x.dtype) if self.mode == "nearest" else _saturated(y, x.dtype),)

    def vjp(
        self, emit: Emitter, inputs: Values, outputs: Values, cotangents: Cotangents
    ) -> Cotangents:
        """Resample ``dy`` by the transposed tables, in reverse order."""
        (dy,) = cotangents
        x = result_type(inputs[0])
        if dy is None or x.dtype not in FLOATS:
            return (None,)
        dx = self._inside(emit, widen(emit, dy), x.dims)
        for axis, table in reversed(self.tables(x.dims)):
            dx = _resampled(emit, dx, axis, transposed_table(table, x.dims[axis]))
        return (narrow(emit, dx, inputs[0]),)

    def _inside(self, emit: Emitter, dy: Value, shape: tuple[int, ...]) -> Value:
        outside = self._outside(shape)
        if not outside.any():
            return dy
        return emit(Mul(), dy, emit.constant(~outside, result_type(dy).dtype))


def _floats(emit: Emitter, x: Value) -> Value:
    from .cast import Cast

    if result_type(x).dtype in FLOATS:
        return widen(emit, x)
    return emit(Cast("float64" if result_type(x).dtype in ("int64", "uint64") else "float32"), x)


def _resampled(emit: Emitter, x: Value, axis: int, table: Table) -> Value:
    weights = emit.constant(table.weights, result_type(x).dtype)
    return emit(Resample(axis), x, emit.constant(table.indices), weights)


def _rounded(emit: Emitter, y: Value, like: Value) -> Value:
    """Convert to the element type of ``like``; integers are rounded and saturate."""
    from .cast import Cast

    dtype = result_type(like).dtype
    if dtype in INTEGERS:
        least, greatest = (emit.scalar_like(n, y) for n in limits(dtype))
        y = emit(Maximum(), emit(Minimum(), emit(Round(), y), greatest), least)
    return emit(Cast(dtype), y)


def _saturated(y: Array, dtype: np.dtype[Any]) -> Array:
    name = dtype_name(dtype)
    return (np.clip(np.rint(y), *limits(name)) if name in INTEGERS else y).astype(dtype)


__all__ = ["Resample", "Resize"]
