# SPDX-License-Identifier: MIT
"""Which cores to use, and one measurement at a time."""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ranvier.errors import InputError

_WATCH_SECONDS = 0.5


def idlest_cores(count: int) -> tuple[int, ...]:
    """Return the ``count`` least busy of the cores that this process may use.

    Raises:
        InputError: there are not that many.
    """
    allowed = sorted(os.sched_getaffinity(0))
    if count > len(allowed):
        raise InputError(f"{count} threads need as many cores; this process may use {len(allowed)}")
    before = _busy()
    time.sleep(_WATCH_SECONDS)
    after = _busy()
    ranked = sorted(allowed, key=lambda core: after.get(core, 0) - before.get(core, 0))
    return tuple(sorted(ranked[:count]))


def _busy() -> dict[int, int]:
    """Return the ticks that each core has worked since the machine started."""
    found: dict[int, int] = {}
    for line in Path("/proc/stat").read_text(encoding="ascii").splitlines():
        name, *ticks = line.split()
        if name.startswith("cpu") and name != "cpu":
            idle, waiting = 3, 4
            found[int(name[3:])] = sum(
                int(t) for k, t in enumerate(ticks) if k not in {idle, waiting}
            )
    return found


@contextmanager
def alone(say: Callable[[str], None]) -> Iterator[None]:
    """Hold off other benchmarks of this user: two at a time would measure each other."""
    path = Path(tempfile.gettempdir()) / f"ranvier-benchmarks-{os.getuid()}.lock"
    with path.open("w", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another benchmark is running; waiting for it to end")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
