# SPDX-License-Identifier: MIT
"""Everything about a list of cases, within a limit of time."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ranvier.cli.arrays import save_arrays
from ranvier.errors import RanvierError

from . import startup
from .cases import Case, feed_of
from .compare import Plan, Say, compare
from .cores import idlest_cores
from .engines import OWN, Unavailable
from .machine import describe
from .processes import EngineFailed, engine_process
from .registry import TRAINING_ENGINES, Work
from .results import CaseResult, MemoryResult, Peaks, Report, Roofline, StartupResult, StepTime
from .tiny import write_tiny
from .training_cases import write_case
from .worker import case_to

PARTS = ("compare", "train", "memory", "startup", "overhead", "kernels")

TRAINING_NAMES = tuple(engine.name for engine in TRAINING_ENGINES)

_OVERHEAD_ENGINES = (OWN, "ranvier, bound", "onnxruntime", "openvino")
_PROFILE_SECONDS = 5.0
_PROFILE_RUNS = 30


@dataclass(frozen=True)
class Training:
    """Whose steps of training are measured.

    Attributes:
        cases: names of training cases.
        engines: names of engines.
        memory: whether memory is measured too.
        kernels: whether the kernels of ranvier's steps are.
    """

    cases: Sequence[str] = ("resnet8",)
    engines: Sequence[str] = TRAINING_NAMES
    memory: bool = True
    kernels: bool = False


SHORT_TRAINING = Training(engines=TRAINING_NAMES[:3], memory=False)
"""What takes seconds: nothing that torch compiles."""


@dataclass(frozen=True)
class Settings:
    """What to measure.

    Attributes:
        cases: models.
        threads: numbers of threads to compare with; the first serves all other parts.
        parts: of :data:`PARTS`.
        plan: engines, rounds and budget of comparisons.
        seconds: after which nothing new is begun.
        training: cases and engines of the part ``train``.
    """

    cases: Sequence[Case]
    threads: Sequence[int]
    parts: Sequence[str]
    plan: Plan
    seconds: float = float("inf")
    training: Training = SHORT_TRAINING


@dataclass
class Findings:
    """What has been found so far."""

    comparisons: list[CaseResult] = field(default_factory=list)
    training: list[CaseResult] = field(default_factory=list)
    overhead: list[CaseResult] = field(default_factory=list)
    memory: list[MemoryResult] = field(default_factory=list)
    startup: list[StartupResult] = field(default_factory=list)
    peaks: list[Peaks] = field(default_factory=list)
    rooflines: list[Roofline] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def report(self) -> Report:
        """Return the findings with what the machine is."""
        return Report(
            made=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            machine=describe(),
            comparisons=self.comparisons,
            training=self.training,
            overhead=self.overhead,
            memory=self.memory,
            startup=self.startup,
            peaks=self.peaks[0] if self.peaks else None,
            rooflines=self.rooflines,
            left_out=self.left_out,
        )


Job = tuple[str, Callable[[Findings], None]]
"""What is done, for people, and how."""


def run_suite(settings: Settings, say: Say = lambda text: None) -> Report:
    """Measure everything that is asked for and return the report."""
    with tempfile.TemporaryDirectory(prefix="ranvier-bench-") as folder:
        return run_jobs(list(jobs(settings, Path(folder), say)), settings.seconds, say)


def run_jobs(
    todo: Sequence[Job],
    seconds: float,
    say: Say = lambda text: None,
    clock: Callable[[], float] = time.monotonic,
) -> Report:
    """Do jobs until the time is over; what is left out or fails is told in the report."""
    findings = Findings()
    end = clock() + seconds
    for name, job in todo:
        if clock() >= end:
            findings.left_out.append(f"{name}: no time left")
            continue
        say(name)
        try:
            job(findings)
        except (RanvierError, EngineFailed, Unavailable, OSError) as error:
            findings.left_out.append(f"{name}: {error}")
    return findings.report()


def jobs(settings: Settings, folder: Path, say: Say) -> Iterator[Job]:
    """Yield the jobs, the most telling first: if time runs out, the others are left out."""
    for threads in settings.threads if "compare" in settings.parts else ():
        for case in settings.cases:
            yield _comparison(case, settings, threads, say)
    if "train" in settings.parts:
        yield from _training_jobs(settings, folder, say)
    if "overhead" in settings.parts:
        yield "overhead of a call", lambda found: _overhead(found, settings, folder, say)
    if "kernels" in settings.parts:
        yield "peaks of a core", lambda found: found.peaks.append(_peaks())
    for case in settings.cases:
        for part, measure in (("kernels", _kernels), ("startup", _startup), ("memory", _memory)):
            if part in settings.parts:
                yield _job(f"{case.name}: {part}", measure, case, settings, folder)


def _job(name: str, measure: Callable[..., None], *arguments: Any) -> Job:
    return name, lambda found: measure(found, *arguments)


def _comparison(case: Case, settings: Settings, threads: int, say: Say) -> Job:
    def job(found: Findings) -> None:
        plan = replace(settings.plan, threads=threads, cores=idlest_cores(threads))
        found.comparisons.append(compare(case, plan, say))

    return f"{case.name}, {threads} threads: comparison", job


def _training_jobs(settings: Settings, folder: Path, say: Say) -> Iterator[Job]:
    training = settings.training
    for threads in settings.threads:
        for name in training.cases:
            yield _job(f"{name}, {threads} threads: training", _training, name, threads, settings,
                       folder, say)  # fmt: skip
    for name in training.cases if training.memory else ():
        yield _job(f"{name}: memory of training", _training_memory, name, settings, folder)
    if training.kernels:
        yield "peaks of a core", lambda found: found.peaks.append(_peaks())
        for name in training.cases:
            yield _job(f"{name}: kernels of training", _training_kernels, name, settings, folder)


def _training(
    found: Findings, name: str, threads: int, settings: Settings, folder: Path, say: Say
) -> None:
    plan = replace(
        settings.plan,
        work="train",
        engines=settings.training.engines,
        threads=threads,
        cores=idlest_cores(threads),
        references=None,
    )
    case = write_case(name, folder, plan.seed)
    found.training.append(compare(case, plan, say))


def _training_memory(found: Findings, name: str, settings: Settings, folder: Path) -> None:
    case = write_case(name, folder, settings.plan.seed)
    assert case.inputs is not None
    for engine in settings.training.engines:
        result = _memory_of(engine, case, case.inputs, settings.threads[0], work="train")
        found.memory.append(replace(result, case=f"training {name}"))


def _overhead(found: Findings, settings: Settings, folder: Path, say: Say) -> None:
    case = Case("one addition of 16 numbers", write_tiny(folder / "tiny.onnx"))
    plan = replace(
        settings.plan,
        engines=_OVERHEAD_ENGINES,
        threads=1,
        cores=idlest_cores(1),
        most=2000,
    )
    found.overhead.append(compare(case, plan, say))


def _peaks() -> Peaks:
    with engine_process(OWN, idlest_cores(1)) as process:
        return Peaks(**process.ask("peaks"))


def _kernels(found: Findings, case: Case, settings: Settings, folder: Path) -> None:
    steps = _steps(case, _feed(case, settings, folder))
    found.rooflines.append(Roofline(case.name, steps))


def _training_kernels(found: Findings, name: str, settings: Settings, folder: Path) -> None:
    case = write_case(name, folder, settings.plan.seed)
    assert case.inputs is not None
    found.rooflines.append(Roofline(f"training {name}", _steps(case, case.inputs, "train")))


def _steps(case: Case, feed: Path, work: Work = "run") -> list[StepTime]:
    with engine_process(OWN, idlest_cores(1), work=work) as process:
        told = process.ask(
            "profile",
            case=case_to(case),
            feed=str(feed),
            seconds=_PROFILE_SECONDS,
            most=_PROFILE_RUNS,
        )
    return [StepTime(**step) for step in told["steps"]]


def _startup(found: Findings, case: Case, settings: Settings, folder: Path) -> None:
    feed, peers = _feed(case, settings, folder), _peers(settings)
    found.startup += startup.own(case, feed, settings.threads[0], folder)
    found.startup += [startup.peer(name, case, feed, settings.threads[0]) for name in peers]


def _memory(found: Findings, case: Case, settings: Settings, folder: Path) -> None:
    threads, feed = settings.threads[0], _feed(case, settings, folder)
    artifact = startup.artifact_of(case, folder)
    deployed = replace(case, model=artifact.path)
    found.memory += [
        _memory_of("ranvier, artifact", deployed, feed, threads, arena=artifact.arena),
        *(_memory_of(name, case, feed, threads) for name in (OWN, *_peers(settings))),
    ]


def _memory_of(
    engine: str,
    case: Case,
    feed: Path,
    threads: int,
    *,
    arena: int | None = None,
    work: Work = "run",
) -> MemoryResult:
    with engine_process(engine, idlest_cores(threads), work=work) as process:
        try:
            told = process.ask(
                "memory", case=case_to(case), feed=str(feed), threads=threads,
                warm=1 if work == "train" else 0,
            )  # fmt: skip
        except (Unavailable, EngineFailed) as reason:
            return MemoryResult(case.name, engine, str(reason))
    return MemoryResult(case.name, engine, arena=arena, **told)


def _peers(settings: Settings) -> list[str]:
    return [name for name in settings.plan.engines if name != OWN]


def _feed(case: Case, settings: Settings, folder: Path) -> Path:
    path = folder / f"{case.name}.npz"
    if not path.exists():
        save_arrays(path, feed_of(case, settings.plan.seed))
    return path
