# SPDX-License-Identifier: MIT
"""Other ways to run ranvier, and what only ranvier tells of itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .cases import Case
from .engines import Feed, Ranvier, Run, Unavailable, hide_torch


class RanvierArtifact:
    """ranvier as it is deployed: an artifact, without compiler and onnx."""

    name = "ranvier, artifact"
    packages = ("ranvier", "apache-tvm-ffi")
    needs_module = False

    def load(self) -> None:
        """Import the runtime alone."""
        hide_torch()
        import ranvier.runtime.session  # noqa: F401

    def prepare(self, case: Case, threads: int) -> Run:
        """Return the run of the artifact at the case's path."""
        from ranvier.errors import UnsupportedError
        from ranvier.runtime.session import Session

        try:
            session = Session(case.model, threads=threads)
        except UnsupportedError as error:
            raise Unavailable(str(error)) from error
        return lambda feed: session.run(None, feed)


class RanvierBound:
    """ranvier with its inputs and outputs bound: nothing is copied, checked or allocated."""

    name = "ranvier, bound"
    packages = Ranvier.packages
    needs_module = False

    def load(self) -> None:
        """Import compiler and runtime."""
        Ranvier().load()

    def prepare(self, case: Case, threads: int) -> Run:
        """Return a function whose first call binds arrays and whose others only run."""
        import ranvier
        from ranvier.errors import UnsupportedError
        from ranvier.runtime import aligned_empty

        try:
            session = ranvier.Session(case.model, threads=threads)
        except UnsupportedError as error:
            raise Unavailable(str(error)) from error
        results: list[Any] = []

        def bind(feed: Feed) -> None:
            for name, array in feed.items():
                bound = aligned_empty(array.shape, array.dtype)
                bound[...] = array
                session.bind_input(name, bound)
            names = [output.name for output in session.get_outputs()]
            for name, array in zip(names, session.run(None, feed), strict=True):
                results.append(aligned_empty(array.shape, array.dtype))
                session.bind_output(name, results[-1])

        def run(feed: Feed) -> Sequence[Any]:
            if not results:
                bind(feed)
            session.run_bound()
            return results

        return run


def save(case: Case, path: Path) -> dict[str, Any]:
    """Compile a case and save its artifact; return the seconds to compile, and its arena."""
    import ranvier

    start = time.perf_counter()
    artifact = ranvier.compile(case.model, shapes=case.shapes or None)
    seconds = time.perf_counter() - start
    artifact.save(path)
    arenas = [part.program.arena_bytes for part in artifact.specialisations()]
    return {"seconds": seconds, "arena": max(arenas, default=0)}


def profile(case: Case, feed: Feed, seconds: float, most: int) -> list[dict[str, Any]]:
    """Return what each step of a case is, with its shortest time of several runs."""
    import ranvier

    session = ranvier.Session(case.model, threads=1)
    return best_steps(lambda: session.profile(feed).steps, seconds, most)


def best_steps(
    run: Callable[[], Sequence[tuple[Any, float]]], seconds: float, most: int
) -> list[dict[str, Any]]:
    """Return what each step of a run is, with its shortest time of up to ``most`` runs."""
    best: list[float] = []
    start = time.perf_counter()
    for count in range(most):
        steps = run()
        times = [spent for _, spent in steps]
        # The first run may compile; it is not counted.
        best = [min(pair) for pair in zip(best, times, strict=True)] if count > 1 else times
        if count > 1 and time.perf_counter() - start > seconds:
            break
    return [
        {"label": info.label, "flops": info.flops, "bytes": info.bytes, "seconds": spent}
        for (info, _), spent in zip(steps, best, strict=True)
    ]
