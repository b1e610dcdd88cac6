# SPDX-License-Identifier: MIT
"""Elementary functions of float32 as polynomials, in operations that every target vectorises.

No call of the C library, no branch, no table: only sums, products, one quotient where it must
be, comparisons that become masks, and integer arithmetic on the bits. All functions follow
IEEE 754 for NaN, infinities and signed zeros, and results are right within 4 units in the last
place on the whole range, subnormal numbers included, with and without fused multiply-add.

A sum with a number so large that its last digit is worth 1 rounds to an integer and leaves the
integer in the low bits: no conversion, and no rounding instruction, which x86-64 lacks.

References:
    W. J. Cody and W. Waite, Software Manual for the Elementary Functions, 1980.
    S. L. Moshier, Methods and Programs for Mathematical Functions, 1989 (Cephes).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf, nan

from tvm import tirx
from tvm.script import tirx as T

from .base import Expr, dtype_of

Function = Callable[[Expr], Expr]

_FLOAT = "float32"
_ROUND = 1.5 * 2.0**23
"""The last digit of float32 numbers of this size is worth 1."""
_LOG2_E = 1.4426950408889634
# ln 2 in two parts; products of the first with integers below 2**14 are exact.
_LN_2 = (0.693359375, -2.12194440e-4)

# Coefficients from the lowest up, of least maximum relative error, each rounded in turn.
_EXPM1 = (0.5, 0.1666654497385025, 0.04166744649410248, 0.008366446942090988, 0.0013869843678548932)
"""``(e**r - 1 - r) / r**2`` for ``|r| <= ln(2) / 2``; error 1.4e-8 of ``e**r - 1``."""
_LOG1P = (
    *(0.3333333134651184, -0.250008225440979, 0.20001253485679626, -0.16623318195343018),
    *(0.1420116424560547, -0.13160021603107452, 0.12765666842460632, -0.07639968395233154),
)
"""``(ln(1 + f) - f + f**2 / 2) / f**3`` for ``1 + f`` from sqrt(1/2) to sqrt(2); error 6e-9."""
_ERFC = (
    *(-0.0033791717141866684, -0.6366193890571594, -0.10277772694826126, 0.019152626395225525),
    *(0.00016124431567732245, -0.0016678981482982635, 0.0006333263590931892),
    *(-0.0001177837184513919, 9.273031537304632e-06),
)
"""``ln(erfc(x)) / x + 1.125`` for x from 0 to 4; error 4e-9 of ``erf(x)``."""


class Steps:
    """Names intermediate results, so that each is computed once."""

    def __init__(self) -> None:
        self._named: list[tuple[Expr, Expr]] = []

    def __call__(self, value: Expr) -> Expr:
        """Return a name of ``value``."""
        name = tirx.Var("step", value.ty)
        self._named.append((name, value))
        return name

    def before(self, result: Expr) -> Expr:
        """Return ``result`` preceded by the named values it is made of."""
        for name, value in reversed(self._named):
            result = tirx.Let(name, value, result)
        return result


def for_float32(function: Function, otherwise: Function) -> Function:
    """Return ``function`` where the operand is float32, ``otherwise`` elsewhere."""
    return lambda x: function(x) if dtype_of(x) == _FLOAT else otherwise(x)


def exp(x: Expr) -> Expr:
    """Return ``e**x``: 0 and infinity beyond the range, subnormal results rounded once."""
    step = Steps()
    return step.before(_exp(step, step(x)))


def exp_of_negative(x: Expr) -> Expr:
    """Return ``e**x`` for ``x <= 0`` or NaN, in fewer operations."""
    step = Steps()
    return step.before(_exp_of_negative(step, step(x)))


def expm1(x: Expr) -> Expr:
    """Return ``e**x - 1`` without cancellation near 0."""
    step = Steps()
    x = step(x)
    rounded, rest = _reduced(step, _clamped(step, x, -18.0, 89.0), 126)
    power = _power_of_two(rounded)  # half of it, because twice the largest number is no number
    half = step(power)
    near = step(_expm1_of_small(rest))
    result = (half * near + (half - _f(0.5))) * _f(2)
    # Half of a subnormal number loses a digit.
    return step.before(tirx.Select(T.fabs(x) < _f(2.0**-25), x, result))


def log(x: Expr) -> Expr:
    """Return the natural logarithm; -inf of 0, NaN of negative numbers."""
    step = Steps()
    x = step(x)
    tiny = x < _f(2.0**-126)
    normal = tirx.Select(tiny, x * _f(2.0**23), x)
    exponent, mantissa = _split(step, normal)
    shift = tirx.Select(tiny, _f(23), _f(0))
    value = _log_of_parts(step, step(mantissa - _f(1)), step(tirx.Cast(_FLOAT, exponent) - shift))
    return step.before(_in_domain(x, x, value))


def log1p(x: Expr) -> Expr:
    """Return ``ln(1 + x)`` without cancellation near 0."""
    step = Steps()
    x = step(x)
    total = step(x + _f(1))
    # What the sum lost; the larger operand is subtracted first.
    lost = tirx.Select(x < _f(1), x - (total - _f(1)), _f(1) - (total - x))
    exponent, mantissa = _split(step, total)
    # Far out the loss does not matter, and its scale must remain a number.
    limited = tirx.Select(exponent < _i(30), exponent, _i(30))
    scale = T.reinterpret(_FLOAT, _i(127 << 23) - (limited << _i(23)))
    rest = step((mantissa - _f(1)) + lost * scale)
    value = step(_log_of_parts(step, rest, step(tirx.Cast(_FLOAT, exponent))))
    value = _in_domain(total, x, value)
    return step.before(tirx.Select(T.fabs(x) < _f(2.0**-25), x, value))


def tanh(x: Expr) -> Expr:
    """Return the hyperbolic tangent, ``-t / (t + 2)`` with ``t = e**(-2 |x|) - 1``."""
    step = Steps()
    x = step(x)
    doubled = step(T.fabs(x) * _f(-2))
    t = step(_expm1_of_negative(step, doubled))
    return step.before(_with_sign(tirx.Div(t, t + _f(2)), x))


def erf(x: Expr) -> Expr:
    """Return the error function, 1 - e**g with a polynomial g = ln(erfc(|x|))."""
    step = Steps()
    x = step(x)
    size = step(T.fabs(x))
    size = step(tirx.Select(_f(4) < size, _f(4), size))
    g = step(size * _f(-1.125) + size * _polynomial(step, _ERFC, size))
    return step.before(_with_sign(_expm1_of_negative(step, g), x))


def sigmoid(x: Expr) -> Expr:
    """Return the logistic function ``1 / (1 + e**-x)``, by way of ``e**-|x|``, which is finite."""
    step = Steps()
    x = step(x)
    small = step(_exp_of_negative(step, step(T.fabs(x) * _f(-1))))
    numerator = tirx.Select(x < _f(0), small, _f(1))
    return step.before(tirx.Div(numerator, small + _f(1)))


def _exp(step: Steps, x: Expr) -> Expr:
    rounded, rest = _reduced(step, _clamped(step, x, -104.0, 89.0), 2 * 127)
    value = _expm1_of_small(rest) + _f(1)
    # The scale in two halves: each is a number, and only the last product rounds.
    both = step(T.reinterpret("uint32", rounded) & _u(0x1FF))
    first = step(both >> _u(1))
    for exponent in (first, both - first):
        value = value * T.reinterpret(_FLOAT, exponent << _u(23))
    return value


def _exp_of_negative(step: Steps, x: Expr) -> Expr:
    """Return ``e**x`` for ``x <= 0``, subnormal results rounded once."""
    x = step(tirx.Select(_f(-104) > x, _f(-104), x))
    rounded, rest = _reduced(step, x, 127 + 24)  # 24 more keep all scales normal
    return (_expm1_of_small(rest) + _f(1)) * _power_of_two(rounded) * _f(2.0**-24)


def _expm1_of_negative(step: Steps, x: Expr) -> Expr:
    """Return ``e**x - 1`` for ``x <= 0``, right to the last digits near 0."""
    x = step(tirx.Select(_f(-18) > x, _f(-18), x))
    rounded, rest = _reduced(step, x, 127)
    scale = step(_power_of_two(rounded))
    return scale * _expm1_of_small(rest) + (scale - _f(1))


def _clamped(step: Steps, x: Expr, low: float, high: float) -> Expr:
    """Return ``x`` within bounds; NaN stays, because the comparisons with it are false."""
    x = step(tirx.Select(_f(low) > x, _f(low), x))
    return step(tirx.Select(_f(high) < x, _f(high), x))


def _reduced(step: Steps, x: Expr, bias: int) -> tuple[Expr, Expr]:
    """Return n as a float with ``n + bias`` in its low bits, and ``x - n ln(2)`` of least size."""
    rounded = step(x * _f(_LOG2_E) + _f(_ROUND + bias))
    n = step(rounded - _f(_ROUND + bias))
    rest = x - n * _f(_LN_2[0])
    return rounded, step(rest - n * _f(_LN_2[1]))


def _power_of_two(rounded: Expr) -> Expr:
    """Return the number whose biased exponent is in the low bits of ``rounded``."""
    return T.reinterpret(_FLOAT, T.reinterpret("uint32", rounded) << _u(23))


def _expm1_of_small(r: Expr) -> Expr:
    value = _f(_EXPM1[-1])
    for c in _EXPM1[-2::-1]:
        value = value * r + _f(c)
    return value * (r * r) + r


def _split(step: Steps, x: Expr) -> tuple[Expr, Expr]:
    """Return e and m with ``x = m 2**e`` and ``sqrt(1/2) <= m < sqrt(2)`` for normal ``x > 0``."""
    bits = step(T.reinterpret("int32", x) & _i(0x7FFFFFFF))
    exponent = step((bits - _i(0x3F3504F3)) >> _i(23))
    return exponent, T.reinterpret(_FLOAT, bits - (exponent << _i(23)))


def _log_of_parts(step: Steps, f: Expr, exponent: Expr) -> Expr:
    """Return ``ln(1 + f) + exponent ln(2)``, adding the small terms first."""
    square = step(f * f)
    small = _polynomial(step, _LOG1P, f) * (square * f) + exponent * _f(_LN_2[1])
    return (f + (small - square * _f(0.5))) + exponent * _f(_LN_2[0])


def _in_domain(argument: Expr, x: Expr, value: Expr) -> Expr:
    """Return the logarithm of ``argument``: ``value`` inside the domain, else its limits."""
    outside = tirx.Select(tirx.EQ(argument, _f(0)), _f(-inf), _f(nan))
    inside = tirx.Select(tirx.EQ(x, _f(inf)), _f(inf), value)
    return tirx.Select(argument > _f(0), inside, outside)


def _with_sign(value: Expr, x: Expr) -> Expr:
    """Return ``value`` with the sign of ``x``."""
    size = T.reinterpret("uint32", value) & _u(0x7FFFFFFF)
    return T.reinterpret(_FLOAT, size | (T.reinterpret("uint32", x) & _u(0x80000000)))


def _polynomial(step: Steps, coefficients: Sequence[float], x: Expr) -> Expr:
    """Return the polynomial by Estrin's scheme: pairs, then pairs of pairs.

    A chain of dependent sums as in Horner's is bound by their latency.
    """
    terms = [_f(c) for c in coefficients]
    while True:
        pairs = [low + high * x for low, high in zip(terms[::2], terms[1::2], strict=False)]
        terms = pairs + terms[2 * len(pairs) :]
        if len(terms) == 1:
            return terms[0]
        x = step(x * x)


def _f(number: float) -> Expr:
    return tirx.const(number, _FLOAT)


def _i(number: int) -> Expr:
    return tirx.const(number, "int32")


def _u(number: int) -> Expr:
    return tirx.const(number, "uint32")
