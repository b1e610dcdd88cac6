# SPDX-License-Identifier: MIT
"""Quantiles of the normal distribution by additions, products, quotients and roots alone.

These are the same on every machine, unlike logarithms, so that drawn weights are.
"""

from __future__ import annotations

import math

import numpy as np

from ...ir import Array

# Numerators and denominators of the middle and the tails, highest power first.
_MIDDLE = (
    (2509.0809287301226727, 33430.575583588128105, 67265.770927008700853, 45921.953931549871457,
     13731.693765509461125, 1971.5909503065514427, 133.14166789178437745, 3.387132872796366608),
    (5226.495278852854561, 28729.085735721942674, 39307.89580009271061, 21213.794301586595867,
     5394.1960214247511077, 687.1870074920579083, 42.313330701600911252, 1.0),
)  # fmt: skip
_TAIL = (
    (7.7454501427834140764e-4, 0.0227238449892691845833, 0.24178072517745061177,
     1.27045825245236838258, 3.64784832476320460504, 5.7694972214606914055,
     4.6303378461565452959, 1.42343711074968357734),
    (1.05075007164441684324e-9, 5.475938084995344946e-4, 0.0151986665636164571966,
     0.14810397642748007459, 0.68976733498510000455, 1.6763848301838038494,
     2.05319162663775882187, 1.0),
)  # fmt: skip


def normal_quantile(p: Array) -> Array:
    """Return ``x`` with ``P(X <= x) = p`` for a standard normal ``X``, within 1e-15.

    Args:
        p: float64 from 2e-11 to ``1 - 2e-11``.

    >>> normal_quantile(np.array([0.5, 0.975])).round(4).tolist()
    [0.0, 1.96]

    References:
        Wichura, Algorithm AS 241: the percentage points of the normal distribution,
        Applied Statistics 37, 1988 (PPND16).
    """
    off = p - 0.5
    square = 0.180625 - off * off
    x = off * _ratio(_MIDDLE, square)
    far = square < 0
    tail = np.minimum(p[far], 1 - p[far])
    r = np.sqrt(-_log(tail)) - 1.6
    x[far] = np.copysign(_ratio(_TAIL, r), off[far])
    return x


def normal_probability(x: float) -> float:
    """Return ``P(X <= x)`` for a standard normal ``X``."""
    return (1 + math.erf(x / math.sqrt(2))) / 2


def _ratio(polynomials: tuple[tuple[float, ...], tuple[float, ...]], x: Array) -> Array:
    above, below = (_polynomial(p, x) for p in polynomials)
    found: Array = above / below
    return found


def _polynomial(coefficients: tuple[float, ...], x: Array) -> Array:
    total = np.full_like(x, coefficients[0])
    for c in coefficients[1:]:
        total *= x
        total += c
    return total


def _log(x: Array) -> Array:
    """Return the logarithm: that of a power of two, and a series for what is around 1."""
    mantissa, exponent = np.frexp(x)
    low = mantissa < math.sqrt(0.5)
    mantissa, exponent = np.where(low, 2 * mantissa, mantissa), exponent - low
    z = (mantissa - 1) / (mantissa + 1)
    series = _polynomial(tuple(1 / k for k in range(21, 0, -2)), z * z)
    found: Array = exponent * math.log(2) + 2 * z * series
    return found


__all__ = ["normal_probability", "normal_quantile"]
