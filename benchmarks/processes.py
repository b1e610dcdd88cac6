# SPDX-License-Identifier: MIT
"""The parent's side of an engine's process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .engines import Unavailable

_LAST_CHARACTERS = 600


class EngineFailed(Exception):
    """An engine raised an error or died; the message tells what it said last."""


class EngineProcess:
    """A process of one engine, pinned to cores.

    Args:
        engine: the engine's name.
        cores: numbers of the cores that it may use; every thread that it starts inherits them.
        environment: variables for it besides the parent's.
        work: ``run`` or ``train``, see :data:`benchmarks.registry.Work`.
    """

    def __init__(
        self,
        engine: str,
        cores: Iterable[int],
        environment: Mapping[str, str] | None = None,
        work: str = "run",
    ) -> None:
        self.engine = engine
        # A file, not a pipe: nobody reads while the engine works.
        self._messages = tempfile.TemporaryFile("w+b")  # noqa: SIM115 - closed by close()
        allowed = os.sched_getaffinity(0)
        os.sched_setaffinity(0, cores)  # inherited by the child from its first instruction
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", f"{__package__}.worker", engine, work],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._messages,
                env={**os.environ, "PYTHONPATH": _python_path(), **(environment or {})},
                text=True,
            )
        finally:
            os.sched_setaffinity(0, allowed)

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Send a request and return the answer.

        Raises:
            Unavailable: the engine cannot take part.
            EngineFailed: it raised an error or died.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            code = self._process.wait()
            raise EngineFailed(f"the process ended with code {code}: {self._last_words()}")
        answer: dict[str, Any] = json.loads(line)
        if "unavailable" in answer:
            raise Unavailable(answer["unavailable"])
        if "failed" in answer:
            raise EngineFailed(answer["failed"])
        return answer

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        # A process that has died does not read what was still on its way to it.
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._messages.close()

    def _last_words(self) -> str:
        self._messages.seek(0)
        text = self._messages.read().decode("utf-8", "replace").strip()
        return text[-_LAST_CHARACTERS:] or "it said nothing"


@contextmanager
def engine_process(
    engine: str,
    cores: Iterable[int],
    environment: Mapping[str, str] | None = None,
    work: str = "run",
) -> Iterator[EngineProcess]:
    """Yield a process of an engine that ends with the block."""
    process = EngineProcess(engine, cores, environment, work)
    try:
        yield process
    finally:
        process.close()


def _python_path() -> str:
    """Return a path on which the child finds this package under the name it has here."""
    assert __package__ is not None
    depth = len(__package__.split("."))
    own = str(Path(__file__).absolute().parents[depth])
    return os.pathsep.join(p for p in (own, os.environ.get("PYTHONPATH", "")) if p)
