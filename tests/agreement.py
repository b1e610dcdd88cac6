# SPDX-License-Identifier: MIT
"""When two values, or a type and a value, agree."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import ml_dtypes
import numpy as np

from ranvier.ir import (
    Array,
    Graph,
    OptionalType,
    SequenceType,
    TensorType,
    Type,
    UnknownType,
    dtype_name,
    type_of,
)
from ranvier.ir.types import FLOATS

Compiled: TypeAlias = Callable[[Graph, Sequence[Any]], list[Any]]
"""What the fixture `compiled` is: runs a graph on inputs after compiling it."""


def assert_agree(
    actual: Any, expected: Any, rtol: float = 1e-5, atol: float = 1e-6, where: str = ""
) -> None:
    """Assert that two run-time values have one type and nearly the same elements.

    Integers, booleans and strings must be equal; NaN agrees with NaN. Narrow floating point
    types may differ by a few units in the last place whatever `rtol` says.
    """
    if expected is None:
        assert actual is None, f"{where}: {actual!r} instead of None"
    elif isinstance(expected, list):
        assert isinstance(actual, list), f"{where}: {actual!r} instead of a sequence"
        assert len(actual) == len(expected), f"{where}: length"
        for k, (a, e) in enumerate(zip(actual, expected, strict=True)):
            assert_agree(a, e, rtol, atol, f"{where}[{k}]")
    else:
        _assert_arrays_agree(np.asarray(actual), np.asarray(expected), rtol, atol, where)


def _assert_arrays_agree(
    actual: Array, expected: Array, rtol: float, atol: float, where: str
) -> None:
    assert str(type_of(actual)) == str(type_of(expected)), where
    name = dtype_name(actual.dtype)
    if name in FLOATS:
        wide = np.float64 if name == "float64" else np.float32
        rtol = max(rtol, 4 * _unit(actual))
        actual, expected = actual.astype(wide), expected.astype(wide)
    elif not name.startswith("complex"):
        _assert_equal(actual, expected, atol, where)
        return
    np.testing.assert_allclose(actual, expected, rtol, atol, err_msg=where)


def _unit(array: Array) -> float:
    """Return the distance from one to the next number of this type."""
    return float(ml_dtypes.finfo(array.dtype).eps)  # type: ignore[no-untyped-call]


def _assert_equal(actual: Array, expected: Array, atol: float, where: str) -> None:
    if atol < 1 or actual.dtype.kind in "OUSTb":
        np.testing.assert_array_equal(actual, expected, err_msg=where)
    else:  # quantised results that may round the other way say so with a whole number
        np.testing.assert_allclose(
            actual.astype(np.int64), expected.astype(np.int64), 0, atol, err_msg=where
        )


def type_mismatch(inferred: Type, value: Any, sizes: dict[str, int]) -> str:
    """Return why ``value`` is not of the type ``inferred``, or an empty text if it is.

    A named dimension may be any size, the same wherever the name occurs: ``sizes`` collects
    them over several calls.
    """
    if isinstance(inferred, UnknownType):
        return ""
    if isinstance(inferred, OptionalType):
        return "" if value is None else type_mismatch(inferred.element, value, sizes)
    if isinstance(inferred, SequenceType):
        if not isinstance(value, list):
            return f"inferred {inferred}, found {type_of(value)}"
        problems = (type_mismatch(inferred.element, v, sizes) for v in value)
        return next((p for p in problems if p), "")
    found = type_of(value)
    if not isinstance(found, TensorType) or found.dtype != inferred.dtype:
        return f"inferred {inferred}, found {found}"
    fits = found.rank == inferred.rank and all(
        sizes.setdefault(d, n) == n if isinstance(d, str) else d == n
        for d, n in zip(inferred.shape, found.dims, strict=True)
    )
    return "" if fits else f"inferred {inferred}, found {found}"
