# SPDX-License-Identifier: MIT
"""The threads of a session: workers that wait in the library's code for the next run.

A worker is a Python thread inside one native call, where it holds no lock of the interpreter:
it spins for the next run some hundred microseconds and then sleeps. See
:mod:`ranvier.codegen.spmd` for that code and for the layout of a team's memory.
"""

from __future__ import annotations

import os
import threading
import weakref

import numpy as np

from ..errors import ExecutionError, InputError
from .buffers import address_of, allocate
from .machine import usable_cores
from .native import Library

MAX_THREADS = 256
_DEFAULT_THREADS = 32
_TEAM_BYTES = 256


def thread_count(threads: object) -> int:
    """Return how many threads a session uses.

    Args:
        threads: a number, or ``None`` for one per processor core that this process may use
            (affinity and the container's quota count), at most 32. Two threads on one core
            share its arithmetic units and gain nothing.

    Raises:
        InputError: not a number from 1 to 256.
    """
    if threads is None:
        return min(usable_cores(), _DEFAULT_THREADS)
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
        raise InputError(f"threads must be a positive number or None, found {threads!r}")
    if threads > MAX_THREADS:
        raise InputError(f"threads must be at most {MAX_THREADS}, found {threads}")
    return threads


class Team:
    """Several threads that enter a program together: the caller and its workers.

    Attributes:
        threads: how many, the caller included.
        address: of the memory by which they meet.

    Raises:
        ExecutionError: the system refuses to start threads.
    """

    def __init__(self, threads: int, library: Library, lock: threading.Lock) -> None:
        self.threads = threads
        self._lock = lock
        self._hold = _Hold(library)
        self.address = self._hold.address
        self._finalizer = weakref.finalize(self, _dismiss, self._hold)
        for number in range(1, threads):
            # A daemon: it must not keep the interpreter from its end. It holds no reference
            # to the team, which ends with the session.
            worker = threading.Thread(
                target=_work, args=(self._hold, number), name=f"ranvier-{number}", daemon=True
            )
            try:
                worker.start()
            except RuntimeError as error:
                self._finalizer()
                raise ExecutionError(
                    f"cannot start thread {number} of {threads} ({error}); use fewer threads"
                ) from error

    @property
    def is_dismissed(self) -> bool:
        """Whether the workers have been sent away, as they are when the interpreter ends."""
        return not self._finalizer.alive

    def give_back(self) -> None:
        """Let the next run have the team, by the lock that this run has acquired."""
        self._lock.release()

    def prepare(self, library: Library) -> None:
        """Keep ``library`` loaded while a worker may be in it.

        A worker may leave a run's library late, but before the next run has ended.
        """
        self._hold.latest = (self._hold.latest[-1], library)


class _Hold:
    """What must live as long as a worker does."""

    def __init__(self, library: Library) -> None:
        self.library = library
        self.latest = (library, library)
        self.memory = allocate((_TEAM_BYTES,), np.dtype(np.uint8)).array
        self.memory[...] = 0
        self.address = address_of(self.memory)


def _work(hold: _Hold, number: int) -> None:
    hold.library.work(hold.address, number)


def _dismiss(hold: _Hold) -> None:
    hold.library.dismiss(hold.address)


class Workers:
    """Lends the team of a session to one run at a time.

    A second run at the same time works alone on its own thread: the processors are busy
    already, and waiting would take as long. The workers start with the first run that has
    work for them.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._team: Team | None = None
        self._lock = threading.Lock()
        _ALL.add(self)

    def borrow(self, library: Library) -> Team | None:
        """Return the team, to be given back after the run; ``None`` if there is none to lend.

        Raises:
            ExecutionError: the system refuses to start threads.
        """
        if self.threads == 1 or not self._lock.acquire(blocking=False):
            return None
        try:
            if self._team is None:
                self._team = Team(self.threads, library, self._lock)
            if not self._team.is_dismissed:
                self._team.prepare(library)
                return self._team
        except BaseException:
            self._lock.release()
            raise
        self._lock.release()
        return None

    def forget(self) -> None:
        """Start anew: a forked process has the memory of its parent but not the threads."""
        self._team = None
        self._lock = threading.Lock()


_ALL: weakref.WeakSet[Workers] = weakref.WeakSet()


def _forget_all() -> None:
    for workers in list(_ALL):
        workers.forget()


os.register_at_fork(after_in_child=_forget_all)
