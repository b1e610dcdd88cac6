# SPDX-License-Identifier: MIT
"""Element types and the types of values: tensors, sequences, optionals."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from ..errors import OpError

Array: TypeAlias = NDArray[Any]
Dim: TypeAlias = int | str
"""A dimension: a size, or the name of a size that is not known yet."""

_NUMPY: dict[str, np.dtype[Any]] = {
    "bool": np.dtype(np.bool_),
    **{f"{s}int{b}": np.dtype(f"{s}int{b}") for s in ("", "u") for b in (8, 16, 32, 64)},
    **{f"float{b}": np.dtype(f"float{b}") for b in (16, 32, 64)},
    **{f"complex{b}": np.dtype(f"complex{b}") for b in (64, 128)},
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "float8_e4m3fn": np.dtype(ml_dtypes.float8_e4m3fn),
    "float8_e4m3fnuz": np.dtype(ml_dtypes.float8_e4m3fnuz),
    "float8_e5m2": np.dtype(ml_dtypes.float8_e5m2),
    "float8_e5m2fnuz": np.dtype(ml_dtypes.float8_e5m2fnuz),
    "float8_e8m0fnu": np.dtype(ml_dtypes.float8_e8m0fnu),
    "float4_e2m1fn": np.dtype(ml_dtypes.float4_e2m1fn),
    **{f"{s}int{b}": np.dtype(getattr(ml_dtypes, f"{s}int{b}")) for s in ("", "u") for b in (2, 4)},
    "string": np.dtype(object),
}
_NAMES = {dtype: name for name, dtype in _NUMPY.items()}

INTEGERS = frozenset(f"{s}int{b}" for s in ("", "u") for b in (2, 4, 8, 16, 32, 64))
FLOATS = frozenset(n for n in _NUMPY if n.startswith(("float", "bfloat")))
DTYPES = frozenset(_NUMPY)


def numpy_dtype(name: str) -> np.dtype[Any]:
    """Return the NumPy (or ml_dtypes) type that holds one element of ``name`` per item.

    Sub-byte types hold one element per byte, as ml_dtypes does.

    >>> numpy_dtype("bfloat16").itemsize
    2
    """
    try:
        return _NUMPY[name]
    except KeyError:
        raise OpError(
            f"unknown element type {name!r}; known: {', '.join(sorted(_NUMPY))}"
        ) from None


def dtype_name(dtype: np.dtype[Any]) -> str:
    """Return the IR name of a NumPy type; strings of any kind are ``string``.

    >>> dtype_name(np.dtype("float32"))
    'float32'
    """
    if dtype.kind in "OUST":
        return "string"
    try:
        return _NAMES[dtype.newbyteorder("=")]
    except KeyError:
        raise OpError(f"array type {dtype} has no counterpart in the IR") from None


@dataclass(frozen=True)
class TensorType:
    """Element type and shape; a named dimension is symbolic.

    >>> str(TensorType("float32", ("N", 3)))
    'float32[N, 3]'
    """

    dtype: str
    shape: tuple[Dim, ...]

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join(map(str, self.shape))}]"

    @property
    def rank(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def is_static(self) -> bool:
        """Whether every dimension is a number."""
        return all(isinstance(d, int) for d in self.shape)

    @property
    def dims(self) -> tuple[int, ...]:
        """The shape as numbers.

        Raises:
            OpError: a dimension is symbolic.
        """
        sizes = tuple(d for d in self.shape if isinstance(d, int))
        if len(sizes) != len(self.shape):
            raise OpError(f"{self} has symbolic dimensions; bind them to sizes first")
        return sizes

    @property
    def size(self) -> int:
        """Number of elements of a static shape."""
        return math.prod(self.dims)

    @property
    def nbytes(self) -> int:
        """Bytes of the array that holds it (sub-byte elements take one byte each)."""
        return self.size * numpy_dtype(self.dtype).itemsize


@dataclass(frozen=True)
class SequenceType:
    """A host-side list of values of one type."""

    element: Type

    def __str__(self) -> str:
        return f"sequence<{self.element}>"


@dataclass(frozen=True)
class OptionalType:
    """A host-side value that may be absent (``None``)."""

    element: Type

    def __str__(self) -> str:
        return f"optional<{self.element}>"


@dataclass(frozen=True)
class UnknownType:
    """The type of a value in an imported graph before its inputs' shapes are known."""

    def __str__(self) -> str:
        return "?"


Type: TypeAlias = TensorType | SequenceType | OptionalType | UnknownType


def type_of(value: object) -> Type:
    """Return the type of a run-time value: an array, a list of values, or ``None``.

    >>> str(type_of(np.zeros((2, 3), np.float32)))
    'float32[2, 3]'
    """
    if value is None:
        return OptionalType(UnknownType())
    if isinstance(value, list):
        return SequenceType(type_of(value[0]) if value else UnknownType())
    array = np.asarray(value)
    return TensorType(dtype_name(array.dtype), tuple(int(d) for d in array.shape))
