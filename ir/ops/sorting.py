# SPDX-License-Identifier: MIT
"""Order along an axis: positions of extremes, the k best, sorting, running sums and products.

Order is that of NumPy's sort: NaN comes after every number, and -0 equals 0. Among equal
elements the one at the lower position comes first, whichever direction is asked for.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..op import Arrays, Composite, Cotangents, Kind, Op, Types, Values
from ..types import Array, TensorType, Type
from .arithmetic import Add, Mul
from .elementwise import result_type
from .gather import ScatterElements
from .reduction import in_64_bits
from .shape import Pad, Reverse, check_axes, filled

if TYPE_CHECKING:
    from ..emitter import Emitter
    from ..graph import Value


@dataclass(frozen=True)
class ArgExtreme(Op):
    """Base of the position of an extreme element along an axis, which the result lacks.

    Attributes:
        axis: the axis to search.
        last: take the last of equal elements instead of the first.
    """

    kind: ClassVar[Kind] = Kind.REDUCTION
    axis: int
    last: bool = False

    def infer(self, *inputs: Type) -> Types:
        """Return int64 without the axis."""
        (x,) = self.tensors(inputs, 1)
        check_axes(self, (self.axis,), x)
        if x.shape[self.axis] == 0:
            raise self.error(f"axis {self.axis} of {x} is empty, so there is no extreme")
        return (TensorType("int64", x.shape[: self.axis] + x.shape[self.axis + 1 :]),)

    def evaluate(self, *inputs: Any) -> Arrays:
        """Search, from the end for ``last``."""
        x = in_64_bits(inputs[0])
        if not self.last:
            return (np.asarray(self.function(x), np.int64),)
        flipped = self.function(np.flip(x, self.axis))
        return (np.asarray(x.shape[self.axis] - 1 - flipped, np.int64),)

    @abstractmethod
    def function(self, x: Array) -> Any:
        """Return the position of the first extreme."""

    def vjp(
        self, emit: Emitter, inputs: Values, outputs: Values, cotangents: Cotangents
    ) -> Cotangents:
        """Return no gradient: positions are integers."""
        return (None,)

    def flops(self, *inputs: Type) -> int:
        """One comparison per element."""
        (x,) = self.tensors(inputs, 1)
        return x.size


@dataclass(frozen=True)
class ArgMax(ArgExtreme):
    """Position of the largest element along ``axis``; of the first NaN if there is one.

    No gradient: the result is an integer. ONNX: ArgMax-13.
    """

    name: ClassVar[str] = "argmax"

    def function(self, x: Array) -> Any:
        """Return the position of the maximum."""
        return np.argmax(x, self.axis)


@dataclass(frozen=True)
class ArgMin(ArgExtreme):
    """Position of the smallest element along ``axis``; of the first NaN if there is one.

    No gradient: the result is an integer. ONNX: ArgMin-13.
    """

    name: ClassVar[str] = "argmin"

    def function(self, x: Array) -> Any:
        """Return the position of the minimum."""
        return np.argmin(x, self.axis)


@dataclass(frozen=True)
class TopK(Op):
    """The ``k`` largest (or smallest) elements along ``axis``, best first, and their positions.

    Results are the values and their int64 positions. NaN counts as the largest.
    Gradient: the cotangent of the values goes back to where they came from. ONNX: TopK-11.

    Attributes:
        axis: the axis to choose along.
        k: how many to choose, at most the size of the axis.
        largest: choose the largest rather than the smallest.
        sorted: whether the order of the results matters; they are sorted in any case.
    """

    name: ClassVar[str] = "top_k"
    kind: ClassVar[Kind] = Kind.OPAQUE
    axis: int
    k: int
    largest: bool = True
    sorted: bool = True

    def infer(self, *inputs: Type) -> Types:
        """Return the operand's shape with ``k`` along the axis, twice."""
        (x,) = self.tensors(inputs, 1)
        check_axes(self, (self.axis,), x)
        if not 0 <= self.k <= x.dims[self.axis]:
            raise self.error(f"k is {self.k}, axis {self.axis} of {x} has {x.dims[self.axis]}")
        shape = (*x.shape[: self.axis], self.k, *x.shape[self.axis + 1 :])
        return TensorType(x.dtype, shape), TensorType("int64", shape)

    def evaluate(self, *inputs: Any) -> Arrays:
        """Sort stably and take the first ``k``."""
        (x,) = inputs
        wide = in_64_bits(x)
        if self.largest:
            # Ascending order of the flipped axis, read backwards, keeps equal elements in place.
            order = np.argsort(np.flip(wide, self.axis), self.axis, kind="stable")
            order = np.flip(x.shape[self.axis] - 1 - order, self.axis)
        else:
            order = np.argsort(wide, self.axis, kind="stable")
        indices = np.take(order, np.arange(self.k), self.axis).astype(np.int64)
        return np.take_along_axis(x, indices, self.axis), indices

    def vjp(
        self, emit: Emitter, inputs: Values, outputs: Values, cotangents: Cotangents
    ) -> Cotangents:
        """Scatter the values' cotangent."""
        dy = cotangents[0]
        if dy is None:
            return (None,)
        x = result_type(inputs[0])
        zeros = filled(emit, 0, x.dtype, x.dims)
        return (emit(ScatterElements(self.axis, "add"), zeros, outputs[1], dy),)


@dataclass(frozen=True)
class Sort(Composite):
    """All elements in order along ``axis``, and the int64 positions that they had.

    Attributes:
        axis: the axis to sort along.
        descending: largest first.
    """

    name: ClassVar[str] = "sort"
    axis: int
    descending: bool = False

    def expand(self, emit: Emitter, *inputs: Value) -> Values:
        """Emit the choice of all elements."""
        (x,) = inputs
        size = result_type(x).dims[self.axis]
        return emit.multi(TopK(self.axis, size, largest=self.descending), x)


@dataclass(frozen=True)
class Cumulative(Op):
    """Base of running reductions along an axis.

    Attributes:
        axis: the axis to run along.
        exclusive: leave out the element at the position itself, so the first result is the
            reduction of nothing.
        reverse: run from the end.
    """

    kind: ClassVar[Kind] = Kind.OPAQUE
    axis: int
    exclusive: bool = False
    reverse: bool = False
    start: ClassVar[int]

    def infer(self, *inputs: Type) -> Types:
        """Return the operand's type."""
        (x,) = self.tensors(inputs, 1)
        check_axes(self, (self.axis,), x)
        return (x,)

    def evaluate(self, *inputs: Any) -> Arrays:
        """Run in 64 bits and round once."""
        x = np.moveaxis(in_64_bits(inputs[0]), self.axis, -1)
        x = np.flip(x, -1) if self.reverse else x
        y = self.function(x)
        if self.exclusive:
            y = np.concatenate([np.full_like(y[..., :1], self.start), y[..., :-1]], -1)
        y = np.flip(y, -1) if self.reverse else y
        return (np.moveaxis(y, -1, self.axis).astype(inputs[0].dtype),)

    @abstractmethod
    def function(self, x: Array) -> Array:
        """Return the running reduction along the last axis."""


@dataclass(frozen=True)
class CumSum(Cumulative):
    """Running sum, ``y[i] = x[0] + ... + x[i]``; integers wrap around.

    Gradient: the running sum of ``dy`` from the other end. ONNX: CumSum-14.
    """

    name: ClassVar[str] = "cumsum"
    start: ClassVar[int] = 0

    def function(self, x: Array) -> Array:
        """Return the running sum."""
        return np.cumsum(x, -1, x.dtype)

    def vjp(
        self, emit: Emitter, inputs: Values, outputs: Values, cotangents: Cotangents
    ) -> Cotangents:
        """Sum from the other end."""
        (dy,) = cotangents
        opposite = CumSum(self.axis, self.exclusive, not self.reverse)
        return (None if dy is None else emit(opposite, dy),)


@dataclass(frozen=True)
class CumProd(Cumulative):
    """Running product, ``y[i] = x[0] * ... * x[i]``; integers wrap around.

    Gradient: ``dx[k] = x[0] ... x[k-1] * r[k]`` with ``r[k] = dy[k] + x[k+1] r[k+1]``, exact
    where elements are 0. ONNX: CumProd-26.
    """

    name: ClassVar[str] = "cumprod"
    start: ClassVar[int] = 1

    def function(self, x: Array) -> Array:
        """Return the running product."""
        return np.cumprod(x, -1, x.dtype)

    def vjp(
        self, emit: Emitter, inputs: Values, outputs: Values, cotangents: Cotangents
    ) -> Cotangents:
        """Solve the recurrence by doubling: ``log2(n)`` rounds of shifts, products and sums."""
        (dy,) = cotangents
        if dy is None:
            return (None,)
        turn = Reverse((self.axis,))
        x = emit(turn, inputs[0]) if self.reverse else inputs[0]
        dy = emit(turn, dy) if self.reverse else dy
        factor = self._shifted(emit, x, 1)
        total = self._shifted(emit, dy, 1) if self.exclusive else dy
        distance, size = 1, result_type(x).dims[self.axis]
        while distance < size:
            total = emit(Add(), total, emit(Mul(), factor, self._shifted(emit, total, distance)))
            factor = emit(Mul(), factor, self._shifted(emit, factor, distance))
            distance *= 2
        dx = emit(Mul(), emit(CumProd(self.axis, exclusive=True), x), total)
        return (emit(turn, dx) if self.reverse else dx,)

    def _shifted(self, emit: Emitter, x: Value, distance: int) -> Value:
        """Emit ``x[k + distance]``, 0 beyond the end."""
        shape = result_type(x).dims
        distance = min(distance, shape[self.axis])
        high = tuple(distance if k == self.axis else 0 for k in range(len(shape)))
        return emit(Pad(tuple(-n for n in high), high), x)


__all__ = ["ArgMax", "ArgMin", "CumProd", "CumSum", "Sort", "TopK"]
