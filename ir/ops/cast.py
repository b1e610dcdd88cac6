# SPDX-License-Identifier: MIT
"""Conversion between element types, by value and by bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..op import Arrays, Cotangents, Kind, Op, Types, Values
from ..types import FLOATS, INTEGERS, Array, TensorType, Type, dtype_name, numpy_dtype
from .elementwise import result_type, widened

if TYPE_CHECKING:
    from ..emitter import Emitter

CASTABLE = FLOATS | INTEGERS | {"bool"}
LARGEST = {
    "float8_e4m3fn": 448.0,
    "float8_e4m3fnuz": 240.0,
    "float8_e5m2": 57344.0,
    "float8_e5m2fnuz": 57344.0,
}
"""The largest finite numbers of the types that saturate."""

SCALE = "float8_e8m0fnu"
SCALE_BIAS = 127
SCALE_CODES = 255  # code 255 is NaN


@dataclass(frozen=True)
class Cast(Op):
    """The same numbers in another element type.

    From float to float: rounded to nearest, ties to even; float64 goes to bfloat16 and the
    8-bit and 4-bit floats by way of float32, as ml_dtypes does. Out of range becomes infinity,
    or NaN in a type without infinity; see ``saturate``. float4_e2m1fn always saturates and
    turns NaN into -0.
    From float to integer: truncated towards zero. What ONNX leaves undefined is defined: a
    number out of range is first clamped to int32 (for 32-bit unsigned and 64-bit types to
    int64, and upwards to uint64 for uint64), then cut as integers are; NaN is 0.
    From integer to integer: higher bits are discarded.
    To bool: whether it is not zero (NaN is true). From bool: 1 and 0.
    To float8_e8m0fnu, a power of two from 2**-127 to 2**127: see ``rounding``; negative
    numbers and NaN become NaN.

    Attributes:
        dtype: element type of the result.
        saturate: for the 8-bit floats, clamp numbers out of range, infinities included, to the
            largest finite number (for float8_e8m0fnu also to the smallest).
        rounding: to float8_e8m0fnu: ``up`` to the next power of two, ``down``, or ``nearest``
            with ties upwards.

    Gradient: ``dx = cast(dy)`` between floats, else none. ONNX: Cast-28, CastLike-28.

    References:
        P. Micikevicius et al., FP8 formats for deep learning, 2022 (arXiv:2209.05433);
        OCP Microscaling Formats (MX) Specification 1.0, 2023.

    >>> Cast("float8_e4m3fn").evaluate(np.array([1000.0]))[0].astype(float)
    array([448.])
    """

    name: ClassVar[str] = "cast"
    kind: ClassVar[Kind] = Kind.ELEMENTWISE
    dtype: str
    saturate: bool = True
    rounding: str = "up"

    def infer(self, *inputs: Type) -> Types:
        """Return the operand's shape with the new element type."""
        (x,) = self.tensors(inputs, 1)
        for dtype in (x.dtype, self.dtype):
            if dtype not in CASTABLE:
                raise self.error(f"cannot convert {x.dtype} to {self.dtype or 'nothing'}")
        if self.rounding not in ("up", "down", "nearest"):
            raise self.error(f"rounding must be up, down or nearest; found {self.rounding!r}")
        return (TensorType(self.dtype, x.shape),)

    def evaluate(self, *inputs: Any) -> Arrays:
        """Convert with ml_dtypes."""
        x = widened(inputs[0])
        if self.dtype == "bool":
            return (np.asarray(x != 0),)
        if self.dtype in INTEGERS:
            whole = _truncated(x, self.dtype) if x.dtype.kind == "f" else x
            return (whole.astype(numpy_dtype(self.dtype)),)
        if self.dtype == SCALE:
            return (_to_scale(x, self.saturate, self.rounding),)
        return (self._to_float(x),)

    def _to_float(self, x: Array) -> Array:
        target = numpy_dtype(self.dtype)
        if self.dtype in ("float64", "float32", "float16"):
            return x.astype(target)
        x = x.astype(np.float32)
        if self.saturate and self.dtype in LARGEST:
            x = np.clip(x, -LARGEST[self.dtype], LARGEST[self.dtype])
        return x.astype(target)

    def vjp(
        self, emit: Emitter, inputs: Values, outputs: Values, cotangents: Cotangents
    ) -> Cotangents:
        """Return ``dy`` in the operand's element type."""
        (dy,) = cotangents
        source = result_type(inputs[0]).dtype
        if dy is None or source not in FLOATS or self.dtype not in FLOATS:
            return (None,)
        return (emit(Cast(source), dy),)


@dataclass(frozen=True)
class Bitcast(Op):
    """The same bits read as another element type of equal width.

    A bool is eight bits, and any bits but zero read as bool are true.

    Attributes:
        dtype: element type of the result.

    No gradient: the numbers are unrelated. ONNX: BitCast-26.

    >>> hex(Bitcast("uint32").evaluate(np.float32(1.0))[0])
    '0x3f800000'
    """

    name: ClassVar[str] = "bitcast"
    kind: ClassVar[Kind] = Kind.ELEMENTWISE
    dtype: str

    def infer(self, *inputs: Type) -> Types:
        """Return the operand's shape with the new element type."""
        (x,) = self.tensors(inputs, 1)
        if not {x.dtype, self.dtype} <= CASTABLE:
            raise self.error(f"cannot read the bits of {x.dtype} as {self.dtype or 'nothing'}")
        if bit_width(x.dtype) != bit_width(self.dtype):
            raise self.error(
                f"{x.dtype} has {bit_width(x.dtype)} bits, {self.dtype} has "
                f"{bit_width(self.dtype)}; only types of equal width share their bits"
            )
        return (TensorType(self.dtype, x.shape),)

    def evaluate(self, *inputs: Any) -> Arrays:
        """View the bytes as the other type."""
        x = np.asarray(inputs[0])
        if self.dtype == "bool":
            return (np.asarray(x.view(np.uint8) != 0),)
        return (x.view(numpy_dtype(self.dtype)).copy(),)


@dataclass(frozen=True)
class CastString(Op):
    """Numbers as text, or text as numbers; executed on the host.

    To string: the shortest decimal text that reads back as the same number, with ``NaN``,
    ``INF`` and ``-INF``. From string: plain or scientific notation, ``INF``, ``+INF``,
    ``-INF`` and ``NaN`` in any case; text with a fraction is truncated for integers.

    Attributes:
        dtype: element type of the result; it or that of the operand is ``string``.
        saturate: as in :class:`Cast`.

    No gradient. ONNX: Cast-28 from and to strings.

    >>> CastString("float32").evaluate(np.array(["1.5", "-inf"], object))[0]
    array([ 1.5, -inf], dtype=float32)
    """

    name: ClassVar[str] = "cast_string"
    kind: ClassVar[Kind] = Kind.HOST
    dtype: str
    saturate: bool = True

    def infer(self, *inputs: Type) -> Types:
        """Return the operand's shape with the new element type."""
        (x,) = self.tensors(inputs, 1)
        if (x.dtype == "string") == (self.dtype == "string"):
            raise self.error(f"one of {x.dtype} and {self.dtype} must be string")
        if not {x.dtype, self.dtype} <= CASTABLE | {"string"}:
            raise self.error(f"cannot convert {x.dtype} to {self.dtype}")
        return (TensorType(self.dtype, x.shape),)

    def evaluate(self, *inputs: Any) -> Arrays:
        """Format or parse element by element."""
        x = np.asarray(inputs[0])
        if self.dtype == "string":
            return (np.array([_text(v) for v in x.ravel()], object).reshape(x.shape),)
        result = np.array([self._number(str(v)) for v in x.ravel()], object).reshape(x.shape)
        exact = np.int64 if self.dtype in INTEGERS and _fits(result) else np.float64
        return Cast(self.dtype, self.saturate).evaluate(result.astype(exact))

    def _number(self, text: str) -> int | float:
        try:
            return int(text) if self.dtype in INTEGERS else float(text)
        except ValueError:
            pass
        try:
            return float(text)
        except ValueError:
            raise self.error(f"{text!r} is not a number, needed for {self.dtype}") from None


def bit_width(dtype: str) -> int:
    """Return how many bits an element has; sub-byte types have 2 or 4.

    >>> bit_width("int4"), bit_width("float8_e4m3fn"), bit_width("bool")
    (4, 8, 8)
    """
    if dtype.startswith("float4"):
        return 4
    if dtype in INTEGERS:
        return int(dtype.lstrip("uint"))
    return 8 * numpy_dtype(dtype).itemsize


def _truncated(x: Array, dtype: str) -> Array:
    """Return floats as integers that still have to be cut to the width of ``dtype``."""
    whole = np.trunc(np.where(np.isnan(x), 0, x.astype(np.float64)))
    if dtype == "uint64":
        negative = _clamped(whole, np.int64).astype(np.uint64)
        return np.where(whole < 0, negative, _clamped(whole, np.uint64))
    return _clamped(whole, np.int64 if dtype in ("int64", "uint32") else np.int32)


def _clamped(whole: Array, dtype: type[np.integer[Any]]) -> Array:
    low, high = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    # float(high) may round up to the first number that does not fit: compare with >=.
    above, below = whole >= float(high), whole <= float(low)
    inside = np.where(above | below, 0, whole).astype(dtype)
    return np.where(above, np.array(high, dtype), np.where(below, np.array(low, dtype), inside))


def _to_scale(x: Array, saturate: bool, rounding: str) -> Array:
    """Return the power of two next to each number as float8_e8m0fnu."""
    x = x.astype(np.float64)
    fraction, exponent = np.frexp(x)  # x = fraction * 2**exponent with 0.5 <= fraction < 1
    threshold = {"up": 0.5, "nearest": 0.75, "down": 1.0}[rounding]
    over = fraction > threshold if rounding == "up" else fraction >= threshold
    code = exponent - 1 + over + SCALE_BIAS
    code = np.where(x == 0, -1, np.where(x == np.inf, SCALE_CODES, code))
    if saturate:
        code = np.clip(code, 0, SCALE_CODES - 1)
    invalid = (x < 0) | np.isnan(x) | (code < 0) | (code >= SCALE_CODES)
    bits = np.where(invalid, SCALE_CODES, code).astype(np.uint8)
    return bits.view(numpy_dtype(SCALE))


def _text(value: Any) -> str:
    if isinstance(value, np.bool_ | np.integer):
        return str(value)
    if dtype_name(np.asarray(value).dtype) in INTEGERS:
        return str(int(value))
    number = float(value)
    if not np.isfinite(number):
        return "NaN" if np.isnan(number) else ("INF" if number > 0 else "-INF")
    return str(value)


def _fits(numbers: Array) -> bool:
    info = np.iinfo(np.int64)
    return all(isinstance(v, int) and info.min <= v <= info.max for v in numbers.flat)


__all__ = ["CASTABLE", "Bitcast", "Cast", "CastString", "bit_width"]
