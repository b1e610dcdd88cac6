# SPDX-License-Identifier: MIT
"""Inputs and outputs as .npz files, and random inputs."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..runtime.atomic import atomic_file
from ..runtime.dtypes import Array
from ..runtime.program import OptionalSpec, SequenceSpec, TensorSpec, ValueSpec

_DAMAGED = (zipfile.BadZipFile, zlib.error, ValueError, EOFError, KeyError, MemoryError)


def load_arrays(path: Path) -> dict[str, Array]:
    """Return the arrays of a .npz file by name.

    Raises:
        InputError: the file is missing or damaged, or would run code to be read.
    """
    try:
        # Opened here, because np.load does not close a file that it cannot read.
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if isinstance(archive, np.ndarray):
                raise InputError(f"{path} holds one array; expected a .npz of named arrays")
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, *_DAMAGED) as error:
        raise InputError(f"{path}: cannot be read as .npz ({error})") from error


def save_arrays(path: Path, values: Mapping[str, Any]) -> None:
    """Write values as a .npz file, which appears whole or not at all.

    Members of a list are named ``name.0``, ``name.1``, ...; ``None`` is left out. Types that
    NumPy lacks are written as raw elements, which :func:`fit` reads back.
    """
    arrays: dict[str, Array] = {}
    for name, value in values.items():
        _flatten(name, value, arrays)
    with atomic_file(path) as file, zipfile.ZipFile(file, "w", allowZip64=True) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array, allow_pickle=False)


def fit(specs: Sequence[ValueSpec], arrays: Mapping[str, Array]) -> dict[str, Any]:
    """Return ``arrays`` as inputs: sequences put together, types that NumPy lacks restored."""
    rest = dict(arrays)
    feed: dict[str, Any] = {}
    for spec in specs:
        if spec.name in rest:
            feed[spec.name] = _restore(spec, rest.pop(spec.name))
        elif isinstance(spec, SequenceSpec):
            feed[spec.name] = _members(spec, rest)
        elif isinstance(spec, OptionalSpec):
            feed[spec.name] = None
    return {**feed, **rest}


def random_feed(
    specs: Sequence[ValueSpec], shapes: Mapping[str, Sequence[int]] | None, seed: int
) -> dict[str, Array]:
    """Return the same random inputs for the same ``seed``.

    Floats are normal, integers 0 or 1, which are valid as indices and as flags.

    Raises:
        InputError: a size is not known, or an input is not a tensor of numbers.
    """
    random = np.random.default_rng(seed)
    return {s.name: _random(s, (shapes or {}).get(s.name), random) for s in specs}


def _random(spec: ValueSpec, shape: Sequence[int] | None, random: np.random.Generator) -> Array:
    if not isinstance(spec, TensorSpec) or spec.dtype == "string":
        raise InputError(f"input {spec.name!r} is {spec}; give arrays with --inputs FILE.npz")
    if shape is None:
        if not spec.is_static:
            example = "x".join(str(d) if isinstance(d, int) else "1" for d in spec.shape)
            raise InputError(
                f"input {spec.name!r} is {spec}; give its sizes with "
                f"--shapes {spec.name}={example}, or arrays with --inputs FILE.npz"
            )
        shape = spec.dims
    kind = spec.numpy_dtype
    if kind.kind in "biu" or "int" in spec.dtype:
        return random.integers(0, 2, tuple(shape)).astype(kind)
    return np.asarray(random.standard_normal(tuple(shape))).astype(kind)


def _flatten(name: str, value: Any, arrays: dict[str, Array]) -> None:
    if isinstance(value, list | tuple):
        for k, item in enumerate(value):
            _flatten(f"{name}.{k}", item, arrays)
    elif value is not None:
        array = np.asarray(value)
        arrays[name] = array.astype(str) if array.dtype == object else array


def _members(spec: SequenceSpec, rest: dict[str, Array]) -> list[Any]:
    members: list[Any] = []
    while (name := f"{spec.name}.{len(members)}") in rest:
        array = rest.pop(name)
        members.append(array if spec.element is None else _restore(spec.element, array))
    return members


def _restore(spec: ValueSpec, array: Array) -> Array:
    if isinstance(spec, TensorSpec) and array.dtype.kind == "V":
        kind = spec.numpy_dtype
        if kind.kind == "V" and kind.itemsize == array.dtype.itemsize:
            return array.view(kind)
    return array
