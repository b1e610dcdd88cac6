# SPDX-License-Identifier: MIT
"""Reads tensor data kept in files beside the model, and in no other place."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PureWindowsPath
from typing import BinaryIO

from ..errors import ModelError, RanvierError


class ExternalData:
    """The files beside one model that its tensors may refer to.

    A location must be a relative path inside the model's folder. Links are not followed out of
    it, and only regular files are read: a model is data from strangers, and a path is the one
    thing in it that could reach the rest of the machine.

    Attributes:
        folder: folder of the model, ``None`` for a model that came as bytes.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._cache: dict[tuple[Path, int, int], bytes] = {}
        self._read: Counter[Path] = Counter()

    def read(self, location: str, offset: int, length: int | None, expected: int) -> bytes:
        """Return ``expected`` bytes of the file at ``location`` from ``offset``.

        Raises:
            ModelError: the location is outside the folder or no regular file, or offset and
                length do not fit the file or the tensor.
        """
        path = self._resolve(location)
        if offset < 0 or (length is not None and length != expected):
            raise ModelError(
                f"external data '{location}': offset {offset} and length {length} do not hold "
                f"the {expected} bytes that the tensor's shape needs"
            )
        key = (path, offset, expected)
        if key not in self._cache:
            self._cache[key] = self._load(path, location, offset, expected)
        return self._cache[key]

    def _resolve(self, location: str) -> Path:
        if self.folder is None:
            raise ModelError(
                f"external data '{location}': the model came as bytes, so there is no folder to "
                "read it from; load the model by its path or pass `folder`"
            )
        relative = Path(location)
        windows = PureWindowsPath(location)
        outside = relative.is_absolute() or windows.is_absolute() or windows.drive
        if not location or "\0" in location or outside or ".." in windows.parts:
            raise ModelError(
                f"external data {location!r}: only a relative path inside the model's folder is "
                "allowed"
            )
        folder = self.folder.resolve()
        path = (folder / relative).resolve()
        if not path.is_relative_to(folder):
            raise ModelError(
                f"external data '{location}': a link leads out of the model's folder; put the "
                "file itself there"
            )
        return path

    def _load(self, path: Path, location: str, offset: int, expected: int) -> bytes:
        with about(f"external data '{location}'"), open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            if offset + expected > size:
                raise ModelError(
                    f"the tensor needs bytes {offset} to {offset + expected}, the file has {size}"
                )
            # Tensors of one file do not overlap; many that do would multiply memory at will.
            self._read[path] += expected
            if self._read[path] > 2 * size:
                raise ModelError(f"tensors overlap to more than twice the file's {size} bytes")
            file.seek(offset)
            data = file.read(expected)
            if len(data) != expected:
                raise ModelError("the file shrank while it was read")
            return data


@contextmanager
def open_regular(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading if it is a regular one.

    Raises:
        ModelError: it is not, or cannot be opened.
    """
    # Not blocking: opening a named pipe would otherwise wait for a writer for ever.
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot be read: {error}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ModelError("not a regular file")
    with os.fdopen(descriptor, "rb") as file:
        yield file


@contextmanager
def about(what: str, unless: str = "\0") -> Iterator[None]:
    """Put ``what`` before the message of a typed error from within.

    A message that starts with ``unless`` says more than that already and is left alone.
    """
    try:
        yield
    except RanvierError as error:
        if str(error).startswith(unless):
            raise
        raise type(error)(f"{what}: {error}") from error
