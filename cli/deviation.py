# SPDX-License-Identifier: MIT
"""How far two values are apart."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..runtime.dtypes import Array, name_of_dtype
from ..runtime.keys import type_text

_TOLERANCES = {"float64": 1e-9, "complex128": 1e-9, "float32": 1e-4, "complex64": 1e-4}
_NARROW_TOLERANCE = 2e-2


@dataclass(frozen=True)
class Deviation:
    """The distance of a value from its reference.

    Attributes:
        error: largest difference, relative to the largest magnitude of the reference; of
            integers, booleans and strings the fraction of elements that differ.
        tolerance: what was allowed.
        problem: why the two cannot be compared, if so.
    """

    error: float
    tolerance: float
    problem: str = ""

    @property
    def agrees(self) -> bool:
        """Whether the error is within the tolerance."""
        return not self.problem and self.error <= self.tolerance

    def __str__(self) -> str:
        return self.problem or f"{self.error:.1e}"


def deviation(value: Any, reference: Any, tolerance: float | None = None) -> Deviation:
    """Return how far ``value`` is from ``reference``.

    Args:
        value: an array, a list of values, or ``None``.
        reference: likewise.
        tolerance: allowed error of floats; by element type if not given.

    >>> str(deviation(np.array([1.0, 2.0]), np.array([1.0, 2.5])))
    '2.0e-01'
    """
    if value is None or reference is None or isinstance(reference, list):
        return _of_lists(value, reference, tolerance)
    value, reference = np.asarray(value), np.asarray(reference)
    if type_text(value) != type_text(reference):
        return Deviation(np.inf, 0.0, f"{type_text(value)} instead of {type_text(reference)}")
    name = name_of_dtype(reference.dtype)
    if name == "bool" or "int" in name or name == "string":
        return Deviation(float((value != reference).mean()) if value.size else 0.0, 0.0)
    if tolerance is None:
        tolerance = tolerance_of([name])
    return Deviation(_relative_to_peak(value, reference), tolerance)


def tolerance_of(dtypes: Iterable[str]) -> float:
    """Return the error to allow where these element types take part: that of the narrowest.

    >>> tolerance_of(["float32", "int64", "float16"])
    0.02
    """
    floats = [d for d in dtypes if "float" in d or "complex" in d]
    return max((_TOLERANCES.get(d, _NARROW_TOLERANCE) for d in floats), default=0.0)


def _of_lists(value: Any, reference: Any, tolerance: float | None) -> Deviation:
    if value is None and reference is None:
        return Deviation(0.0, 0.0)
    if not isinstance(value, list) or not isinstance(reference, list):
        return Deviation(np.inf, 0.0, f"{type_text(value)} instead of {type_text(reference)}")
    if len(value) != len(reference):
        return Deviation(np.inf, 0.0, f"{len(value)} members instead of {len(reference)}")
    members = [deviation(v, r, tolerance) for v, r in zip(value, reference, strict=True)]
    return max(members, key=lambda d: (not d.agrees, d.error), default=Deviation(0.0, 0.0))


def _relative_to_peak(value: Array, reference: Array) -> float:
    wide = np.complex128 if reference.dtype.kind == "c" else np.float64
    a, b = value.astype(wide), reference.astype(wide)
    # Infinities and NaN must be in the same places; what is left is finite.
    finite = np.isfinite(b)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    if not (same | (finite & np.isfinite(a))).all():
        return np.inf
    if not finite.any():
        return 0.0
    worst = float(np.abs(a - b, where=finite, out=np.zeros(b.shape)).max())
    peak = float(np.abs(b, where=finite, out=np.zeros(b.shape)).max())
    return worst / peak if peak else worst
