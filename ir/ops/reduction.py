# SPDX-License-Identifier: MIT
"""Reductions over axes, which are removed from the result, and norms made of them."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import ml_dtypes
import numpy as np

from ..op import Arrays, Cotangents, Kind, Op, Types, Values
from ..types import FLOATS, INTEGERS, Array, TensorType, Type, dtype_name, numpy_dtype
from .arithmetic import Abs, Add, Div, Mul, Sub
from .cast import Cast
from .comparison import Equal, IsInf, Select
from .elementary import Exp, Log, Sqrt
from .elementwise import result_type
from .shape import BroadcastTo, Reshape, Transpose, check_axes, expand_axes
from .widening import Widened

if TYPE_CHECKING:
    from ..emitter import Emitter
    from ..graph import Value


@dataclass(frozen=True)
class Reduction(Op):
    """Base of reductions of one operand.

    Attributes:
        axes: the axes to reduce, none counted from the end; the result lacks them. With no
            axes every element is reduced alone.
    """

    kind: ClassVar[Kind] = Kind.REDUCTION
    axes: tuple[int, ...]

    def infer(self, *inputs: Type) -> Types:
        """Return the operand's type without the reduced axes."""
        (x,) = self.tensors(inputs, 1)
        check_axes(self, self.axes, x)
        return (TensorType(x.dtype, without(x.shape, self.axes)),)

    def evaluate(self, *inputs: Any) -> Arrays:
        """Apply :meth:`function` to the operand in a wide type and round once."""
        (x,) = inputs
        return (np.asarray(self.function(in_64_bits(x))).astype(x.dtype),)

    @abstractmethod
    def function(self, x: Array) -> Any:
        """Return the reduction in NumPy; ``x`` is float64, int64 or uint64 (or complex, bool)."""

    def vjp(
        self, emit: Emitter, inputs: Values, outputs: Values, cotangents: Cotangents
    ) -> Cotangents:
        """Return :meth:`gradient` with ``dy``, if there is a ``dy``."""
        (dy,) = cotangents
        return (None if dy is None else self.gradient(emit, inputs[0], outputs[0], dy),)

    def gradient(self, emit: Emitter, x: Value, y: Value, dy: Value) -> Value:
        """Emit the cotangent of ``x``."""
        raise NotImplementedError

    def spread(self, emit: Emitter, y: Value, x: Value) -> Value:
        """Emit ``y`` repeated along the reduced axes, in the shape of ``x``."""
        return emit(BroadcastTo(result_type(x).dims), expand_axes(emit, y, self.axes))

    def count(self, x: TensorType) -> int:
        """How many elements each result is made of."""
        return math.prod(x.dims[a] for a in self.axes)

    def flops(self, *inputs: Type) -> int:
        """One operation per element read."""
        (x,) = self.tensors(inputs, 1)
        return x.size


@dataclass(frozen=True)
class ReduceSum(Reduction):
    """Sum over ``axes``; 0 if there is nothing to add.

    Floats narrower than float32 are added in float32 or wider and rounded once; integers
    wrap around. Gradient: ``dy`` repeated. ONNX: ReduceSum-13.
    """

    name: ClassVar[str] = "reduce_sum"

    def function(self, x: Array) -> Any:
        """Return the sum."""
        return np.sum(x, self.axes)

    def gradient(self, emit: Emitter, x: Value, y: Value, dy: Value) -> Value:
        """Repeat ``dy``."""
        return self.spread(emit, dy, x)


@dataclass(frozen=True)
class ReduceMean(Reduction):
    """Sum over ``axes`` divided by the number of elements; NaN (integers: 0) if that is 0.

    The sum and the division are carried out in float32 or wider and rounded once; integers
    are added in 64 bits and the quotient is truncated towards zero.
    Gradient: ``dy / n`` repeated. ONNX: ReduceMean-18, GlobalAveragePool-1.
    """

    name: ClassVar[str] = "reduce_mean"

    def function(self, x: Array) -> Any:
        """Return the mean."""
        count = math.prod(x.shape[a] for a in self.axes)
        total = np.asarray(np.sum(x, self.axes))
        if x.dtype.kind not in "iu":
            return np.divide(total, count)
        negative = total < 0  # Python's // rounds down; integers of ONNX truncate
        size = np.abs(total) // max(count, 1)
        return np.where(negative, -size, size)

    def gradient(self, emit: Emitter, x: Value, y: Value, dy: Value) -> Value:
        """Repeat ``dy / n``."""
        count = emit.scalar_like(self.count(result_type(x)), dy)
        return self.spread(emit, emit(Div(), dy, count), x)


@dataclass(frozen=True)
class Extreme(Reduction):
    """Base of the largest and smallest element; NaN wins over every number."""

    def evaluate(self, *inputs: Any) -> Arrays:
        """Reduce with the worst value of the element type as the start."""
        (x,) = inputs
        wide = in_64_bits(x) if x.dtype.kind != "b" else x
        start = np.asarray(self.identity(dtype_name(x.dtype))).astype(wide.dtype)
        return (np.asarray(self.function(wide, start)).astype(x.dtype),)

    @abstractmethod
    def function(self, x: Array, start: Any = None) -> Any:
        """Return the extreme of the elements and ``start``."""

    @abstractmethod
    def identity(self, dtype: str) -> Any:
        """Return the value that loses against all others of an element type."""

    def gradient(self, emit: Emitter, x: Value, y: Value, dy: Value) -> Value:
        """Share ``dy`` equally among the elements that are the extreme."""
        is_extreme = emit(Equal(), x, self.spread(emit, y, x))
        mask = emit(Cast(result_type(x).dtype), is_extreme)
        share = emit(Div(), dy, emit(ReduceSum(self.axes), mask))
        return emit(Mul(), mask, self.spread(emit, share, x))


@dataclass(frozen=True)
class ReduceMax(Extreme):
    """Largest element over ``axes``; NaN if there is one; of nothing, the least value.

    The least value is -inf, the most negative integer, or false. Booleans: whether any holds.
    Gradient: ``dy`` shared equally among the largest elements. ONNX: ReduceMax-20.
    """

    name: ClassVar[str] = "reduce_max"

    def function(self, x: Array, start: Any = None) -> Any:
        """Return the maximum."""
        return np.max(x, self.axes, initial=start)

    def identity(self, dtype: str) -> Any:
        """Return the least value."""
        return limits(dtype)[0]


@dataclass(frozen=True)
class ReduceMin(Extreme):
    """Smallest element over ``axes``; NaN if there is one; of nothing, the greatest value.

    The greatest value is inf, the largest integer, or true. Booleans: whether all hold.
    Gradient: ``dy`` shared equally among the smallest elements. ONNX: ReduceMin-20.
    """

    name: ClassVar[str] = "reduce_min"

    def function(self, x: Array, start: Any = None) -> Any:
        """Return the minimum."""
        return np.min(x, self.axes, initial=start)

    def identity(self, dtype: str) -> Any:
        """Return the greatest value."""
        return limits(dtype)[1]


@dataclass(frozen=True)
class ReduceProd(Reduction):
    """Product over ``axes``; 1 if there is nothing to multiply. Rounding as for the sum.

    Gradient: ``dy`` times the product of the other elements, exact where elements are 0.
    ONNX: ReduceProd-18.
    """

    name: ClassVar[str] = "reduce_prod"

    def function(self, x: Array) -> Any:
        """Return the product."""
        return np.prod(x, self.axes)

    def gradient(self, emit: Emitter, x: Value, y: Value, dy: Value) -> Value:
        """Multiply ``dy`` by the products of the elements before and after each."""
        from .sorting import CumProd

        type = result_type(x)
        kept = tuple(k for k in range(type.rank) if k not in self.axes)
        order = (*kept, *self.axes)
        rows = tuple(type.dims[k] for k in kept)
        last = len(kept)
        moved = emit(Transpose(order), x)
        flat = emit(Reshape((*rows, self.count(type))), moved)
        before = emit(CumProd(last, exclusive=True), flat)
        after = emit(CumProd(last, exclusive=True, reverse=True), flat)
        others = emit(Reshape(result_type(moved).dims), emit(Mul(), before, after))
        others = emit(Transpose(tuple(np.argsort(order).tolist())), others)
        return emit(Mul(), self.spread(emit, dy, x), others)


@dataclass(frozen=True)
class Norm(Widened):
    """Base of reductions with elementwise functions before or after; narrow floats round once."""

    axes: tuple[int, ...]


@dataclass(frozen=True)
class ReduceL1(Norm):
    """Sum of absolute values over ``axes``. ONNX: ReduceL1-18."""

    name: ClassVar[str] = "reduce_l1"

    def formula(self, emit: Emitter, *inputs: Value) -> Values:
        """Emit ``sum |x|``."""
        return (emit(ReduceSum(self.axes), emit(Abs(), inputs[0])),)


@dataclass(frozen=True)
class ReduceSumSquare(Norm):
    """Sum of squares over ``axes``. ONNX: ReduceSumSquare-18."""

    name: ClassVar[str] = "reduce_sum_square"

    def formula(self, emit: Emitter, *inputs: Value) -> Values:
        """Emit ``sum x * x``."""
        (x,) = inputs
        return (emit(ReduceSum(self.axes), emit(Mul(), x, x)),)


@dataclass(frozen=True)
class ReduceL2(Norm):
    """Square root of the sum of squares over ``axes``. ONNX: ReduceL2-18."""

    name: ClassVar[str] = "reduce_l2"

    def formula(self, emit: Emitter, *inputs: Value) -> Values:
        """Emit ``sqrt(sum x * x)``."""
        return (emit(Sqrt(), emit(ReduceSumSquare(self.axes), inputs[0])),)


@dataclass(frozen=True)
class ReduceLogSum(Norm):
    """Logarithm of the sum over ``axes``. ONNX: ReduceLogSum-18."""

    name: ClassVar[str] = "reduce_log_sum"

    def formula(self, emit: Emitter, *inputs: Value) -> Values:
        """Emit ``log(sum x)``."""
        return (emit(Log(), emit(ReduceSum(self.axes), inputs[0])),)


@dataclass(frozen=True)
class ReduceLogSumExp(Norm):
    """``log(sum(exp(x)))`` over ``axes`` without overflow. ONNX: ReduceLogSumExp-18.

    The largest element is subtracted before and added after, unless it is infinite, when
    the plain formula gives the exact answer.
    """

    name: ClassVar[str] = "reduce_log_sum_exp"

    def formula(self, emit: Emitter, *inputs: Value) -> Values:
        """Emit ``m + log(sum(exp(x - m)))`` with the largest element ``m``."""
        (x,) = inputs
        largest = emit(ReduceMax(self.axes), x)
        zero = emit.scalar_like(0, x)
        shift = emit(Select(), emit(IsInf(), largest), zero, largest)
        powers = emit(Exp(), emit(Sub(), x, expand_axes(emit, shift, self.axes)))
        return (emit(Add(), shift, emit(Log(), emit(ReduceSum(self.axes), powers))),)


def without(shape: tuple[Any, ...], axes: tuple[int, ...]) -> tuple[Any, ...]:
    """Return ``shape`` with the sizes of ``axes`` left out."""
    return tuple(n for k, n in enumerate(shape) if k not in axes)


def in_64_bits(x: Array) -> Array:
    """Return ``x`` in float64, int64, uint64 or complex128, whichever holds its type."""
    name = dtype_name(x.dtype)
    if name in FLOATS:
        return x.astype(np.float64)
    if name in INTEGERS:
        return x.astype(np.uint64 if name.startswith("u") else np.int64)
    return x


def limits(dtype: str) -> tuple[Any, Any]:
    """Return the least and the greatest value of an element type.

    >>> limits("int8"), limits("float16"), limits("bool")
    ((-128, 127), (-inf, inf), (False, True))
    """
    if dtype == "bool":
        return False, True
    if dtype in INTEGERS:
        info = ml_dtypes.iinfo(numpy_dtype(dtype))  # type: ignore[no-untyped-call]
        return int(info.min), int(info.max)
    if _has_infinity(dtype):
        return -math.inf, math.inf
    bounds = ml_dtypes.finfo(numpy_dtype(dtype))  # type: ignore[no-untyped-call]
    return float(bounds.min), float(bounds.max)


def _has_infinity(dtype: str) -> bool:
    return dtype in ("float16", "bfloat16", "float32", "float64", "float8_e5m2")


__all__ = [
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSum",
    "ReduceSumSquare",
]
