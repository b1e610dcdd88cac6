# SPDX-License-Identifier: MIT
"""Checkpoints: arrays and what belongs to them in one file that is there whole or not at all."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..errors import ArtifactError, CheckpointError
from ..runtime.atomic import atomic_file
from ..runtime.buffers import allocate
from ..runtime.dtypes import DTYPE_NAMES, Array, name_of_dtype
from ..runtime.strict_json import parse_object
from ..runtime.weights import parse_weights, write_weights

FORMAT = 1
"""Version of the file's layout."""

SUFFIX = ".safetensors"

_NAME = re.compile(r"step-(\d{9,18})\.safetensors")
_LEFT_OVER = re.compile(r"\.step-\d{9,18}\.safetensors\.[0-9a-f]+\.tmp")
_FORMAT, _META, _CHECKSUM = "ranvier.checkpoint", "ranvier.meta", "ranvier.sha256"
_BLANK = b"0" * 64
_LARGEST_META = 2**25
"""Bytes of JSON; a safetensors header may have 100 MB, in which quotes count twice."""

_CHUNK = 2**18
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds.

    Attributes:
        path: the file.
        arrays: by name, read-only.
        meta: JSON types by name.
    """

    path: Path
    arrays: Mapping[str, Array]
    meta: Mapping[str, Any]


@dataclass(frozen=True)
class Latest:
    """The newest checkpoint of a folder that can be read.

    Attributes:
        checkpoint: ``None`` if the folder has none at all.
        damaged: why newer ones were passed over; empty in a healthy folder.
    """

    checkpoint: Checkpoint | None = None
    damaged: tuple[CheckpointError, ...] = field(default=())


def checkpoint_path(folder: Path, step: int) -> Path:
    """Return the file of a step.

    >>> checkpoint_path(Path("run"), 1200).as_posix()
    'run/step-000001200.safetensors'
    """
    return folder / f"step-{step:09d}{SUFFIX}"


def save_checkpoint(folder: Path, arrays: Mapping[str, Array], meta: Mapping[str, Any]) -> Path:
    """Write the checkpoint of step ``meta["step"]`` into a folder and return its path.

    Args:
        folder: where to; made if it is not there.
        arrays: by name; any element type but strings.
        meta: JSON types by name, ``step`` among them.

    Raises:
        CheckpointError: it cannot be written; an older file of the step is untouched.
    """
    step = meta.get("step")
    if type(step) is not int or step < 0:
        raise CheckpointError(f"{folder}: meta['step'] is {step!r}, expected the steps done")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(f"{folder}: cannot make the folder ({error})") from error
    path = checkpoint_path(folder, step)
    write_checkpoint(path, arrays, meta)
    return path


def write_checkpoint(path: Path, arrays: Mapping[str, Array], meta: Mapping[str, Any]) -> None:
    """Write a checkpoint, which takes its name when it is whole and safe on the disk.

    The file is a safetensors file with these texts in its metadata: the format's version, the
    JSON of ``meta``, and the SHA-256 of the whole file with zeros in the place of the digest.

    Args:
        path: the file; one of that name is replaced.
        arrays: by name; any element type but strings.
        meta: JSON types by name.

    Raises:
        CheckpointError: it cannot be written; a file of that name is untouched.
    """
    texts = {_FORMAT: str(FORMAT), _CHECKSUM: _BLANK.decode(), _META: _meta_text(path, meta)}
    # By size of their elements: then each starts at a multiple of it, without padding.
    ready = {name: _ready(path, name, array) for name, array in arrays.items()}
    ordered = dict(sorted(ready.items(), key=lambda item: -item[1].dtype.itemsize))
    try:
        with atomic_file(path) as file:
            hashed = _Hashing(file)
            write_weights(hashed, ordered, metadata=texts)
            file.seek(hashed.place)
            file.write(hashed.digest())
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot write the checkpoint ({error}); what was there before is untouched"
        ) from error


def load_checkpoint(path: Path) -> Checkpoint:
    """Return the checkpoint in a file, all of it checked.

    Raises:
        CheckpointError: it is not there, damaged, of another version or no checkpoint.
    """
    data = _read(path)
    try:
        arrays, texts = parse_weights(path, data)
        if _FORMAT not in texts:
            raise CheckpointError(f"{path}: a weights file, but no checkpoint of a run")
        if texts[_FORMAT] != str(FORMAT):
            raise CheckpointError(
                f"{path}: written in format {texts[_FORMAT]!r:.20}, this version reads {FORMAT}; "
                f"use the version that wrote it"
            )
        _check_digest(path, data, texts.get(_CHECKSUM, ""))
        meta = parse_object(texts.get(_META, ""), f"{path}, meta")
    except ArtifactError as error:
        raise CheckpointError(f"damaged, or no checkpoint: {error}") from None
    for name in arrays:
        _check_name(path, name)
    return Checkpoint(path, arrays, meta)


def latest(folder: Path) -> Latest:
    """Return the newest checkpoint of a folder that can be read.

    Damaged ones are passed over with a warning in the log, and listed in the result.

    Raises:
        CheckpointError: there are checkpoints, but none can be read.
    """
    damaged: list[CheckpointError] = []
    for _, path in reversed(list(steps_in(folder))):
        try:
            return Latest(load_checkpoint(path), tuple(damaged))
        except CheckpointError as error:
            damaged.append(error)
            _log.warning("checkpoint passed over: %s", error)
    if damaged:
        raise CheckpointError(
            f"{folder}: none of {len(damaged)} checkpoints can be read; the newest: {damaged[0]}"
        )
    return Latest()


def steps_in(folder: Path) -> Iterator[tuple[int, Path]]:
    """Yield the steps that have a checkpoint in a folder, and the files, oldest first."""
    found = []
    for path in folder.iterdir() if folder.is_dir() else ():
        match = _NAME.fullmatch(path.name)
        if match is not None and path.is_file():
            found.append((int(match[1]), path))
    yield from sorted(found)


def prune(folder: Path, keep: int, protect: Collection[int] = ()) -> None:
    """Remove all but the last ``keep`` checkpoints, and what interrupted saves left.

    Args:
        folder: of one run, which nothing else writes to at the moment.
        keep: how many to keep.
        protect: steps whose checkpoints stay whatever their age.

    Raises:
        CheckpointError: a file cannot be removed.
    """
    old = [path for step, path in list(steps_in(folder))[:-keep] if step not in protect]
    parts = [path for path in folder.iterdir() if _LEFT_OVER.fullmatch(path.name)]
    for path in [*old, *parts]:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise CheckpointError(f"{path}: cannot remove an old checkpoint ({error})") from error


def claim_folder(folder: Path, step: int) -> None:
    """Make a folder ready for the checkpoints of a run that has done ``step`` steps.

    Damaged files of later steps, which ``latest`` passed over, are set aside: they are called
    ``.damaged`` from now on.

    Raises:
        CheckpointError: it cannot be made, or has sound checkpoints of later steps: they are
            of another run, or of this one's abandoned future, and would be mixed up with it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for later, path in list(steps_in(folder)):
            if later > step and _is_sound(path):
                raise CheckpointError(
                    f"{path}: is of step {later}, the run is at step {step}; resume from it, name "
                    f"another folder, or move this one away"
                )
            if later > step:
                path.replace(path.with_suffix(".damaged"))
                _log.warning("damaged checkpoint set aside: %s", path)
    except OSError as error:
        raise CheckpointError(f"{folder}: cannot be used for checkpoints ({error})") from error


def identity_of(parameters: Mapping[str, Array]) -> dict[str, str]:
    """Return what makes two models the same to a checkpoint: names and types of parameters.

    >>> identity_of({"weight": np.zeros((2, 3), np.float32)})
    {'weight': 'float32[2, 3]'}
    """
    return {
        name: f"{name_of_dtype(array.dtype)}[{', '.join(map(str, array.shape))}]"
        for name, array in parameters.items()
    }


def require_same_model(checkpoint: Checkpoint, identity: Mapping[str, str]) -> None:
    """Check that ``meta["model"]`` of a checkpoint is a model's ``identity_of``.

    Raises:
        CheckpointError: it is not; the message names parameters that differ.
    """
    stored = checkpoint.meta.get("model")
    if not isinstance(stored, dict):
        raise CheckpointError(f"{checkpoint.path}: does not say of which model it is")
    wrong = [f"the model lacks {name!r} ({stored[name]})" for name in stored.keys() - identity]
    wrong += [
        f"the checkpoint lacks {name!r} ({identity[name]})" for name in identity.keys() - stored
    ]
    wrong += [
        f"{name!r} is {stored[name]} in the checkpoint, {found} in the model"
        for name, found in identity.items()
        if name in stored and stored[name] != found
    ]
    if wrong:
        shown = "; ".join(sorted(wrong)[:5])
        rest = f"; and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise CheckpointError(
            f"{checkpoint.path}: is of another model: {shown}{rest}. To take over what fits, load "
            f"its parameters into the model instead of resuming"
        )


class _Hashing:
    """Writes through to a file and takes the digest, for which the header has a place."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._state = hashlib.sha256()
        self._size = 0
        self.place = -1

    def write(self, data: bytes | memoryview) -> None:
        if self.place < 0 and isinstance(data, bytes) and (start := _place(data)) >= 0:
            self.place = self._size + start
        self._size += len(data)
        self._state.update(data)
        self._file.write(data)

    def digest(self) -> bytes:
        return self._state.hexdigest().encode()


def _place(header: bytes) -> int:
    """Return where in the header the digest's text begins, -1 if nowhere.

    Within texts quotes are escaped, so that this cannot be found in one.
    """
    key = f'"{_CHECKSUM}":"'.encode()
    start = header.find(key)
    return start + len(key) if start >= 0 else -1


def _check_digest(path: Path, data: Array, digest: str) -> None:
    length = 8 + int.from_bytes(data[:8].tobytes(), "little")
    place = _place(data[:length].tobytes())
    state = hashlib.sha256()
    if place >= 0:
        state.update(data[:place].data)
        state.update(_BLANK)
        state.update(data[place + len(_BLANK) :].data)
    if place < 0 or state.hexdigest() != digest:
        raise CheckpointError(f"{path}: damaged: its checksum is not that of its content")


def _read(path: Path) -> Array:
    """Return the bytes of a file in one aligned block, read-only."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            block = allocate((size,), np.dtype(np.uint8)).array
            for start in range(0, size, _CHUNK):
                part = memoryview(block.data)[start : start + _CHUNK]
                if file.readinto(part) != len(part):
                    raise CheckpointError(f"{path}: became shorter while it was read")
    except OSError as error:
        raise CheckpointError(f"{path}: cannot read the checkpoint ({error})") from error
    if size < 8:
        raise CheckpointError(f"{path}: damaged: has {size} bytes, fewer than any checkpoint")
    block.flags.writeable = False
    return block


def _is_sound(path: Path) -> bool:
    try:
        load_checkpoint(path)
    except CheckpointError:
        return False
    return True


def _meta_text(path: Path, meta: Mapping[str, Any]) -> str:
    try:
        text = json.dumps(dict(meta), allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: meta has no place in JSON ({error})") from None
    if len(text) > _LARGEST_META:
        raise CheckpointError(
            f"{path}: meta has {len(text)} bytes, the file holds {_LARGEST_META}; store "
            f"large parts as arrays"
        )
    return text


def _ready(path: Path, name: str, array: Array) -> Array:
    """Return an array as it is written: in this machine's order of bytes."""
    _check_name(path, name)
    kind = name_of_dtype(array.dtype)
    if kind == "string" or kind not in DTYPE_NAMES:
        raise CheckpointError(f"{path}: array {name!r} is {array.dtype}, expected numbers")
    return np.asarray(array, array.dtype.newbyteorder("="))


def _check_name(path: Path, name: str) -> None:
    """Refuse names that would leave a folder, should someone unpack the file into one."""
    if (
        not name
        or name == "__metadata__"
        or not name.isprintable()
        or ".." in re.split(r"[/\\]", name)
    ):
        raise CheckpointError(
            f"{path}: an array is called {name!r:.80}; expected a printable name without '..'"
        )
