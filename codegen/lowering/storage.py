# SPDX-License-Identifier: MIT
"""How element types are stored in buffers and computed with in kernels.

Targets know neither bfloat16 nor the 8-bit and 4-bit floats; they are taken apart and put
together here with integer instructions that every target has.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from tvm import tirx
from tvm.script import tirx as T

from ...errors import UnsupportedError

Expr: TypeAlias = Any


@dataclass(frozen=True)
class Minifloat:
    """The layout of a float of at most 8 bits: sign, exponent, mantissa from high to low.

    Attributes:
        exponent: bits of the exponent.
        mantissa: bits of the mantissa.
        bias: exponent field of numbers in [1, 2).
        largest: code of the largest finite number.
        overflow: code of numbers beyond it.
        nan: code of positive NaN.
        signed_nan: whether the sign of NaN is kept.
        negative_zero: whether -0 exists.
    """

    exponent: int
    mantissa: int
    bias: int
    largest: int
    overflow: int
    nan: int
    signed_nan: bool
    negative_zero: bool

    @property
    def sign(self) -> int:
        """The sign bit."""
        return 1 << (self.exponent + self.mantissa)

    @property
    def maximum(self) -> float:
        """The largest finite number."""
        fraction = 1 + (self.largest % (1 << self.mantissa)) / (1 << self.mantissa)
        return float(fraction * 2.0 ** ((self.largest >> self.mantissa) - self.bias))


MINIFLOATS = {
    "float8_e4m3fn": Minifloat(4, 3, 7, 0x7E, 0x7F, 0x7F, True, True),
    "float8_e4m3fnuz": Minifloat(4, 3, 8, 0x7F, 0x80, 0x80, False, False),
    "float8_e5m2": Minifloat(5, 2, 15, 0x7B, 0x7C, 0x7E, True, True),
    "float8_e5m2fnuz": Minifloat(5, 2, 16, 0x7F, 0x80, 0x80, False, False),
    "float4_e2m1fn": Minifloat(2, 1, 1, 0x7, 0x7, 0x8, True, True),
}
SCALE = "float8_e8m0fnu"

_SUB_BYTE = {"int4": 4, "int2": 2, "uint4": 4, "uint2": 2}
_COMPUTE = {
    "float16": "float32",
    "bfloat16": "float32",
    SCALE: "float32",
    **dict.fromkeys(MINIFLOATS, "float32"),
    **{d: d.rstrip("24") + "8" for d in _SUB_BYTE},
}
_STORAGE = {
    "bfloat16": "uint16",
    SCALE: "uint8",
    **dict.fromkeys(MINIFLOATS, "uint8"),
    **{d: d.rstrip("24") + "8" for d in _SUB_BYTE},
}
_NATIVE = frozenset(
    ["bool", "float16", "float32", "float64"]
    + [f"{s}int{b}" for s in ("", "u") for b in (8, 16, 32, 64)]
)
_FLOAT32_BIAS = 127
_FLOAT32_MANTISSA = 23
_FLOAT32_INFINITY = 0x7F800000


def compute_dtype(dtype: str) -> str:
    """Return the TVM type in which kernels compute with elements of an IR type."""
    if dtype in _COMPUTE:
        return _COMPUTE[dtype]
    if dtype in _NATIVE:
        return dtype
    raise UnsupportedError(f"element type {dtype!r} cannot be computed with in kernels")


def storage_dtype(dtype: str) -> str:
    """Return the TVM type of the buffer that holds elements of an IR type."""
    if dtype in _STORAGE:
        return _STORAGE[dtype]
    if dtype in _NATIVE:
        return dtype
    raise UnsupportedError(f"element type {dtype!r} cannot be stored by kernels")


def is_rounded(dtype: str) -> bool:
    """Whether a computed value must be rounded to be representable in the IR type."""
    return dtype in _COMPUTE


def has_storage(dtype: str) -> bool:
    """Whether kernels can hold elements of an IR type."""
    return dtype in _STORAGE or dtype in _NATIVE


def decode(dtype: str, stored: Expr) -> Expr:
    """Return the compute value of a stored element."""
    if dtype not in _COMPUTE:
        return stored
    if dtype == "float16":
        return _named(stored, partial(tirx.Cast, "float32"))
    if dtype in _SUB_BYTE:
        return _named(stored, partial(_decode_integer, dtype))
    decoder = _DECODERS.get(dtype) or partial(_decode_minifloat, MINIFLOATS[dtype])
    return _named(stored, lambda code: _named(tirx.Cast("uint32", code), decoder))


def encode(dtype: str, value: Expr) -> Expr:
    """Return the stored form of a compute value.

    Floats are rounded to nearest, ties to even. What is too large becomes infinity, NaN in
    types without infinity, and the largest number in float4_e2m1fn, which has neither.
    Integers lose their higher bits.
    """
    if dtype not in _COMPUTE:
        return value
    if dtype == "float16":
        return _named(value, partial(tirx.Cast, "float16"))
    if dtype in _SUB_BYTE:
        mask = tirx.const((1 << _SUB_BYTE[dtype]) - 1, compute_dtype(dtype))
        return _named(value, lambda x: x & mask)
    encoder = _ENCODERS.get(dtype) or partial(_encode_minifloat, MINIFLOATS[dtype])
    finish = partial(tirx.Cast, storage_dtype(dtype))
    return _named(
        value, lambda x: _named(T.reinterpret("uint32", x), lambda b: _named(encoder(b), finish))
    )


def _named(expr: Expr, use: Callable[[Expr], Expr]) -> Expr:
    """Return ``use(expr)`` with ``expr`` evaluated once.

    The let is the whole result, never a part of it, so that chains of lets can be taken apart.
    """
    variable = tirx.Var("bits", expr.ty)
    return tirx.Let(variable, expr, use(variable))


def _word(number: int) -> Expr:
    return tirx.const(number, "uint32")


def _decode_integer(dtype: str, stored: Expr) -> Expr:
    spare = tirx.const(8 - _SUB_BYTE[dtype], compute_dtype(dtype))
    return (stored << spare) >> spare  # the right shift extends the sign of signed types


def _decode_bfloat16(bits: Expr) -> Expr:
    return T.reinterpret("float32", bits << _word(16))


def _encode_bfloat16(bits: Expr) -> Expr:
    rounded = (bits + _word(0x7FFF) + ((bits >> _word(16)) & _word(1))) >> _word(16)
    nan = ((bits >> _word(16)) & _word(0x8000)) | _word(0x7FC0)
    magnitude = bits & _word(0x7FFFFFFF)
    return tirx.Select(magnitude > _word(_FLOAT32_INFINITY), nan, rounded)


def _decode_minifloat(kind: Minifloat, code: Expr) -> Expr:
    """Return the float32 of a code in the low bits of a uint32."""
    m = kind.mantissa
    # The higher bits of the byte of a sub-byte type are ignored.
    magnitude = code & _word(kind.sign - 1)
    normal = (magnitude << _word(_FLOAT32_MANTISSA - m)) + _word(
        (_FLOAT32_BIAS - kind.bias) << _FLOAT32_MANTISSA
    )
    step = tirx.const(2.0 ** (1 - kind.bias - m), "float32")
    subnormal = T.reinterpret("uint32", tirx.Cast("float32", magnitude) * step)
    bits = tirx.Select(magnitude < _word(1 << m), subnormal, normal)
    if kind.overflow != kind.largest:  # infinity and NaN are of the codes above the largest
        bits = _decode_special(kind, code, magnitude, bits)
    sign = (code & _word(kind.sign)) << _word(31 - kind.exponent - m)
    return T.reinterpret("float32", bits | sign)


def _decode_special(kind: Minifloat, code: Expr, magnitude: Expr, bits: Expr) -> Expr:
    nan = _word(0x7FC00000)
    if not kind.signed_nan:
        return tirx.Select(code == _word(kind.nan), nan, bits)
    bits = tirx.Select(magnitude > _word(kind.largest), nan, bits)
    if kind.overflow == kind.nan:
        return bits
    return tirx.Select(magnitude == _word(kind.overflow), _word(_FLOAT32_INFINITY), bits)


def _encode_minifloat(kind: Minifloat, bits: Expr) -> Expr:
    """Return the code of the float32 with these bits in the low bits of a uint32."""
    return _named(
        bits & _word(0x7FFFFFFF),
        lambda magnitude: _named(
            _rounded_magnitude(kind, magnitude),
            lambda code: _with_sign(kind, bits, magnitude, code),
        ),
    )


def _rounded_magnitude(kind: Minifloat, magnitude: Expr) -> Expr:
    shift = _FLOAT32_MANTISSA - kind.mantissa
    odd = (magnitude >> _word(shift)) & _word(1)
    rounded = (magnitude + _word((1 << (shift - 1)) - 1) + odd) >> _word(shift)
    normal = rounded - _word((_FLOAT32_BIAS - kind.bias) << kind.mantissa)
    # Adding this number rounds at the last bit of the subnormal numbers.
    magic = tirx.const(2.0 ** (1 - kind.bias + shift), "float32")
    subnormal = T.reinterpret("uint32", T.reinterpret("float32", magnitude) + magic)
    subnormal = subnormal - T.reinterpret("uint32", magic)
    smallest_normal = (_FLOAT32_BIAS - kind.bias + 1) << _FLOAT32_MANTISSA
    return tirx.Select(magnitude < _word(smallest_normal), subnormal, normal)


def _with_sign(kind: Minifloat, bits: Expr, magnitude: Expr, code: Expr) -> Expr:
    sign = (bits >> _word(31 - kind.exponent - kind.mantissa)) & _word(kind.sign)
    signed = code | sign
    if not kind.negative_zero:
        signed = tirx.Select(code == _word(0), _word(0), signed)
    large = code > _word(kind.largest)
    over = _word(kind.overflow)
    signed = tirx.Select(large, over if kind.overflow >= kind.sign else over | sign, signed)
    nan = _word(kind.nan) ^ sign if kind.signed_nan else _word(kind.nan)
    return tirx.Select(magnitude > _word(_FLOAT32_INFINITY), nan, signed)


def _decode_scale(code: Expr) -> Expr:
    smallest = _word(1 << (_FLOAT32_MANTISSA - 1))  # 2**-127 is subnormal in float32
    bits = tirx.Select(code == _word(0), smallest, code << _word(_FLOAT32_MANTISSA))
    nan = _word(0x7FC00000)
    return T.reinterpret("float32", tirx.Select(code == _word(255), nan, bits))


def _encode_scale(bits: Expr) -> Expr:
    """Round to the nearest power of two, halves up; what is not positive is NaN."""
    half = _word(1 << (_FLOAT32_MANTISSA - 1))
    normal = (bits + half) >> _word(_FLOAT32_MANTISSA)
    subnormal = tirx.Cast("uint32", bits > half)
    code = tirx.Select(bits < _word(1 << _FLOAT32_MANTISSA), subnormal, normal)
    # Negative numbers have larger bits than infinity.
    invalid = tirx.Or(bits == _word(0), bits >= _word(_FLOAT32_INFINITY))
    return tirx.Select(invalid, _word(255), code)


_DECODERS: dict[str, Callable[[Expr], Expr]] = {
    "bfloat16": _decode_bfloat16,
    SCALE: _decode_scale,
}
_ENCODERS: dict[str, Callable[[Expr], Expr]] = {
    "bfloat16": _encode_bfloat16,
    SCALE: _encode_scale,
}
