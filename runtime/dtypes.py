# SPDX-License-Identifier: MIT
"""Element types by name, without importing the IR: an artifact runs with NumPy alone."""

from __future__ import annotations

from typing import Any, TypeAlias

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from ..errors import ArtifactError

Array: TypeAlias = NDArray[Any]

_OWN = [f"{s}int{bits}" for s in ("", "u") for bits in (8, 16, 32, 64)]
_OWN += ["bool", "float16", "float32", "float64", "complex64", "complex128"]
_EXTENDED = ["bfloat16", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz"]
_EXTENDED += ["float8_e8m0fnu", "float4_e2m1fn", "int2", "uint2", "int4", "uint4"]
_DTYPES: dict[str, np.dtype[Any]] = {
    **{name: np.dtype(name) for name in _OWN},
    **{name: np.dtype(getattr(ml_dtypes, name)) for name in _EXTENDED},
    "string": np.dtype(object),
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
DTYPE_NAMES = frozenset(_DTYPES)


def dtype_named(name: str) -> np.dtype[Any]:
    """Return the NumPy or ml_dtypes type called ``name``; strings are objects.

    >>> dtype_named("bfloat16").itemsize
    2

    Raises:
        ArtifactError: no element type has this name.
    """
    try:
        return _DTYPES[name]
    except KeyError:
        known = ", ".join(sorted(_DTYPES))
        raise ArtifactError(f"unknown element type {name!r}; known: {known}") from None


def name_of_dtype(dtype: np.dtype[Any]) -> str:
    """Return the name of a NumPy type, or its own description where we have none.

    >>> name_of_dtype(np.dtype("<U5"))
    'string'
    """
    name = _NAMES.get(dtype)  # nearly always; the rest is slower
    if name is not None:
        return name
    if dtype.kind in "OUST":
        return "string"
    return _NAMES.get(dtype.newbyteorder("=")) or str(dtype)
