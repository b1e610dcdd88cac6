# SPDX-License-Identifier: MIT
"""Kills a process that saves checkpoints at every boundary of its system calls.

Run as a program: ``python kill_saves.py FOLDER`` prints how many boundaries there were, and ends
with an error if one of them left no checkpoint that can be read. ``--loop`` only saves, until
somebody kills it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from itertools import count
from pathlib import Path

import numpy as np

from ranvier.runtime.dtypes import Array
from ranvier.training.checkpoint import latest, prune, save_checkpoint

NO_PTRACE = 77
_TRACEME, _SYSCALL = 0, 24


def save(folder: Path, step: int) -> None:
    """Save a step, every array of which tells the step, and remove older ones."""
    arrays: dict[str, Array] = {"a": np.full(3000, step, np.float32), "b": np.array(step, np.int64)}
    save_checkpoint(folder, arrays, {"step": step})
    prune(folder, 2)


def read(folder: Path) -> int:
    """Return the step of the newest checkpoint; none may be damaged."""
    found = latest(folder)
    assert found.damaged == ()
    assert found.checkpoint is not None
    step = found.checkpoint.meta["step"]
    assert found.checkpoint.arrays["b"] == step
    assert (found.checkpoint.arrays["a"] == step).all()
    return int(step)


def kill_at(boundary: int, folder: Path, step: int) -> bool:
    """Save in a child that is killed at the given entry or exit of a system call.

    Returns whether it was killed; it was not if it had come to its end before.
    """
    ptrace = ctypes.CDLL(None, use_errno=True).ptrace
    ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    ptrace.restype = ctypes.c_long
    child = os.fork()
    if child == 0:
        if ptrace(_TRACEME, 0, None, None) != 0:
            os._exit(NO_PTRACE)
        os.kill(os.getpid(), signal.SIGSTOP)
        save(folder, step)
        os._exit(0)
    for passed in count():
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            if os.WEXITSTATUS(status) == NO_PTRACE:
                sys.exit(NO_PTRACE)
            assert os.WEXITSTATUS(status) == 0
            return False
        if passed == boundary:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return True
        if ptrace(_SYSCALL, child, None, None) != 0:
            sys.exit(NO_PTRACE)
    raise AssertionError("unreachable")


def main() -> None:
    """Kill at the first boundary, at the second, and so on until the save is over."""
    folder = Path(sys.argv[1])
    if "--loop" in sys.argv:
        for step in count(1):
            save(folder, step)
            os.write(1, b"%d\n" % step)
    save(folder, 0)
    before = 0
    for boundary in count():
        killed = kill_at(boundary, folder, before + 1)
        found = read(folder)
        assert found in {before, before + 1}
        assert killed or found == before + 1, "a save that returned is there"
        before = found
        if not killed:
            break
        prune(folder, 2)  # else every child has one more left-over to remove than the one before
    left = sorted(path.name for path in folder.iterdir())
    assert len(left) == 2, left
    os.write(1, b"%d\n" % boundary)


if __name__ == "__main__":
    main()
