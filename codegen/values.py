# SPDX-License-Identifier: MIT
"""What code generation asks of the types of values that are static tensors."""

from __future__ import annotations

from ..ir.graph import Value
from ..ir.types import TensorType, numpy_dtype


def in_buffer(value: Value) -> bool:
    """Whether a value lives in a buffer: a static tensor of numbers."""
    return (
        isinstance(value.type, TensorType) and value.type.is_static and value.type.dtype != "string"
    )


def dims(value: Value) -> tuple[int, ...]:
    """Return the shape of a tensor."""
    assert isinstance(value.type, TensorType)
    return value.type.dims


def dtype(value: Value) -> str:
    """Return the element type of a tensor."""
    assert isinstance(value.type, TensorType)
    return value.type.dtype


def itemsize(value: Value) -> int:
    """Return the bytes of one element of a tensor."""
    return int(numpy_dtype(dtype(value)).itemsize)


def nbytes(value: Value) -> int:
    """Return the bytes of a tensor that lies by itself."""
    assert isinstance(value.type, TensorType)
    return value.type.size * itemsize(value)


def rank(value: Value) -> int:
    """Return how many axes a tensor has; none of them for what is no tensor."""
    return value.type.rank if isinstance(value.type, TensorType) else 0
