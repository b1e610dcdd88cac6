# SPDX-License-Identifier: MIT
"""Time from a new process to the first result: compiled, from the cache, from an artifact."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .cases import Case
from .cores import idlest_cores
from .engines import OWN, Unavailable
from .processes import EngineFailed, engine_process
from .results import StartupResult
from .worker import case_to


@dataclass(frozen=True)
class Saved:
    """A saved artifact.

    Attributes:
        path: its folder.
        arena: bytes of its arena of activations.
    """

    path: Path
    arena: int


def own(case: Case, feed: Path, threads: int, folder: Path) -> Iterator[StartupResult]:
    """Yield ranvier's times: with an empty kernel cache, a full one, and from an artifact."""
    cache = folder / f"{case.name}.cache"
    for state in ("cold cache", "warm cache"):
        told = _saved(case, folder / f"{case.name}.saved", cache)
        yield StartupResult(
            case.name, f"ranvier, {state}", load=told["import_seconds"], prepare=told["seconds"]
        )
    yield peer(
        "ranvier, artifact", replace(case, model=artifact_of(case, folder).path), feed, threads
    )


def peer(engine: str, case: Case, feed: Path, threads: int) -> StartupResult:
    """Return the times of an engine that loads the case's file."""
    with engine_process(engine, idlest_cores(threads)) as process:
        try:
            told = process.ask("prepare", case=case_to(case), feed=str(feed), threads=threads)
        except (Unavailable, EngineFailed) as reason:
            return StartupResult(case.name, engine, str(reason))
    return StartupResult(
        case.name,
        engine,
        load=told["import_seconds"],
        prepare=told["prepare_seconds"],
        first_run=told["first_run_seconds"],
    )


def artifact_of(case: Case, folder: Path) -> Saved:
    """Return the case's artifact, from the kernels that are there already."""
    path = folder / f"{case.name}.ranvier"
    told = _saved(case, path, folder / f"{case.name}.cache")
    return Saved(path, told["arena"])


def _saved(case: Case, path: Path, cache: Path) -> dict[str, Any]:
    # Every core that is allowed: compiling may use them all, whatever the runs use.
    with engine_process(OWN, os.sched_getaffinity(0), {"RANVIER_CACHE": str(cache)}) as process:
        return process.ask("save", case=case_to(case), path=str(path))
