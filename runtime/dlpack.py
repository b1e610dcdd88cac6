# SPDX-License-Identifier: MIT
"""Tensors of other libraries as NumPy arrays over the same memory."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..errors import ArtifactError, InputError
from .dtypes import Array, dtype_named

_CPU = (1, 3)  # kDLCPU and kDLCUDAHost, memory that the processor can read
_PACKED = {"int2", "uint2", "int4", "uint4", "float4_e2m1fn"}


def array_from_dlpack(name: str, tensor: Any) -> Array:
    """Return a NumPy (or ml_dtypes) view of a tensor that speaks DLPack.

    Args:
        name: of the input, for messages.
        tensor: an object with ``__dlpack__`` and ``__dlpack_device__``.

    Raises:
        InputError: not such an object, not in main memory, or of an unknown element type.
    """
    if isinstance(tensor, np.ndarray):
        return tensor
    if not hasattr(tensor, "__dlpack__") or not hasattr(tensor, "__dlpack_device__"):
        raise InputError(
            f"input {name!r}: {type(tensor).__name__} does not support DLPack; "
            "pass a NumPy array to run instead"
        )
    device = int(tensor.__dlpack_device__()[0])
    if device not in _CPU:
        raise InputError(
            f"input {name!r} is on a device of DLPack type {device}; move it to the processor"
        )
    try:
        return np.from_dlpack(tensor)
    except (TypeError, ValueError, RuntimeError, BufferError):
        # NumPy refuses the element types it lacks; the memory is as good as any.
        return _extended(name, tensor)


def _extended(name: str, tensor: Any) -> Array:
    import tvm_ffi

    try:
        view = tvm_ffi.from_dlpack(tensor)
        dtype = dtype_named(str(view.dtype))
        if str(view.dtype) in _PACKED:
            raise InputError(
                f"input {name!r}: {view.dtype} is packed in DLPack; pass ml_dtypes arrays"
            )
        if not view.is_contiguous():
            raise InputError(f"input {name!r}: a tensor of {view.dtype} must be contiguous")
    except (ArtifactError, TypeError, ValueError, RuntimeError, BufferError) as error:
        raise InputError(f"input {name!r} cannot be taken over by DLPack: {error}") from error
    memory = _Memory(view, math.prod(view.shape) * dtype.itemsize)
    array: Array = np.asarray(memory).view(dtype).reshape(tuple(map(int, view.shape)))
    return array


class _Memory:
    """The bytes of a tensor for NumPy; an array over them keeps the tensor alive."""

    def __init__(self, tensor: Any, size: int) -> None:
        self.tensor = tensor
        self.__array_interface__ = {
            "version": 3,
            "typestr": "|u1",
            "shape": (size,),
            "data": (tensor.data_ptr(), True),
        }
