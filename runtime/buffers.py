# SPDX-License-Identifier: MIT
"""Aligned memory: arrays that kernels can use as they are, and the blob of parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from weakref import WeakValueDictionary

import numpy as np

from ..errors import ArtifactError, ExecutionError
from .dtypes import Array, name_of_dtype
from .program import Program, TensorSpec

ALIGNMENT = 64
"""Bytes; kernels load and store whole vectors at addresses that are multiples of it."""


def aligned_empty(shape: Sequence[int], dtype: Any) -> Array:
    """Return an uninitialised array whose first byte is at a multiple of 64.

    >>> aligned_empty((3,), np.float32).ctypes.data % 64
    0

    Raises:
        ExecutionError: there is not enough memory.
    """
    kind = np.dtype(dtype)
    size = math.prod(shape) * kind.itemsize
    try:
        raw = np.empty(size + ALIGNMENT, np.uint8)
    except (MemoryError, ValueError):
        raise ExecutionError(f"not enough memory for an array of {size} bytes") from None
    start = -address(raw) % ALIGNMENT
    array: Array = raw[start : start + size].view(kind).reshape(tuple(shape))
    return array


def address(array: Array) -> int:
    """Return the address of an array's first element."""
    # Faster than `array.ctypes.data`, which builds an object each time.
    return int(array.__array_interface__["data"][0])


def is_ready(array: Array, spec: TensorSpec) -> bool:
    """Whether kernels can read ``array`` in place: native, contiguous and aligned."""
    return (
        array.dtype == spec.numpy_dtype
        and array.flags.c_contiguous
        and address(array) % ALIGNMENT == 0
    )


def as_ready(array: Array, spec: TensorSpec) -> Array:
    """Return ``array``, or an aligned copy where kernels cannot read it in place."""
    if is_ready(array, spec):
        return array
    copy = aligned_empty(array.shape, spec.numpy_dtype)
    copy[...] = array
    return copy


def as_bytes(array: Array) -> Array:
    """Return the bytes of a contiguous array as a flat view."""
    return array.reshape(-1).view(np.uint8)


class ParameterBlob:
    """The parameters of a program in one aligned block; programs that agree share it."""

    _known: ClassVar[WeakValueDictionary[object, ParameterBlob]] = WeakValueDictionary()

    def __init__(self, program: Program, arrays: Sequence[Array]) -> None:
        self.data = aligned_empty((program.parameter_bytes,), np.uint8)
        # Also keeps the arrays alive, whose identities are the blob's key.
        self.arrays = arrays
        for parameter, array in zip(program.parameters, arrays, strict=True):
            spec = parameter.spec
            place = self.data[parameter.offset : parameter.offset + spec.nbytes]
            place.view(spec.numpy_dtype).reshape(spec.dims)[...] = array

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


def _weight(name: str, spec: TensorSpec, weights: Mapping[str, Array]) -> Array:
    array = weights.get(name)
    if array is None:
        raise ArtifactError(f"parameter {name!r} has no array among the weights")
    if (name_of_dtype(array.dtype), array.shape) != (spec.dtype, spec.dims):
        found = f"{name_of_dtype(array.dtype)}{list(array.shape)}"
        raise ArtifactError(f"parameter {name!r} must be {spec}, its array is {found}")
    return array
