# SPDX-License-Identifier: MIT
"""Weights on disk: one safetensors file, one entry per distinct array."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from safetensors import SafetensorError, safe_open

from ..errors import ArtifactError
from .buffers import ALIGNMENT, allocate
from .dtypes import Array, name_of_dtype
from .program import TensorSpec
from .strict_json import parse_object

_NATIVE = {
    "bool": "BOOL",
    **{f"int{b}": f"I{b}" for b in (8, 16, 32, 64)},
    **{f"uint{b}": f"U{b}" for b in (8, 16, 32, 64)},
    **{f"float{b}": f"F{b}" for b in (16, 32, 64)},
}
_CHUNK = 2**18
"""Bytes that a processor's second-level cache holds."""
_TYPES = "ranvier.types"


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


class Writable(Protocol):
    """A file open for writing bytes."""

    def write(self, data: bytes | memoryview, /) -> object:
        """Append bytes."""


def write_weights(
    file: Writable,
    arrays: Mapping[str, Array],
    *,
    aligned: bool = False,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write arrays as safetensors; types that the format lacks are named in its metadata.

    Written here rather than by the library, which would hold a second copy in memory and
    reports a full disk as a text.

    Args:
        file: where to.
        arrays: by name, written in this order.
        aligned: also write tensors of padding between them, because the format allows no
            gaps, so that each starts and ends at a multiple of 64 bytes.
        metadata: texts by name to write along.
    """
    if aligned:
        arrays = _padded(arrays)
    specs = {k: TensorSpec(k, name_of_dtype(a.dtype), a.shape) for k, a in arrays.items()}
    types = {k: [s.dtype, *s.dims] for k, s in specs.items() if s.dtype not in _NATIVE}
    texts = {**(metadata or {}), **({_TYPES: json.dumps(types)} if types else {})}
    entries: dict[str, object] = {"__metadata__": texts} if texts else {}
    position = 0
    for key, array in arrays.items():
        dtype, shape = _stored_as(specs[key])
        offsets = [position, position + array.nbytes]
        entries[key] = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
        position += array.nbytes
    header = json.dumps(entries, separators=(",", ":")).encode()
    header += b" " * (-(8 + len(header)) % ALIGNMENT)
    file.write(len(header).to_bytes(8, "little"))
    file.write(header)
    for array in arrays.values():
        file.write(_bytes(array))


def _padded(arrays: Mapping[str, Array]) -> dict[str, Array]:
    padded: dict[str, Array] = {}
    for key, array in arrays.items():
        padded[key] = array
        gap = -array.nbytes % ALIGNMENT
        if gap:
            padded[f"padding-{len(padded)}"] = np.zeros(gap, np.uint8)
    return padded


def load_weights(
    path: Path, size: int, sha256: str, tensors: Iterable[StoredTensor]
) -> dict[str, Array]:
    """Return the arrays of a weights file, read at once into one aligned block.

    The checksum is taken while the bytes pass through the cache, so that they are read once.

    Raises:
        ArtifactError: the file is damaged or its entries are not those of ``tensors``.
    """
    block = allocate((size,), np.dtype(np.uint8)).array
    state = hashlib.sha256()
    try:
        with path.open("rb") as file:
            for start in range(0, size, _CHUNK):
                part = memoryview(block.data)[start : start + _CHUNK]
                if file.readinto(part) != len(part):
                    break
                state.update(part)
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error})") from error
    if state.hexdigest() != sha256:
        raise ArtifactError(f"{path}: checksum does not match, the file is damaged")
    block.flags.writeable = False
    return _arrays(path, block, tensors)


def read_weights(path: Path, tensors: Iterable[StoredTensor] | None = None) -> dict[str, Array]:
    """Return the arrays of a weights file by key, mapped read-only into memory.

    Args:
        path: a safetensors file.
        tensors: what to expect in it; what it says itself by default.

    Raises:
        ArtifactError: the file is damaged or its entries are not those of ``tensors``.
    """
    try:
        data = np.memmap(path, np.uint8, "r").view(np.ndarray)
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path}: cannot read the weights ({error})") from None
    return _arrays(path, data, tensors)


def parse_weights(path: Path, data: Array) -> tuple[dict[str, Array], dict[str, str]]:
    """Return the arrays in ``data``, the bytes of the file ``path``, and its texts by name.

    The arrays share memory with ``data``.

    Raises:
        ArtifactError: the file is damaged.
    """
    header, metadata, body = _split(path, data)
    tensors = _listed(header, metadata, str(path))
    try:
        arrays = {t.key: _view(body, header.get(t.key), t) for t in tensors}
    except (ValueError, OverflowError) as error:  # dimensions that NumPy cannot count
        raise ArtifactError(f"{path}: cannot read the weights ({error})") from None
    return arrays, {name: text for name, text in metadata.items() if name != _TYPES}


def _arrays(path: Path, data: Array, tensors: Iterable[StoredTensor] | None) -> dict[str, Array]:
    """Return the arrays in ``data``, the bytes of the file ``path``."""
    header, metadata, body = _split(path, data)
    if tensors is None:
        tensors = _listed(header, metadata, str(path))
    return {t.key: _view(body, header.get(t.key), t) for t in tensors}


def _split(path: Path, data: Array) -> tuple[dict[str, Any], dict[str, str], Array]:
    """Return the header of a weights file without its texts, the texts, and what follows."""
    try:
        # The library checks the header: offsets inside the file, sizes that fit the types.
        with safe_open(str(path), framework="np"):
            pass
        length = int.from_bytes(data[:8].tobytes(), "little")
        header = parse_object(data[8 : 8 + length].tobytes(), str(path))
    except (SafetensorError, OSError, ValueError) as error:
        raise ArtifactError(f"{path}: cannot read the weights ({error})") from None
    metadata = header.pop("__metadata__", {})
    return header, metadata, data[8 + length :]


def _listed(
    header: Mapping[str, Any], metadata: Mapping[str, str], where: str
) -> list[StoredTensor]:
    named = {code: name for name, code in _NATIVE.items()}
    types = parse_object(metadata.get(_TYPES, "{}"), f"{where}, metadata")
    tensors = []
    for key, entry in header.items():
        known = [named.get(entry["dtype"]), *entry["shape"]]
        stored: Any = types.get(key, known)
        parts: list[Any] = stored if isinstance(stored, list) and stored else [None]
        dtype, shape = parts[0], parts[1:]
        if not isinstance(dtype, str) or not all(type(n) is int and n >= 0 for n in shape):
            raise ArtifactError(f"{where}: tensor {key!r} has unknown type {entry['dtype']}")
        tensors.append(StoredTensor(key, dtype, tuple(shape)))
    return tensors


def _view(data: Array, entry: Any, tensor: StoredTensor) -> Array:
    spec = TensorSpec(tensor.key, tensor.dtype, tensor.shape)
    if entry is None:
        raise ArtifactError(f"the weights file lacks tensor {tensor.key}")
    expected = _stored_as(spec)
    if [entry["dtype"], entry["shape"]] != list(expected):
        raise ArtifactError(
            f"tensor {tensor.key} is {entry['dtype']}{entry['shape']}, the manifest says {spec}"
        )
    first, last = entry["data_offsets"]
    return data[first:last].view(spec.numpy_dtype).reshape(tensor.shape)


def _stored_as(spec: TensorSpec) -> tuple[str, list[int]]:
    if not spec.is_buffer:
        raise ArtifactError(f"{spec} has no place among the weights")
    if spec.dtype in _NATIVE:
        return _NATIVE[spec.dtype], list(spec.dims)
    return "U8", [spec.nbytes]


def _bytes(array: Array) -> memoryview:
    flat = np.ascontiguousarray(array).reshape(-1)
    return flat.view(np.uint8).data if flat.size else memoryview(b"")
