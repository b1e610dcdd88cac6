# SPDX-License-Identifier: MIT
"""A program's shared library: its entry points, and the block of numbers that they read."""

from __future__ import annotations

import _ctypes
import ctypes
import weakref
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..errors import ArtifactError


class Library:
    """A loaded library, unloaded when nobody holds it any more.

    ctypes releases the interpreter's lock for the time of a call.

    Attributes:
        run: takes the address of a call; runs its steps on the calling thread and the team.
        work: takes the addresses of a team and a thread's number; serves runs until dismissed.
        dismiss: takes the address of a team, whose workers return from ``work``.

    Raises:
        ArtifactError: the file is missing, damaged, or no library of a program.
    """

    def __init__(self, path: Path) -> None:
        try:
            loaded = ctypes.CDLL(str(path))
            weakref.finalize(self, _ctypes.dlclose, loaded._handle).atexit = False
            self.run = _entry(loaded, "run", ctypes.c_void_p)
            self.work = _entry(loaded, "work", ctypes.c_void_p, ctypes.c_int32)
            self.dismiss = _entry(loaded, "dismiss", ctypes.c_void_p)
        except (OSError, AttributeError) as error:
            raise ArtifactError(
                f"{path}: cannot be loaded as a compiled model ({error})"
            ) from error


def _entry(library: ctypes.CDLL, name: str, *arguments: Any) -> Any:
    function = library[f"ranvier_{name}"]
    function.argtypes = arguments
    function.restype = None
    return function


@lru_cache(maxsize=64)
def call_type(entries: int) -> type[ctypes.Structure]:
    """Return the type of a call: which steps, on how many threads, on which memory.

    Args:
        entries: addresses in the table: parameters, arena, inputs, outputs.
    """
    fields = [
        ("first", ctypes.c_int32),
        ("last", ctypes.c_int32),
        ("threads", ctypes.c_int32),
        ("team", ctypes.c_void_p),
        ("table", ctypes.c_void_p * entries),
    ]
    return type("Call", (ctypes.Structure,), {"_fields_": fields})
