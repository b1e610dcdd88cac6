# SPDX-License-Identifier: MIT
"""Sums of floats as integers: exact, so that no order of additions changes them.

A finite float64 is a whole multiple of 2**-1127 below 2**2151. The sum is kept as such a whole
number, in digits of 32 bits; digits add up one by one, and carry only when the number is read.
"""

from __future__ import annotations

import numpy as np

from ...ir import Array

UNIT = -1127
DIGITS = 70
WIDTH = DIGITS + 3
"""Numbers of a sum: its digits, and how often NaN, inf and -inf were added."""

_CHUNK = 1 << 24
"""Elements added at once: their halves of 27 bits add up to less than 2**53."""


def digits_of(values: Array) -> Array:
    """Return the sum of all elements as int64 (WIDTH).

    >>> import numpy as np
    >>> quotient_of(digits_of(np.array([1e100, 1.0, -1e100])), 1)
    1.0
    """
    flat = np.asarray(values, np.float64).reshape(-1)
    finite = np.isfinite(flat)
    special = (int(np.isnan(flat).sum()), int((flat == np.inf).sum()), int((flat == -np.inf).sum()))
    if any(special):
        flat = flat[finite]
    total = sum(_whole(flat[k : k + _CHUNK]) for k in range(0, flat.size, _CHUNK))
    digits = np.empty(WIDTH, np.int64)
    for k in range(DIGITS - 1):
        digits[k] = total & 0xFFFFFFFF
        total >>= 32
    digits[DIGITS - 1] = total  # carries the sign
    digits[DIGITS:] = special
    return digits


def quotient_of(digits: Array, count: int) -> float:
    """Return the sum divided by ``count``, rounded once; NaN if that is 0."""
    nan, above, below = (int(n) for n in digits[DIGITS:])
    if not count or nan or (above and below):
        return float("nan")
    if above or below:
        return float("inf") if above else float("-inf")
    total = sum(int(d) << 32 * k for k, d in enumerate(digits[:DIGITS]))
    try:
        return total / (count << -UNIT)
    except OverflowError:
        return float("inf") if total > 0 else float("-inf")


def _whole(values: Array) -> int:
    """Return the sum of finite values as a multiple of ``2**UNIT``."""
    fractions, exponents = np.frexp(values)
    mantissas = np.ldexp(fractions, 53).astype(np.int64)
    places = exponents.astype(np.int64) - 53 - UNIT
    low = np.bincount(places, (mantissas & 0x3FFFFFF).astype(np.float64))
    high = np.bincount(places, (mantissas >> 26).astype(np.float64))
    return sum(
        (int(low[k]) << int(k)) + (int(high[k]) << int(k) + 26)
        for k in np.flatnonzero((low != 0) | (high != 0))
    )
