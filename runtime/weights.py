# SPDX-License-Identifier: MIT
"""Weights on disk: one safetensors file, one entry per distinct array."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from ..errors import ArtifactError
from .atomic import HashingFile
from .dtypes import Array, dtype_named, name_of_dtype

_NATIVE = {
    "bool": "BOOL",
    **{f"int{b}": f"I{b}" for b in (8, 16, 32, 64)},
    **{f"uint{b}": f"U{b}" for b in (8, 16, 32, 64)},
    **{f"float{b}": f"F{b}" for b in (16, 32, 64)},
}
_ALIGNMENT = 64


@dataclass(frozen=True)
class StoredTensor:
    """An entry of the weights file with its true type; some are stored as bytes."""

    key: str
    dtype: str
    shape: tuple[int, ...]


def content_key(array: Array) -> str:
    """Return the name under which an array is stored: equal arrays are stored once."""
    head = f"{name_of_dtype(array.dtype)}{array.shape}".encode()
    state = hashlib.sha256(head)
    state.update(_bytes(array))
    return state.hexdigest()[:32]


def write_weights(path: Path, arrays: Mapping[str, Array]) -> tuple[int, str]:
    """Write a safetensors file and return its size and SHA-256.

    Written here rather than by the library, which would hold a second copy in memory and
    reports a full disk as a text.
    """
    entries: dict[str, object] = {}
    position = 0
    for key, array in arrays.items():
        dtype, shape = _stored_as(array)
        entries[key] = {
            "dtype": dtype,
            "shape": shape,
            "data_offsets": [position, position + array.nbytes],
        }
        position += array.nbytes
    header = json.dumps(entries, separators=(",", ":")).encode()
    header += b" " * (-(8 + len(header)) % _ALIGNMENT)
    with closing(HashingFile(path)) as file:
        file.write(len(header).to_bytes(8, "little"))
        file.write(header)
        for array in arrays.values():
            file.write(_bytes(array))
    return file.size, file.sha256


def read_weights(path: Path, tensors: Iterable[StoredTensor]) -> dict[str, Array]:
    """Return the arrays of a weights file by key.

    Raises:
        ArtifactError: the file is damaged or its entries are not those of ``tensors``.
    """
    try:
        with safe_open(str(path), framework="np") as file:
            names = set(file.keys())
            return {t.key: _restore(file.get_tensor(t.key), t) for t in tensors if _in(t, names)}
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise ArtifactError(f"{path}: cannot read the weights ({error})") from None


def _in(tensor: StoredTensor, names: set[str]) -> bool:
    if tensor.key not in names:
        raise ArtifactError(f"the weights file lacks tensor {tensor.key}")
    return True


def _restore(stored: Array, tensor: StoredTensor) -> Array:
    dtype = dtype_named(tensor.dtype)
    array = stored if tensor.dtype in _NATIVE else stored.reshape(-1).view(dtype)
    if array.dtype != dtype or (tensor.dtype in _NATIVE and array.shape != tensor.shape):
        raise ArtifactError(
            f"tensor {tensor.key} is {stored.dtype}{list(stored.shape)}, "
            f"the manifest says {tensor.dtype}{list(tensor.shape)}"
        )
    return array.reshape(tensor.shape)


def _stored_as(array: Array) -> tuple[str, list[int]]:
    name = name_of_dtype(array.dtype)
    if name == "string":
        raise ArtifactError("string arrays have no place among the weights")
    if name in _NATIVE:
        return _NATIVE[name], list(array.shape)
    return "U8", [array.nbytes]


def _bytes(array: Array) -> memoryview:
    flat = np.ascontiguousarray(array).reshape(-1)
    return flat.view(np.uint8).data if flat.size else memoryview(b"")
