# SPDX-License-Identifier: MIT
"""Ops that only move elements: reshape, transpose, broadcast, slice, pad, concatenate, reverse."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..op import Arrays, Cotangents, Kind, Op, Types, Values
from ..types import Array, TensorType, Type, numpy_dtype
from .arithmetic import Add
from .broadcasting import broadcast_dims, unbroadcast
from .elementwise import result_type

if TYPE_CHECKING:
    from ..emitter import Emitter
    from ..graph import Value

PAD_MODES = ("constant", "edge", "reflect", "wrap")


class Movement(Op):
    """Base of ops with one operand whose result holds elements of it, or a constant."""

    kind: ClassVar[Kind] = Kind.INJECTIVE

    def vjp(
        self, emit: Emitter, inputs: Values, outputs: Values, cotangents: Cotangents
    ) -> Cotangents:
        """Return :meth:`transposed` of the result's cotangent."""
        (dy,) = cotangents
        return (None if dy is None else self.transposed(emit, result_type(inputs[0]), dy),)

    def transposed(self, emit: Emitter, x: TensorType, dy: Value) -> Value:
        """Emit the transpose of this linear map applied to ``dy``."""
        raise NotImplementedError


@dataclass(frozen=True)
class Reshape(Movement):
    """The same elements in row-major order under another shape.

    Gradient: ``dx`` is ``dy`` in the shape of ``x``. ONNX: Reshape, Squeeze, Unsqueeze, Flatten.

    Attributes:
        shape: sizes of the result, all known; their product is that of the operand.
    """

    name: ClassVar[str] = "reshape"
    shape: tuple[int, ...]

    def infer(self, *inputs: Type) -> Types:
        """Return the operand's element type under ``shape``."""
        (x,) = self.tensors(inputs, 1)
        if min(self.shape, default=0) < 0 or x.size != math.prod(self.shape):
            raise self.error(f"{x.size} elements of {x} do not fit shape {list(self.shape)}")
        return (TensorType(x.dtype, self.shape),)

    def evaluate(self, *inputs: Any) -> Arrays:
        """Reshape."""
        return (np.reshape(inputs[0], self.shape),)

    def transposed(self, emit: Emitter, x: TensorType, dy: Value) -> Value:
        """Reshape back."""
        return emit(Reshape(x.dims), dy)


@dataclass(frozen=True)
class Transpose(Movement):
    """Axes in another order: axis ``k`` of the result is axis ``permutation[k]`` of ``x``.

    Gradient: ``dy`` by the inverse permutation. ONNX: Transpose.
    """

    name: ClassVar[str] = "transpose"
    permutation: tuple[int, ...]

    def infer(self, *inputs: Type) -> Types:
        """Return the permuted shape."""
        (x,) = self.tensors(inputs, 1)
        if sorted(self.permutation) != list(range(x.rank)):
            raise self.error(f"permutation {list(self.permutation)} does not fit {x}")
        return (TensorType(x.dtype, tuple(x.shape[k] for k in self.permutation)),)

    def evaluate(self, *inputs: Any) -> Arrays:
        """Transpose."""
        return (np.transpose(inputs[0], self.permutation),)

    def transposed(self, emit: Emitter, x: TensorType, dy: Value) -> Value:
        """Transpose by the inverse permutation."""
        inverse = sorted(range(x.rank), key=self.permutation.__getitem__)
        return emit(Transpose(tuple(inverse)), dy)


@dataclass(frozen=True)
class BroadcastTo(Movement):
    """``x`` repeated along leading axes and axes of size 1, by NumPy's rule.

    Gradient: ``dy`` summed over the repeated axes. ONNX: Expand.

    Attributes:
        shape: sizes of the result; ``x`` broadcasts to them.
    """

    name: ClassVar[str] = "broadcast_to"
    shape: tuple[int, ...]

    def infer(self, *inputs: Type) -> Types:
        """Return the operand's element type under ``shape``."""
        (x,) = self.tensors(inputs, 1)
        if broadcast_dims(self, x.shape, self.shape) != self.shape:
            raise self.error(f"{x} does not broadcast to shape {list(self.shape)}")
        return (TensorType(x.dtype, self.shape),)

    def evaluate(self, *inputs: Any) -> Arrays:
        """Broadcast."""
        return (np.broadcast_to(inputs[0], self.shape),)

    def vjp(
        self, emit: Emitter, inputs: Values, outputs: Values, cotangents: Cotangents
    ) -> Cotangents:
        """Sum over the repeated axes."""
        (dy,) = cotangents
        return (None if dy is None else unbroadcast(emit, dy, inputs[0]),)


@dataclass(frozen=True)
class Slice(Movement):
    """Every ``steps``-th element from ``starts`` until before ``stops``, on every axis.

    Along axis ``k`` the result holds the positions ``range(starts[k], stops[k], steps[k])``
    literally: nothing counts from the end and nothing is clipped, so all positions must exist.
    A negative step walks down and may stop at -1, which is before the first element.
    Gradient: ``dy`` spread out by the steps into zeros. ONNX: Slice, Split.
    """

    name: ClassVar[str] = "slice"
    starts: tuple[int, ...]
    stops: tuple[int, ...]
    steps: tuple[int, ...]

    def positions(self) -> tuple[range, ...]:
        """The positions taken along each axis."""
        return tuple(map(range, self.starts, self.stops, self.steps))

    def infer(self, *inputs: Type) -> Types:
        """Return the numbers of positions."""
        (x,) = self.tensors(inputs, 1)
        if not len(self.starts) == len(self.stops) == len(self.steps) == x.rank:
            raise self.error(f"needs one start, stop and step per axis of {x}")
        if 0 in self.steps:
            raise self.error("a step is 0")
        for axis, (taken, size) in enumerate(zip(self.positions(), x.dims, strict=True)):
            if taken and not (0 <= taken[0] < size and 0 <= taken[-1] < size):
                raise self.error(f"positions {taken} leave axis {axis} of {x}")
        return (TensorType(x.dtype, tuple(map(len, self.positions()))),)

    def evaluate(self, *inputs: Any) -> Arrays:
        """Slice."""
        y = inputs[0]
        for axis, taken in enumerate(self.positions()):
            y = np.take(y, np.asarray(taken, np.int64), axis)
        return (y,)

    def transposed(self, emit: Emitter, x: TensorType, dy: Value) -> Value:
        """Turn ascending, put ``step - 1`` zeros after each element, and pad to the size."""
        taken = self.positions()
        down = tuple(k for k, r in enumerate(taken) if r.step < 0 and len(r) > 1)
        if down:
            dy = emit(Reverse(down), dy)
        first = [min(r[0], r[-1]) if r else 0 for r in taken]
        spread = [abs(r.step) if len(r) > 1 else 1 for r in taken]
        dy = _dilate(emit, dy, spread)
        sizes = result_type(dy).dims
        high = tuple(n - a - m for n, a, m in zip(x.dims, first, sizes, strict=True))
        return emit(Pad(tuple(first), high), dy) if any(first) or any(high) else dy


@dataclass(frozen=True)
class Pad(Movement):
    """``x`` with ``low`` elements before and ``high`` elements after it, on every axis.

    A negative number crops; cropping comes first, whatever the mode. New elements are
    ``value`` (``constant``), the nearest element (``edge``), the mirror image about the
    outermost element (``reflect``), or ``x`` repeated (``wrap``); mirror images and
    repetitions go on for any width. Gradient: ``dy`` cropped, and for the other modes the
    parts of it that are images of ``x`` are added up. ONNX: Pad.

    Attributes:
        low: elements added before the first, per axis.
        high: elements added after the last, per axis.
        mode: ``constant``, ``edge``, ``reflect`` or ``wrap``.
        value: the element of ``constant`` mode.
    """

    name: ClassVar[str] = "pad"
    low: tuple[int, ...]
    high: tuple[int, ...]
    mode: str = "constant"
    value: float | int | bool | str = 0

    def infer(self, *inputs: Type) -> Types:
        """Return the padded shape."""
        (x,) = self.tensors(inputs, 1)
        if not len(self.low) == len(self.high) == x.rank:
            raise self.error(f"needs one low and one high width per axis of {x}")
        if self.mode not in PAD_MODES:
            raise self.error(f"mode is {self.mode!r}, expected one of {', '.join(PAD_MODES)}")
        widths = list(zip(self.low, x.dims, self.high, strict=True))
        sizes = tuple(a + n + b for a, n, b in widths)
        cropped = [min(a, 0) + n + min(b, 0) for a, n, b in widths]
        if min((*sizes, *cropped), default=0) < 0:
            raise self.error(f"low {self.low} and high {self.high} crop more than there is of {x}")
        if self.mode != "constant" and any(
            m == 0 and n > 0 for m, n in zip(cropped, sizes, strict=True)
        ):
            raise self.error(f"mode {self.mode} has no element of {x} to repeat")
        return (TensorType(x.dtype, sizes),)

    def sources(self, axis: int, size: int) -> Array:
        """Return the position in an axis of ``size`` that each result position repeats.

        In ``constant`` mode, -1 stands for ``value``.
        """
        low, high = self.low[axis], self.high[axis]
        start, n = max(-low, 0), size + min(low, 0) + min(high, 0)
        at = np.arange(-max(low, 0), n + max(high, 0))
        if self.mode == "constant":
            return np.where((at >= 0) & (at < n), at + start, -1)
        if self.mode == "edge":
            return start + np.clip(at, 0, n - 1)
        if self.mode == "wrap":
            return start + at % max(n, 1)
        period = max(2 * (n - 1), 1)
        return start + np.minimum(at % period, -at % period)

    def evaluate(self, *inputs: Any) -> Arrays:
        """Take the source of every element, axis by axis."""
        y = inputs[0]
        for axis, size in enumerate(inputs[0].shape):
            source = self.sources(axis, size)
            if self.mode == "constant" and not (source >= 0).any():
                y = y[(slice(None),) * axis + (slice(0, 0),)]
                shape = (*y.shape[:axis], len(source), *y.shape[axis + 1 :])
                y = np.full(shape, self.value, y.dtype)
                continue
            y = np.take(y, np.maximum(source, 0), axis)
            y[(slice(None),) * axis + (source < 0,)] = self.value
        return (y,)

    def transposed(self, emit: Emitter, x: TensorType, dy: Value) -> Value:
        """Crop, or add up the images of ``x`` axis by axis."""
        if self.mode == "constant":
            return emit(Pad(tuple(-n for n in self.low), tuple(-n for n in self.high)), dy)
        for axis, size in enumerate(x.dims):
            if self.low[axis] or self.high[axis]:
                dy = self._gathered(emit, dy, axis, size)
        return dy

    def _gathered(self, emit: Emitter, dy: Value, axis: int, size: int) -> Value:
        """Add up the runs of ``dy`` along one axis whose sources ascend, descend or stay."""
        from .reduction import ReduceSum

        total: Value | None = None
        for start, stop, source, step in _runs(self.sources(axis, size)):
            part = slice_along(emit, dy, axis, start, stop)
            if step < 0:
                part = emit(Reverse((axis,)), part)
            elif step == 0:
                part = expand_axes(emit, emit(ReduceSum((axis,)), part), (axis,))
            count = result_type(part).dims[axis]
            rank = result_type(part).rank
            low = tuple(source if k == axis else 0 for k in range(rank))
            high = tuple(size - source - count if k == axis else 0 for k in range(rank))
            part = emit(Pad(low, high), part)
            total = part if total is None else emit(Add(), total, part)
        if total is None:
            type = result_type(dy)
            return filled(emit, 0, type.dtype, (*type.dims[:axis], size, *type.dims[axis + 1 :]))
        return total


@dataclass(frozen=True)
class Concat(Op):
    """Operands one after the other along ``axis``; other sizes and element types are equal.

    Gradient: the slice of ``dy`` that came from each operand. ONNX: Concat.
    """

    name: ClassVar[str] = "concat"
    kind: ClassVar[Kind] = Kind.INJECTIVE
    axis: int

    def infer(self, *inputs: Type) -> Types:
        """Return the joined shape."""
        tensors = self.tensors(inputs)
        if not tensors:
            raise self.error("needs at least one operand")
        first = tensors[0]
        if not 0 <= self.axis < first.rank:
            raise self.error(f"axis {self.axis} is not an axis of {first}")
        for other in tensors[1:]:
            if (other.dtype, self._rest(other)) != (first.dtype, self._rest(first)):
                raise self.error(f"{other} does not join {first} along axis {self.axis}")
        total = sum(t.dims[self.axis] for t in tensors)
        shape = (*first.shape[: self.axis], total, *first.shape[self.axis + 1 :])
        return (TensorType(first.dtype, shape),)

    def _rest(self, tensor: TensorType) -> tuple[object, ...]:
        return (*tensor.shape[: self.axis], "*", *tensor.shape[self.axis + 1 :])

    def evaluate(self, *inputs: Any) -> Arrays:
        """Concatenate."""
        return (np.concatenate(inputs, self.axis),)

    def vjp(
        self, emit: Emitter, inputs: Values, outputs: Values, cotangents: Cotangents
    ) -> Cotangents:
        """Slice ``dy`` back into the operands' parts."""
        (dy,) = cotangents
        if dy is None:
            return (None,) * len(inputs)
        parts: list[Value] = []
        start = 0
        for value in inputs:
            stop = start + result_type(value).dims[self.axis]
            parts.append(slice_along(emit, dy, self.axis, start, stop))
            start = stop
        return tuple(parts)


@dataclass(frozen=True)
class Reverse(Movement):
    """``x`` with the order of elements reversed along ``axes``. Gradient: ``dy`` reversed."""

    name: ClassVar[str] = "reverse"
    axes: tuple[int, ...]

    def infer(self, *inputs: Type) -> Types:
        """Return the operand's type."""
        (x,) = self.tensors(inputs, 1)
        check_axes(self, self.axes, x)
        return (x,)

    def evaluate(self, *inputs: Any) -> Arrays:
        """Flip."""
        return (np.flip(inputs[0], self.axes),)

    def transposed(self, emit: Emitter, x: TensorType, dy: Value) -> Value:
        """Reverse again."""
        return emit(self, dy)


@dataclass(frozen=True)
class Iota(Op):
    """An array of ``shape`` whose elements are their positions along ``axis``; no operand."""

    name: ClassVar[str] = "iota"
    kind: ClassVar[Kind] = Kind.INJECTIVE
    dtype: str
    shape: tuple[int, ...]
    axis: int = 0

    def infer(self, *inputs: Type) -> Types:
        """Return ``dtype`` and ``shape``."""
        self.tensors(inputs, 0)
        if not 0 <= self.axis < len(self.shape):
            raise self.error(f"axis {self.axis} is not an axis of shape {list(self.shape)}")
        return (TensorType(self.dtype, self.shape),)

    def evaluate(self, *inputs: Any) -> Arrays:
        """Count along the axis."""
        count = np.arange(self.shape[self.axis]).astype(numpy_dtype(self.dtype))
        column = count.reshape(-1, *(1,) * (len(self.shape) - 1 - self.axis))
        return (np.broadcast_to(column, self.shape),)

    def vjp(
        self, emit: Emitter, inputs: Values, outputs: Values, cotangents: Cotangents
    ) -> Cotangents:
        """Return nothing: there is no operand."""
        return ()


def check_axes(op: Op, axes: tuple[int, ...], x: TensorType) -> None:
    """Raise unless ``axes`` are distinct axes of ``x``, none counted from the end."""
    if len(set(axes)) != len(axes) or not all(0 <= a < x.rank for a in axes):
        raise op.error(f"axes {list(axes)} are not distinct axes of {x}")


def slice_along(emit: Emitter, x: Value, axis: int, start: int, stop: int, step: int = 1) -> Value:
    """Emit ``x`` restricted to ``range(start, stop, step)`` along one axis."""
    sizes = result_type(x).dims
    if range(start, stop, step) == range(sizes[axis]):
        return x
    starts = [0] * len(sizes)
    stops, steps = list(sizes), [1] * len(sizes)
    starts[axis], stops[axis], steps[axis] = start, stop, step
    return emit(Slice(tuple(starts), tuple(stops), tuple(steps)), x)


def expand_axes(emit: Emitter, x: Value, axes: tuple[int, ...]) -> Value:
    """Emit ``x`` with axes of size 1 inserted so that they are ``axes`` of the result."""
    sizes = list(result_type(x).dims)
    for axis in sorted(axes):
        sizes.insert(axis, 1)
    return emit(Reshape(tuple(sizes)), x) if axes else x


def filled(emit: Emitter, number: float, dtype: str, shape: tuple[int, ...]) -> Value:
    """Emit a tensor all of whose elements are ``number``, without storing it."""
    scalar = emit.constant(number, dtype)
    return emit(BroadcastTo(shape), scalar) if shape else scalar


def _dilate(emit: Emitter, x: Value, spread: list[int]) -> Value:
    """Put ``spread[k] - 1`` zeros after each element along axis ``k``."""
    if all(s == 1 for s in spread):
        return x
    sizes = result_type(x).dims
    columns = emit(Reshape(tuple(m for n in sizes for m in (n, 1))), x)
    high = tuple(m for s in spread for m in (0, s - 1))
    columns = emit(Pad((0,) * len(high), high), columns)
    return emit(Reshape(tuple(n * s for n, s in zip(sizes, spread, strict=True))), columns)


def _runs(source: Array) -> list[tuple[int, int, int, int]]:
    """Cut positions into runs of constant step 1, -1 or 0: (start, stop, lowest source, step)."""
    runs: list[tuple[int, int, int, int]] = []
    start = 0
    while start < len(source):
        stop, step = start + 1, 0
        if stop < len(source):
            step = int(source[stop] - source[start])
            step = step if abs(step) <= 1 else 0
            while stop < len(source) and source[stop] - source[stop - 1] == step:
                stop += 1
        runs.append((start, stop, int(source[start:stop].min()), step))
        start = stop
    return runs


__all__ = [
    "BroadcastTo",
    "Concat",
    "Iota",
    "Pad",
    "Reshape",
    "Reverse",
    "Slice",
    "Transpose",
    "expand_axes",
    "filled",
    "slice_along",
]
