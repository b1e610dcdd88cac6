# SPDX-License-Identifier: MIT
"""Reads and writes at positions that are data: gather, scatter, and the check of positions.

Positions are integers of any width; negative ones count from the end. ``evaluate`` refuses a
position outside the axis. Compiled code moves it to the nearest valid one instead, which keeps
memory safe, and the graph's :class:`InRange` flags make the executor refuse it.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ...errors import ExecutionError
from ..op import Arrays, Cotangents, Kind, Op, Types, Values
from ..types import INTEGERS, Array, TensorType, Type
from .arithmetic import Div, Mul
from .cast import Cast
from .comparison import Equal, Select
from .elementwise import result_type
from .reduction import in_64_bits
from .shape import Concat, Iota, Reshape, Transpose, filled

if TYPE_CHECKING:
    from ..emitter import Emitter
    from ..graph import Value

REDUCTIONS = ("none", "add", "mul", "max", "min")


@dataclass(frozen=True)
class Gather(Op):
    """Slices of ``x`` along ``axis``: ``y[a, i, b] = x[a, indices[i], b]``.

    Here ``a`` and ``b`` stand for the axes before and after ``axis``, ``i`` for all axes of
    ``indices``. Gradient: ``dy`` added into zeros at the same positions. ONNX: Gather-13.
    """

    name: ClassVar[str] = "gather"
    kind: ClassVar[Kind] = Kind.INJECTIVE
    axis: int = 0

    def infer(self, *inputs: Type) -> Types:
        """Return ``x`` with the axis replaced by the shape of ``indices``."""
        x, indices = self.tensors(inputs, 2)
        check_indices(self, indices)
        if not 0 <= self.axis < x.rank:
            raise self.error(f"axis {self.axis} is not an axis of {x}")
        check_not_empty(self, (x.shape[self.axis],), indices)
        shape = (*x.shape[: self.axis], *indices.shape, *x.shape[self.axis + 1 :])
        return (TensorType(x.dtype, shape),)

    def evaluate(self, *inputs: Any) -> Arrays:
        """Take the slices."""
        x, indices = inputs
        return (np.take(x, positions(self, indices, x.shape[self.axis]), self.axis),)

    def vjp(
        self, emit: Emitter, inputs: Values, outputs: Values, cotangents: Cotangents
    ) -> Cotangents:
        """Scatter ``dy`` along the axis, which is moved to the front meanwhile."""
        (dy,) = cotangents
        if dy is None:
            return None, None
        x, indices = map(result_type, inputs)
        axis, taken = self.axis, indices.rank
        rest = [k for k in range(x.rank) if k != axis]
        front = (
            *range(axis, axis + taken),
            *range(axis),
            *range(axis + taken, axis + taken + x.rank - axis - 1),
        )
        zeros = filled(emit, 0, x.dtype, (x.dims[axis], *(x.dims[k] for k in rest)))
        column = emit(Reshape((*indices.dims, 1)), inputs[1])
        total = emit(ScatterND("add"), zeros, column, emit(Transpose(front), dy))
        back = tuple(int(k) for k in np.argsort([axis, *rest]))
        return emit(Transpose(back), total), None


@dataclass(frozen=True)
class GatherElements(Op):
    """Elements of ``x`` whose position along ``axis`` is data.

    ``y[.., i, ..] = x[.., indices[.., i, ..], ..]``: the other coordinates are those of the
    result, whose shape is that of ``indices``. Gradient: ``dy`` added into zeros at the same
    positions. ONNX: GatherElements-13.
    """

    name: ClassVar[str] = "gather_elements"
    kind: ClassVar[Kind] = Kind.INJECTIVE
    axis: int = 0

    def infer(self, *inputs: Type) -> Types:
        """Return the shape of ``indices`` and the element type of ``x``."""
        x, indices = self.tensors(inputs, 2)
        check_elementwise_indices(self, self.axis, x, indices)
        return (TensorType(x.dtype, indices.shape),)

    def evaluate(self, *inputs: Any) -> Arrays:
        """Take the elements."""
        x, indices = inputs
        return (x[element_positions(self, x, indices, self.axis)],)

    def vjp(
        self, emit: Emitter, inputs: Values, outputs: Values, cotangents: Cotangents
    ) -> Cotangents:
        """Scatter ``dy``."""
        (dy,) = cotangents
        if dy is None:
            return None, None
        x = result_type(inputs[0])
        zeros = filled(emit, 0, x.dtype, x.dims)
        return emit(ScatterElements(self.axis, "add"), zeros, inputs[1], dy), None


@dataclass(frozen=True)
class GatherND(Op):
    """Slices of ``x`` at coordinates: ``y[b, i] = x[b, indices[b, i, 0], indices[b, i, 1], ...]``.

    The last axis of ``indices`` holds the coordinates along the axes of ``x`` after the
    ``batch_dims`` leading ones ``b``, which both operands share; axes of ``x`` that are left
    over are taken whole. Gradient: ``dy`` added into zeros at the same places. ONNX: GatherND-13.
    """

    name: ClassVar[str] = "gather_nd"
    kind: ClassVar[Kind] = Kind.INJECTIVE
    batch_dims: int = 0

    def infer(self, *inputs: Type) -> Types:
        """Return the leading shape of ``indices`` and the axes of ``x`` left over."""
        x, indices = self.tensors(inputs, 2)
        depth = check_coordinates(self, x, indices, self.batch_dims)
        shared = x.shape[: self.batch_dims], indices.shape[: self.batch_dims]
        if self.batch_dims < 0 or shared[0] != shared[1] or indices.rank <= self.batch_dims:
            raise self.error(f"{x} and indices {indices} do not share {self.batch_dims} batch axes")
        rest = x.shape[self.batch_dims + depth :]
        return (TensorType(x.dtype, (*indices.shape[:-1], *rest)),)

    def evaluate(self, *inputs: Any) -> Arrays:
        """Take the slices."""
        x, indices = inputs
        batch = self.batch_dims
        leading = np.indices(indices.shape[:batch], sparse=True)
        extra = (1,) * (indices.ndim - 1 - batch)
        at = [np.reshape(k, (*k.shape, *extra)) for k in leading]
        places = (*at, *coordinates(self, indices, x.shape[batch:]))
        return (x[places],)

    def vjp(
        self, emit: Emitter, inputs: Values, outputs: Values, cotangents: Cotangents
    ) -> Cotangents:
        """Scatter ``dy``, with the batch positions as further coordinates."""
        (dy,) = cotangents
        if dy is None:
            return None, None
        x, indices = map(result_type, inputs)
        column = (*indices.dims[:-1], 1)
        batch = [emit(Iota(indices.dtype, column, k)) for k in range(self.batch_dims)]
        full = emit(Concat(indices.rank - 1), *batch, inputs[1]) if batch else inputs[1]
        return emit(ScatterND("add"), filled(emit, 0, x.dtype, x.dims), full, dy), None


class Scatter(Op):
    """Base of writes at positions; updates of one place are combined in row-major order.

    Attributes:
        reduction: how an update joins what is there: ``none`` replaces it (the last update
            wins), ``add``, ``mul``, ``max`` and ``min`` combine the two.
    """

    kind: ClassVar[Kind] = Kind.OPAQUE
    reduction: str

    @abstractmethod
    def reading(self) -> Op:
        """The op that reads the places which this one writes."""

    @abstractmethod
    def places(self, x: Array, indices: Array) -> tuple[Array, ...]:
        """Return the coordinates of all places, for NumPy's advanced indexing."""

    def check_updates(self, x: TensorType, updates: TensorType, shape: tuple[Any, ...]) -> None:
        """Raise unless the reduction is known and ``updates`` has this shape and x's type."""
        if self.reduction not in REDUCTIONS:
            known = ", ".join(REDUCTIONS)
            raise self.error(f"reduction is {self.reduction!r}, expected one of {known}")
        if updates != TensorType(x.dtype, shape):
            raise self.error(f"updates must be {TensorType(x.dtype, shape)}, found {updates}")

    def evaluate(self, *inputs: Any) -> Arrays:
        """Write into a copy; sums and products are carried in 64 bits and rounded once."""
        x, indices, updates = inputs
        at = self.places(x, indices)
        if self.reduction == "none":
            y = np.array(x)
            y[at] = updates
            return (y,)
        y = np.array(in_64_bits(x))
        combine = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}
        combine[self.reduction].at(y, at, in_64_bits(updates))
        return (y.astype(x.dtype),)

    def vjp(
        self, emit: Emitter, inputs: Values, outputs: Values, cotangents: Cotangents
    ) -> Cotangents:
        """Dispatch on the reduction."""
        (dy,) = cotangents
        if dy is None:
            return None, None, None
        if self.reduction == "add":
            return dy, None, emit(self.reading(), dy, inputs[1])
        if self.reduction == "none":
            return self._replaced(emit, inputs, dy)
        if self.reduction == "mul":
            return self._multiplied(emit, inputs, outputs[0], dy)
        return self._extreme(emit, inputs, outputs[0], dy)

    def _with(self, reduction: str) -> Op:
        return replace(self, reduction=reduction)  # type: ignore[type-var]

    def _replaced(self, emit: Emitter, inputs: Values, dy: Value) -> Cotangents:
        """Only the last update of a place counts: number the updates to find it."""
        x, updates = result_type(inputs[0]), result_type(inputs[2])
        number = emit(Reshape(updates.dims), emit(Iota("int64", (updates.size,))))
        winners = emit(self, filled(emit, 0, "int64", x.dims), inputs[1], number)
        survives = emit(Equal(), emit(self.reading(), winners, inputs[1]), number)
        zeros = filled(emit, 0, updates.dtype, updates.dims)
        d_updates = emit(Select(), survives, emit(self.reading(), dy, inputs[1]), zeros)
        return emit(self, dy, inputs[1], zeros), None, d_updates

    def _multiplied(self, emit: Emitter, inputs: Values, y: Value, dy: Value) -> Cotangents:
        x = result_type(inputs[0])
        factors = emit(self, filled(emit, 1, x.dtype, x.dims), inputs[1], inputs[2])
        product = emit(self.reading(), emit(Mul(), dy, y), inputs[1])
        return emit(Mul(), dy, factors), None, emit(Div(), product, inputs[2])

    def _extreme(self, emit: Emitter, inputs: Values, y: Value, dy: Value) -> Cotangents:
        """Share ``dy`` equally among all that equal the extreme."""
        x, indices, updates = inputs
        cast = Cast(result_type(x).dtype)
        kept = emit(cast, emit(Equal(), x, y))
        chosen = emit(cast, emit(Equal(), updates, emit(self.reading(), y, indices)))
        share = emit(Div(), dy, emit(self._with("add"), kept, indices, chosen))
        d_updates = emit(Mul(), chosen, emit(self.reading(), share, indices))
        return emit(Mul(), kept, share), None, d_updates


@dataclass(frozen=True)
class ScatterElements(Scatter):
    """``x`` with ``updates`` written at positions along ``axis`` that are data.

    ``y[.., indices[.., i, ..], ..] <- updates[.., i, ..]`` with the other coordinates those of
    the update. Gradient of ``mul`` needs updates other than 0. ONNX: ScatterElements-18.

    Attributes:
        axis: the axis that ``indices`` count along.
        reduction: see :class:`Scatter`.
    """

    name: ClassVar[str] = "scatter_elements"
    axis: int = 0
    reduction: str = "none"

    def infer(self, *inputs: Type) -> Types:
        """Return the type of ``x``."""
        x, indices, updates = self.tensors(inputs, 3)
        check_elementwise_indices(self, self.axis, x, indices)
        self.check_updates(x, updates, indices.shape)
        return (x,)

    def reading(self) -> Op:
        """Gather the same elements."""
        return GatherElements(self.axis)

    def places(self, x: Array, indices: Array) -> tuple[Array, ...]:
        """Return one coordinate array per axis."""
        return element_positions(self, x, indices, self.axis)


@dataclass(frozen=True)
class ScatterND(Scatter):
    """``x`` with slices ``updates`` written at coordinates that are data.

    ``y[indices[i, 0], indices[i, 1], ...] <- updates[i]``, where ``i`` stands for all but the
    last axis of ``indices``. Gradient of ``mul`` needs updates other than 0. ONNX: ScatterND-18.

    Attributes:
        reduction: see :class:`Scatter`.
    """

    name: ClassVar[str] = "scatter_nd"
    reduction: str = "none"

    def infer(self, *inputs: Type) -> Types:
        """Return the type of ``x``."""
        x, indices, updates = self.tensors(inputs, 3)
        depth = check_coordinates(self, x, indices, 0)
        self.check_updates(x, updates, (*indices.shape[:-1], *x.shape[depth:]))
        return (x,)

    def reading(self) -> Op:
        """Gather the same slices."""
        return GatherND()

    def places(self, x: Array, indices: Array) -> tuple[Array, ...]:
        """Return one coordinate array per indexed axis."""
        return coordinates(self, indices, x.shape)


@dataclass(frozen=True)
class InRange(Op):
    """Whether all elements of an integer tensor lie in ``low <= i < high``; a bool scalar.

    It guards positions that come from run-time data. No gradient: the result is a boolean.
    """

    name: ClassVar[str] = "in_range"
    kind: ClassVar[Kind] = Kind.REDUCTION
    low: int
    high: int

    def infer(self, *inputs: Type) -> Types:
        """Return a boolean scalar."""
        (indices,) = self.tensors(inputs, 1)
        check_indices(self, indices)
        return (TensorType("bool", ()),)

    def evaluate(self, *inputs: Any) -> Arrays:
        """Compare all elements."""
        (indices,) = inputs
        wide = in_64_bits(indices)
        return (np.asarray(np.all((wide >= self.low) & (wide < self.high))),)


def check_indices(op: Op, indices: TensorType) -> None:
    """Raise unless ``indices`` are integers."""
    if indices.dtype not in INTEGERS:
        raise op.error(f"indices must be integers, found {indices}")


def check_not_empty(op: Op, sizes: tuple[Any, ...], indices: TensorType) -> None:
    """Raise if there are indices into an axis without elements."""
    if 0 in sizes and 0 not in indices.shape:
        raise op.error(f"indices {indices} into an axis of size 0")


def check_elementwise_indices(op: Op, axis: int, x: TensorType, indices: TensorType) -> None:
    """Raise unless ``indices`` fit inside ``x`` on all axes but ``axis``."""
    check_indices(op, indices)
    if indices.rank != x.rank or not 0 <= axis < x.rank:
        raise op.error(f"indices {indices} and axis {axis} do not fit {x}")
    check_not_empty(op, (x.shape[axis],), indices)
    for k, (n, m) in enumerate(zip(x.dims, indices.dims, strict=True)):
        if k != axis and m > n:
            raise op.error(f"indices {indices} exceed {x} along axis {k}")


def check_coordinates(op: Op, x: TensorType, indices: TensorType, batch_dims: int) -> int:
    """Return how many coordinates each index has after checking that ``x`` has those axes."""
    check_indices(op, indices)
    if indices.rank == 0 or indices.dims[-1] == 0:
        raise op.error(f"indices need a last axis that holds the coordinates, found {indices}")
    depth = indices.dims[-1]
    if batch_dims + depth > x.rank:
        raise op.error(f"indices {indices} have more coordinates than {x} has axes")
    if math.prod(indices.dims[:-1]):
        check_not_empty(op, x.shape[batch_dims : batch_dims + depth], TensorType("int64", ()))
    return depth


def positions(op: Op, indices: Array, size: int) -> Array:
    """Return ``indices`` with negative ones counted from the end.

    Raises:
        ExecutionError: an index lies outside ``[-size, size)``.
    """
    wide = np.asarray(indices).astype(np.int64)
    bad = wide[(wide < -size) | (wide >= size)]
    if bad.size:
        raise ExecutionError(
            f"{op.name}: index {bad.flat[0]} is outside [-{size}, {size}); "
            f"{bad.size} of {wide.size} indices are"
        )
    return np.where(wide < 0, wide + size, wide)


def element_positions(op: Op, x: Array, indices: Array, axis: int) -> tuple[Array, ...]:
    """Return the coordinates of elements whose position along ``axis`` is given."""
    at: list[Array] = list(np.indices(indices.shape, sparse=True))
    at[axis] = positions(op, indices, x.shape[axis])
    return tuple(at)


def coordinates(op: Op, indices: Array, sizes: tuple[int, ...]) -> tuple[Array, ...]:
    """Return the last axis of ``indices`` as one array per coordinate."""
    return tuple(positions(op, indices[..., k], sizes[k]) for k in range(indices.shape[-1]))


__all__ = [
    "Gather",
    "GatherElements",
    "GatherND",
    "InRange",
    "ScatterElements",
    "ScatterND",
]
