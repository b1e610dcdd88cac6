# SPDX-License-Identifier: MIT
"""Aligned memory: arrays that kernels can use as they are, and the blob of parameters."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple
from weakref import WeakValueDictionary

import numpy as np

from ..errors import ArtifactError, ExecutionError
from .dtypes import Array, name_of_dtype
from .program import Program, TensorSpec

ALIGNMENT = 64
"""Bytes; kernels load and store whole vectors at addresses that are multiples of it."""


_RAW = np.dtype(np.uint8)
_from_buffer: Callable[[Any], ctypes.c_char] = ctypes.c_char.from_buffer


class Block(NamedTuple):
    """An array that kernels can use as it is, and its address."""

    array: Array
    address: int


def allocate(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Block:
    """Return an uninitialised block.

    Raises:
        ExecutionError: there is not enough memory.
    """
    return Block(*allocate_bytes(math.prod(shape) * dtype.itemsize, shape, dtype))


def allocate_bytes(size: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[Array, int]:
    """Return an uninitialised array whose size has been worked out, and its address."""
    try:
        raw = np.empty(size + ALIGNMENT, _RAW)
    except (MemoryError, ValueError):
        raise ExecutionError(f"not enough memory for an array of {size} bytes") from None
    base = ctypes.addressof(_from_buffer(raw))
    start = -base % ALIGNMENT
    return np.ndarray(shape, dtype, raw, start), base + start


def aligned_empty(shape: Sequence[int], dtype: Any) -> Array:
    """Return an uninitialised array whose first byte is at a multiple of 64.

    >>> aligned_empty((3,), np.float32).ctypes.data % 64
    0

    Raises:
        ExecutionError: there is not enough memory.
    """
    return allocate(tuple(shape), np.dtype(dtype)).array


def ready_address(array: Array, dtype: np.dtype[Any]) -> int | None:
    """Return an array's address, ``None`` unless it is native, contiguous and aligned."""
    if array.dtype != dtype:
        return None
    try:
        address = ctypes.addressof(_from_buffer(array))  # refuses what is not contiguous
    except (BufferError, TypeError, ValueError):
        if not array.flags.c_contiguous:
            return None
        address = address_of(array)
    return None if address % ALIGNMENT else address


def address_of(array: Array) -> int:
    """Return the address of an array's first byte."""
    try:
        # A third of the time of NumPy's own answer, which counts in a small run.
        return ctypes.addressof(_from_buffer(array))
    except (BufferError, TypeError, ValueError):  # empty, read-only, strided, of another's type
        return int(array.__array_interface__["data"][0])


class ParameterBlob:
    """The parameters of a program in one aligned block; programs that agree share it.

    Arrays that already lie in memory as the program wants them are not copied.
    """

    _known: ClassVar[WeakValueDictionary[object, ParameterBlob]] = WeakValueDictionary()

    def __init__(self, program: Program, arrays: Sequence[Array]) -> None:
        # Also keeps the arrays alive, whose identities are the blob's key.
        self.arrays = arrays
        self.block = _in_place(program, arrays) or _copied(program, arrays)

    @classmethod
    def of(cls, program: Program, weights: Mapping[str, Array]) -> ParameterBlob:
        """Return the blob of a program's parameters.

        Raises:
            ArtifactError: an array is missing or is not what the program expects.
        """
        arrays = [_weight(p.name, p.spec, weights) for p in program.parameters]
        places = zip((p.offset for p in program.parameters), map(id, arrays), strict=True)
        key = (program.parameter_bytes, *places)
        blob = cls._known.get(key)
        if blob is None:
            blob = cls._known[key] = cls(program, arrays)
        return blob


def _copied(program: Program, arrays: Sequence[Array]) -> Block:
    block = allocate((program.parameter_bytes,), np.dtype(np.uint8))
    for parameter, array in zip(program.parameters, arrays, strict=True):
        spec = parameter.spec
        place = block.array[parameter.offset : parameter.offset + spec.nbytes]
        place.view(spec.numpy_dtype).reshape(spec.dims)[...] = array
    return block


def _in_place(program: Program, arrays: Sequence[Array]) -> Block | None:
    """Return the block that the arrays form if each lies at its parameter's offset.

    Only of memory that nobody writes to: not a writable array, not a file that may change.
    """
    # Without the empty ones, which NumPy places anywhere.
    filled = [(p.offset, a) for p, a in zip(program.parameters, arrays, strict=True) if a.size]
    if not filled or any(a.flags.writeable for _, a in filled):
        return None
    offset, first = filled[0]
    owner, base = _owner(first), address_of(first) - offset
    if type(owner) is not np.ndarray or owner.dtype != np.uint8 or base % ALIGNMENT:
        return None
    for offset, array in filled:
        if _owner(array) is not owner or address_of(array) != base + offset:
            return None
    start = base - address_of(owner)
    end = start + program.parameter_bytes
    whole = all(a.flags.c_contiguous for _, a in filled) and start >= 0 and end <= owner.size
    return Block(owner[start:end], base) if whole else None


def _owner(array: Array) -> Array:
    """Return the array whose memory ``array`` views."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def _weight(name: str, spec: TensorSpec, weights: Mapping[str, Array]) -> Array:
    array = weights.get(name)
    if array is None:
        raise ArtifactError(f"parameter {name!r} has no array among the weights")
    if (name_of_dtype(array.dtype), array.shape) != (spec.dtype, spec.dims):
        found = f"{name_of_dtype(array.dtype)}{list(array.shape)}"
        raise ArtifactError(f"parameter {name!r} must be {spec}, its array is {found}")
    return array
