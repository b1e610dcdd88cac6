# SPDX-License-Identifier: MIT
"""Bases of elementwise ops: one operand, or two that broadcast in the NumPy way."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..op import Arrays, Cotangents, Kind, Op, Types, Values
from ..types import FLOATS, INTEGERS, Array, TensorType, Type, dtype_name
from .broadcasting import broadcast_types, unbroadcast

if TYPE_CHECKING:
    from ..emitter import Emitter
    from ..graph import Value

NUMBERS = FLOATS | INTEGERS
BOOLS = frozenset({"bool"})


class Elementwise(Op):
    """Base of ops whose result at an index depends on the operands at that index alone."""

    kind: ClassVar[Kind] = Kind.ELEMENTWISE
    accepts: ClassVar[frozenset[str]] = NUMBERS
    """Element types of the operands."""

    result: ClassVar[str | None] = None
    """Element type of the result; ``None`` when it is that of the operands."""

    def broadcast(self, inputs: Types, count: int) -> TensorType:
        """Return the type of the result of ``count`` operands of one accepted element type."""
        self.tensors(inputs, count)
        common = broadcast_types(self, *inputs)
        if common.dtype not in self.accepts:
            known = ", ".join(sorted(self.accepts))
            raise self.error(f"element type must be one of {known}; found {common.dtype}")
        return TensorType(self.result or common.dtype, common.shape)

    def rounded(self, result: Any, like: Array) -> Arrays:
        """Return ``result`` in the element type that the op gives for operands ``like``."""
        return (np.asarray(result).astype(np.bool_ if self.result else like.dtype, copy=False),)


class Unary(Elementwise):
    """Base of ``y = f(x)`` per element; shape and element type are those of ``x``."""

    def infer(self, *inputs: Type) -> Types:
        """Return the operand's type."""
        return (self.broadcast(inputs, 1),)

    def evaluate(self, *inputs: Any) -> Arrays:
        """Apply :meth:`function` and round to the element type."""
        (x,) = inputs
        return self.rounded(self.function(widened(x)), x)

    @abstractmethod
    def function(self, x: Array) -> Any:
        """Return ``f(x)`` in NumPy."""

    def vjp(
        self, emit: Emitter, inputs: Values, outputs: Values, cotangents: Cotangents
    ) -> Cotangents:
        """Return ``dx = dy * f'(x)`` by :meth:`derivative`, or no gradient where it has none."""
        from .arithmetic import Mul

        (dy,) = cotangents
        if dy is None:
            return (None,)
        slope = self.derivative(emit, inputs[0], outputs[0])
        return (None if slope is None else emit(Mul(), dy, slope),)

    def derivative(self, emit: Emitter, x: Value, y: Value) -> Value | None:
        """Emit ``f'(x)``; ``None`` where it is zero almost everywhere."""
        return None


class Binary(Elementwise):
    """Base of ``z = f(x, y)`` per element with NumPy broadcasting; both have one element type."""

    def infer(self, *inputs: Type) -> Types:
        """Return the broadcast type."""
        return (self.broadcast(inputs, 2),)

    def evaluate(self, *inputs: Any) -> Arrays:
        """Apply :meth:`function` and round to the element type."""
        x, y = inputs
        return self.rounded(self.function(widened(x), widened(y)), x)

    @abstractmethod
    def function(self, x: Array, y: Array) -> Any:
        """Return ``f(x, y)`` in NumPy."""

    def vjp(
        self, emit: Emitter, inputs: Values, outputs: Values, cotangents: Cotangents
    ) -> Cotangents:
        """Return both partial products, summed over broadcast axes."""
        (dz,) = cotangents
        if dz is None:
            return (None, None)
        partials = self.partials(emit, inputs[0], inputs[1], outputs[0], dz)
        return tuple(
            None if p is None else unbroadcast(emit, p, v)
            for p, v in zip(partials, inputs, strict=True)
        )

    def partials(
        self, emit: Emitter, x: Value, y: Value, z: Value, dz: Value
    ) -> tuple[Value | None, Value | None]:
        """Emit ``dz * df/dx`` and ``dz * df/dy`` in the broadcast shape.

        The default is no gradient, for functions that are piecewise constant.
        """
        return None, None


def widened(x: Array) -> Array:
    """Return ``x`` in the type that its arithmetic is done in.

    Floats below 32 bits are computed in float32 and integers below 8 bits in 8; the result
    is rounded or wrapped once, at the end of the op.

    >>> widened(np.ones(1, np.float16)).dtype
    dtype('float32')
    """
    name = dtype_name(x.dtype)
    if name in FLOATS and x.dtype.itemsize < 4:
        return x.astype(np.float32)
    if name in ("int2", "int4"):
        return x.astype(np.int8)
    if name in ("uint2", "uint4"):
        return x.astype(np.uint8)
    return x


def result_type(value: Value) -> TensorType:
    """Return the tensor type of ``value``; vjps use it to make scalars and shapes."""
    assert isinstance(value.type, TensorType)
    return value.type


__all__ = ["Binary", "Elementwise", "Unary", "result_type", "widened"]
