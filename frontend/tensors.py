# SPDX-License-Identifier: MIT
"""Decodes ONNX tensors to arrays; sizes are checked before anything is allocated."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from onnx import SparseTensorProto, TensorProto

from ..errors import ModelError, UnsupportedError
from ..ir import Array, numpy_dtype
from .external import ExternalData

ELEMENT_TYPES: dict[int, str] = {
    TensorProto.FLOAT: "float32",
    TensorProto.UINT8: "uint8",
    TensorProto.INT8: "int8",
    TensorProto.UINT16: "uint16",
    TensorProto.INT16: "int16",
    TensorProto.INT32: "int32",
    TensorProto.INT64: "int64",
    TensorProto.STRING: "string",
    TensorProto.BOOL: "bool",
    TensorProto.FLOAT16: "float16",
    TensorProto.DOUBLE: "float64",
    TensorProto.UINT32: "uint32",
    TensorProto.UINT64: "uint64",
    TensorProto.COMPLEX64: "complex64",
    TensorProto.COMPLEX128: "complex128",
    TensorProto.BFLOAT16: "bfloat16",
    TensorProto.FLOAT8E4M3FN: "float8_e4m3fn",
    TensorProto.FLOAT8E4M3FNUZ: "float8_e4m3fnuz",
    TensorProto.FLOAT8E5M2: "float8_e5m2",
    TensorProto.FLOAT8E5M2FNUZ: "float8_e5m2fnuz",
    TensorProto.UINT4: "uint4",
    TensorProto.INT4: "int4",
    TensorProto.FLOAT4E2M1: "float4_e2m1fn",
    TensorProto.FLOAT8E8M0: "float8_e8m0fnu",
    TensorProto.UINT2: "uint2",
    TensorProto.INT2: "int2",
}
"""IR name of each element type of ONNX."""

SPARSE_ELEMENTS = 2**24
"""A sparse tensor is made dense up to this many elements."""

_BITS = {"uint4": 4, "int4": 4, "float4_e2m1fn": 4, "uint2": 2, "int2": 2}
_INT32_DATA = frozenset(
    {"int8", "uint8", "int16", "uint16", "int32", "bool", "float16", "bfloat16", *_BITS}
    | {"float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu"}
)
_FIELDS = {
    "float32": "float_data",
    "complex64": "float_data",
    "float64": "double_data",
    "complex128": "double_data",
    "int64": "int64_data",
    "uint32": "uint64_data",
    "uint64": "uint64_data",
    **dict.fromkeys(_INT32_DATA, "int32_data"),
}


def element_type(code: int) -> str:
    """Return the IR name of an ONNX element type.

    Raises:
        ModelError: the code is undefined.
    """
    try:
        return ELEMENT_TYPES[code]
    except KeyError:
        raise ModelError(f"element type {code} is undefined") from None


def array_of(tensor: TensorProto, external: ExternalData) -> Array:
    """Return the elements of a tensor; sub-byte types take one byte each.

    Raises:
        ModelError: the tensor's data do not match its element type and shape.
        UnsupportedError: the tensor is stored in segments.
    """
    dtype = element_type(tensor.data_type)
    shape = dimensions(tensor.dims)
    count = math.prod(shape)
    if tensor.HasField("segment"):
        raise UnsupportedError("tensors stored in segments are not supported; save the model whole")
    if dtype == "string":
        return _strings(tensor.string_data, count).reshape(shape)
    if tensor.data_location == TensorProto.EXTERNAL:
        return _from_bytes(_external(tensor, external, _size(dtype, count)), dtype, shape)
    if tensor.HasField("raw_data"):
        return _from_bytes(tensor.raw_data, dtype, shape)
    return _from_field(getattr(tensor, _FIELDS[dtype]), dtype, shape)


def dense_of(sparse: SparseTensorProto, external: ExternalData) -> Array:
    """Return a sparse tensor as a dense array.

    Raises:
        ModelError: values and indices do not fit the shape.
        UnsupportedError: the dense array would be too large.
    """
    shape = dimensions(sparse.dims)
    count = math.prod(shape)
    if count > SPARSE_ELEMENTS:
        raise UnsupportedError(
            f"a sparse tensor of {count} elements is not made dense (limit {SPARSE_ELEMENTS})"
        )
    values, indices = array_of(sparse.values, external), array_of(sparse.indices, external)
    if values.ndim != 1 or indices.dtype != np.int64 or len(indices) != len(values):
        raise ModelError(
            f"sparse tensor: {indices.dtype}{list(indices.shape)} indices do not match "
            f"{list(values.shape)} values"
        )
    flat = _linear(indices, shape)
    if flat.size and (flat.min() < 0 or flat.max() >= count):
        raise ModelError(f"sparse tensor: an index lies outside the shape {list(shape)}")
    dense = np.full(count, "", object) if values.dtype == object else np.zeros(count, values.dtype)
    dense[flat] = values
    return dense.reshape(shape)


def dimensions(dims: Iterable[int]) -> tuple[int, ...]:
    """Return a tensor's shape after checking that it is one."""
    shape = tuple(int(d) for d in dims)
    if len(shape) > 64:
        raise ModelError(f"a tensor has {len(shape)} dimensions; at most 64 are possible")
    if any(d < 0 for d in shape):
        raise ModelError(f"a tensor has the negative dimension {min(shape)}")
    return shape


def _linear(indices: Array, shape: tuple[int, ...]) -> Array:
    if indices.ndim == 1:
        return indices
    if indices.ndim != 2 or indices.shape[1] != len(shape):
        raise ModelError(
            f"sparse tensor: indices of shape {list(indices.shape)} for rank {len(shape)}"
        )
    if indices.size and ((indices < 0) | (indices >= np.array(shape))).any():
        raise ModelError(f"sparse tensor: an index lies outside the shape {list(shape)}")
    strides = np.cumprod((1, *shape[:0:-1]), dtype=np.int64)[::-1]
    return np.asarray(indices @ strides[: len(shape)])


def _size(dtype: str, count: int) -> int:
    bits = _BITS.get(dtype)
    return count * numpy_dtype(dtype).itemsize if bits is None else -(-count * bits // 8)


def _strings(data: Iterable[bytes], count: int) -> Array:
    items = list(data)
    if len(items) != count:
        raise ModelError(f"a string tensor of {count} elements holds {len(items)}")
    array = np.empty(count, object)
    array[:] = [text(item) for item in items]
    return array


def text(data: bytes) -> str:
    """Decode UTF-8.

    Raises:
        ModelError: the bytes are something else.
    """
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ModelError(f"the string {data[:40]!r} is not UTF-8") from None


def _external(tensor: TensorProto, external: ExternalData, expected: int) -> bytes:
    entries = {entry.key: entry.value for entry in tensor.external_data}
    try:
        offset = int(entries.get("offset") or 0)
        length = int(entries["length"]) if entries.get("length") else None
    except ValueError:
        raise ModelError(f"external data: offset or length is no number: {entries}") from None
    return external.read(entries.get("location", ""), offset, length, expected)


def _from_bytes(data: bytes, dtype: str, shape: tuple[int, ...]) -> Array:
    count = math.prod(shape)
    expected = _size(dtype, count)
    if len(data) != expected:
        raise ModelError(
            f"a tensor of {dtype}{list(shape)} needs {expected} bytes, has {len(data)}"
        )
    if dtype in _BITS:
        return _unpack(np.frombuffer(data, np.uint8), dtype, count).reshape(shape)
    if dtype == "bool":  # any non-zero byte is true
        return np.asarray(np.frombuffer(data, np.uint8) != 0).reshape(shape)
    array: Array = np.frombuffer(data, numpy_dtype(dtype)).reshape(shape)
    return array


def _from_field(data: Iterable[float], dtype: str, shape: tuple[int, ...]) -> Array:
    count = math.prod(shape)
    items = np.array(data, _field_type(dtype))
    bits = _BITS.get(dtype)
    expected = 2 * count if dtype.startswith("complex") else count
    if bits is not None:
        expected = -(-count * bits // 8)
    if items.size != expected:
        raise ModelError(
            f"a tensor of {dtype}{list(shape)} needs {expected} items of "
            f"{_FIELDS[dtype]}, has {items.size}"
        )
    if bits is not None:
        return _unpack(items.astype(np.uint8), dtype, count).reshape(shape)
    return _reinterpret(items, dtype).reshape(shape)


def _field_type(dtype: str) -> str:
    field = _FIELDS[dtype]
    return {
        "float_data": "float32",
        "double_data": "float64",
        "int32_data": "int32",
        "int64_data": "int64",
        "uint64_data": "uint64",
    }[field]


def _reinterpret(items: Array, dtype: str) -> Array:
    target = numpy_dtype(dtype)
    if dtype.startswith("complex"):
        return np.asarray(items.view(target))
    if dtype == "bool":
        return np.asarray(items != 0)
    if dtype in {"float16", "bfloat16"} or dtype.startswith("float8"):  # bits in integers
        return np.asarray(items.astype(f"uint{8 * target.itemsize}").view(target))
    converted: Array = items.astype(target)
    if not np.array_equal(converted, items, equal_nan=items.dtype.kind == "f"):
        raise ModelError(f"a tensor of {dtype} holds numbers outside the range of its type")
    return converted


def _unpack(packed: Array, dtype: str, count: int) -> Array:
    """Split bytes into elements, the first in the lowest bits."""
    bits = _BITS[dtype]
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    items = ((packed[:, None] >> shifts) & (2**bits - 1)).astype(np.uint8).ravel()[:count]
    if dtype.startswith("float"):
        return np.asarray(items.view(numpy_dtype(dtype)))
    signed: Array = items.astype(np.int8)
    if dtype.startswith("int"):
        signed = np.where(signed >= 2 ** (bits - 1), signed - 2**bits, signed)
    return signed.astype(numpy_dtype(dtype))
