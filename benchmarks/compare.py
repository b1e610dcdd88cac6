# SPDX-License-Identifier: MIT
"""All engines on one case: outputs compared first, then timed in interleaved rounds."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ranvier.cli.arrays import load_arrays, save_arrays
from ranvier.cli.deviation import Deviation, deviation

from .cases import Case, feed_of
from .engines import OWN, Unavailable
from .measure import Take, interleave
from .processes import EngineFailed, engine_process
from .reference import ordered, reference_of
from .registry import Work
from .results import CaseResult, EngineResult
from .worker import case_to

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """How to measure.

    Attributes:
        engines: names, the order of the table.
        threads: how many each engine uses.
        cores: those to pin to.
        rounds: how many turns each engine has.
        turn: seconds of a turn; long runs take one run.
        most: runs of a turn at most.
        budget: seconds for all turns of a case.
        tolerance: largest error, relative to the reference's largest value, of an engine that
            is timed.
        seed: of random inputs.
        references: folder where outputs to compare with are kept; ``None``: nowhere.
        work: whether a run is that of the model or a step of training.
    """

    engines: Sequence[str]
    threads: int
    cores: Sequence[int]
    rounds: int = 7
    turn: float = 0.2
    most: int = 200
    budget: float = 120.0
    tolerance: float = 1e-3
    seed: int = 0
    references: Path | None = None
    work: Work = "run"


class Asked(Protocol):
    """A process that answers requests; tests put another in its place."""

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Return the answer to a request."""


def compare(case: Case, plan: Plan, say: Say = lambda text: None) -> CaseResult:
    """Measure one case in processes of its own."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ranvier-bench-")))
        feed = folder / "inputs.npz"
        save_arrays(feed, feed_of(case, plan.seed))
        say(f"{case.name}: reference")
        reference = reference_of(case, feed, plan.cores, plan.references, plan.work)
        processes = {
            name: stack.enter_context(engine_process(name, plan.cores, work=plan.work))
            for name in plan.engines
        }
        return compare_in(processes, case, plan, feed, reference, say)


def compare_in(
    processes: Mapping[str, Asked],
    case: Case,
    plan: Plan,
    feed: Path,
    reference: tuple[str, Sequence[Any] | None],
    say: Say = lambda text: None,
) -> CaseResult:
    """Measure one case in given processes, with given outputs to expect.

    Without expected outputs the first engine that gives some becomes the reference, peers
    before ranvier.
    """
    name, expected = reference
    results: dict[str, EngineResult] = {}
    for engine in sorted(processes, key=lambda engine: engine == OWN):
        say(f"{case.name}: preparing {engine}")
        result, outputs = _prepared(processes[engine], engine, case, plan, feed)
        if outputs is not None and expected is None:
            name, expected = engine, outputs
        if outputs is not None and expected is not None:
            result = judged(result, outputs, expected, plan.tolerance)
        results[engine] = result
    ready = [engine for engine in processes if results[engine].status == "timed"]
    say(f"{case.name}: timing {', '.join(ready) or 'nobody'}")
    before = os.getloadavg()[0]
    timed = _timed({engine: processes[engine] for engine in ready}, plan)
    load = (before, os.getloadavg()[0])
    for engine, found in timed.items():
        results[engine] = replace(results[engine], **found)
    ordered = [results[engine] for engine in processes]
    return CaseResult(case.name, plan.threads, tuple(plan.cores), name, load, ordered)


def judged(
    result: EngineResult, outputs: Sequence[Any], expected: Sequence[Any], tolerance: float
) -> EngineResult:
    """Return the result with its error; one that is too large is not to be timed."""
    if len(outputs) != len(expected):
        note = f"{len(outputs)} outputs instead of {len(expected)}"
        return replace(result, status="disagrees", note=note)
    found = [_deviation(a, b, tolerance) for a, b in zip(outputs, expected, strict=True)]
    worst = max(found, key=lambda d: (not d.agrees, d.error), default=Deviation(0.0, 0.0))
    if not worst.agrees:
        note = worst.problem or f"error {worst.error:.1e}, allowed {tolerance:.0e}; not timed"
        return replace(result, status="disagrees", note=note, error=worst.error)
    return replace(result, error=worst.error)


def _deviation(value: Any, reference: Any, tolerance: float) -> Deviation:
    # A float64 reference judges float32 outputs.
    narrow = np.asarray(value)
    wide = np.asarray(reference)
    same_kind = narrow.dtype.kind == wide.dtype.kind == "f"
    return deviation(narrow.astype(wide.dtype) if same_kind else narrow, wide, tolerance)


def _prepared(
    process: Asked, engine: str, case: Case, plan: Plan, feed: Path
) -> tuple[EngineResult, Sequence[Any] | None]:
    try:
        told = process.ask("prepare", case=case_to(case), feed=str(feed), threads=plan.threads)
        outputs = _outputs(process, feed.with_name("outputs.npz"))
    except Unavailable as reason:
        return EngineResult(engine, "skipped", str(reason)), None
    except EngineFailed as error:
        return EngineResult(engine, "failed", str(error)), None
    versions = told.pop("versions")
    return EngineResult(engine, "timed", prepare=told, versions=versions), outputs


def _outputs(process: Asked, path: Path) -> list[Any]:
    process.ask("outputs", path=str(path))
    return ordered(load_arrays(path))


def _timed(processes: Mapping[str, Asked], plan: Plan) -> dict[str, dict[str, Any]]:
    """Return the fields of each engine's result that timing fills."""
    cpu: dict[str, list[tuple[float, ...]]] = {engine: [] for engine in processes}
    broken: dict[str, str] = {}

    def take(engine: str) -> Take:
        def turn() -> Sequence[float]:
            if engine in broken:
                return [float("nan")]
            try:
                told = processes[engine].ask("turn", seconds=plan.turn, most=plan.most)
            except EngineFailed as error:
                broken[engine] = str(error)
                return [float("nan")]
            cpu[engine].append(tuple(told["cpu"]))
            times: list[float] = told["times"]
            return times

        return turn

    found = interleave({e: take(e) for e in processes}, plan.rounds, plan.budget)
    results: dict[str, dict[str, Any]] = {}
    for engine, rounds in found.items():
        if engine in broken:
            results[engine] = {"status": "failed", "note": broken[engine]}
            continue
        # Turns that an engine sat out are in the wall times alone.
        turns = iter(cpu[engine])
        cpus = [None if times is None else next(turns) for times in rounds]
        results[engine] = {"rounds": rounds, "cpu": cpus}
    return results
