# SPDX-License-Identifier: MIT
"""Arithmetic operators on emitted values, so that a formula in ``expand`` reads as one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from .arithmetic import Abs, Add, Div, Floor, Maximum, Minimum, Mod, Mul, Neg, Round, Sub
from .cast import Cast
from .comparison import And, GreaterEqual, Less, Or, Select
from .elementwise import result_type
from .shape import Reshape

if TYPE_CHECKING:
    from ..emitter import Emitter
    from ..graph import Value
    from ..op import Op

Number: TypeAlias = "Term | float | int"
Numbers: TypeAlias = Any
"""What a formula may be written for: an array, a number or a :class:`Term`."""


@dataclass(frozen=True)
class Term:
    """A tensor under construction; operators emit ops, numbers become scalars of its type."""

    emit: Emitter
    value: Value

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the tensor."""
        return result_type(self.value).dims

    def of(self, number: Number) -> Value:
        """Return a number as a scalar of this element type, a term as its value."""
        if isinstance(number, Term):
            return number.value
        return self.emit.scalar_like(number, self.value)

    def filled(self, number: Number) -> Term:
        """Return a number as a scalar of this element type."""
        return Term(self.emit, self.of(number))

    def apply(self, op: Op, *others: Number) -> Term:
        """Return ``op(self, *others)``."""
        return Term(self.emit, self.emit(op, self.value, *map(self.of, others)))

    def __add__(self, other: Number) -> Term:
        return self.apply(Add(), other)

    __radd__ = __add__

    def __sub__(self, other: Number) -> Term:
        return self.apply(Sub(), other)

    def __rsub__(self, other: Number) -> Term:
        return Term(self.emit, self.emit(Sub(), self.of(other), self.value))

    def __mul__(self, other: Number) -> Term:
        return self.apply(Mul(), other)

    __rmul__ = __mul__

    def __truediv__(self, other: Number) -> Term:
        return self.apply(Div(), other)

    def __rtruediv__(self, other: Number) -> Term:
        return self.filled(other).apply(Div(), self)

    def __mod__(self, other: Number) -> Term:
        return self.apply(Mod(), other)

    def __neg__(self) -> Term:
        return self.apply(Neg())

    def __abs__(self) -> Term:
        return self.apply(Abs())

    def __ge__(self, other: Number) -> Term:
        return self.apply(GreaterEqual(), other)

    def __lt__(self, other: Number) -> Term:
        return self.apply(Less(), other)

    def __and__(self, other: Term) -> Term:
        return self.apply(And(), other)

    def __or__(self, other: Term) -> Term:
        return self.apply(Or(), other)

    def clip(self, low: Number, high: Number) -> Term:
        """Return the nearest number from ``low`` to ``high``; NaN stays."""
        return self.apply(Maximum(), low).apply(Minimum(), high)

    def maximum(self, other: Number) -> Term:
        """Return the larger of two; NaN wins."""
        return self.apply(Maximum(), other)

    def minimum(self, other: Number) -> Term:
        """Return the smaller of two; NaN wins."""
        return self.apply(Minimum(), other)

    def floor(self) -> Term:
        """Round down."""
        return self.apply(Floor())

    def round(self) -> Term:
        """Round to nearest, ties to even."""
        return self.apply(Round())

    def cast(self, dtype: str) -> Term:
        """Convert to another element type."""
        return self if result_type(self.value).dtype == dtype else self.apply(Cast(dtype))

    def reshape(self, *shape: int) -> Term:
        """Return the same elements under another shape."""
        return self.apply(Reshape(shape))

    def where(self, yes: Term, no: Number) -> Term:
        """Return ``yes`` where this holds, else ``no``."""
        return Term(self.emit, self.emit(Select(), self.value, yes.value, yes.of(no)))
