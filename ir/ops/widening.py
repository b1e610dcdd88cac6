# SPDX-License-Identifier: MIT
"""Composites of float arithmetic that narrow types carry out in float32 and round once."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from ..op import Composite, Values
from ..types import FLOATS, TensorType, numpy_dtype

if TYPE_CHECKING:
    from ..emitter import Emitter
    from ..graph import Value


class Widened(Composite):
    """Base of composites whose operands of float16, bfloat16 or float8 are computed in float32.

    The results get the element type of the first operand back. Intermediate values are thus
    neither rounded nor overflow, in kernels as in the interpreter.
    """

    def expand(self, emit: Emitter, *inputs: Value) -> Values:
        """Emit :meth:`formula` between casts, which wide operands do not need."""
        self.tensors(tuple(v.type for v in inputs))
        results = self.formula(emit, *(widen(emit, v) for v in inputs))
        return tuple(narrow(emit, v, inputs[0]) for v in results)

    @abstractmethod
    def formula(self, emit: Emitter, *inputs: Value) -> Values:
        """Emit the function of wide operands and return its results."""


def widen(emit: Emitter, x: Value) -> Value:
    """Emit ``x`` in float32 if it is a narrower float; any other tensor is returned as it is."""
    from .cast import Cast

    assert isinstance(x.type, TensorType)
    narrow = x.type.dtype in FLOATS and numpy_dtype(x.type.dtype).itemsize < 4
    return emit(Cast("float32"), x) if narrow else x


def narrow(emit: Emitter, y: Value, like: Value) -> Value:
    """Emit ``y`` rounded to the element type of ``like``, the reverse of :func:`widen`."""
    from .cast import Cast

    assert isinstance(y.type, TensorType)
    assert isinstance(like.type, TensorType)
    if y.type.dtype == like.type.dtype or y.type.dtype not in FLOATS:
        return y
    return emit(Cast(like.type.dtype), y)
