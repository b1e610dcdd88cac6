# SPDX-License-Identifier: MIT
"""What was measured, as plain data."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from . import measure

Status = Literal["timed", "skipped", "failed", "disagrees"]
Rounds = Sequence[Sequence[float] | None]
"""Per round the seconds of each run, ``None`` where an engine sat out."""


@dataclass(frozen=True)
class EngineResult:
    """One engine on one case.

    Attributes:
        engine: its name.
        status: whether it was timed, and if not, why not.
        note: the reason, for people.
        error: largest difference of the outputs, relative to the reference's largest value.
        rounds: seconds of each run.
        cpu: processor seconds of each run, all threads together.
        prepare: seconds to import, prepare and run first, in the timing process.
        versions: packages.
    """

    engine: str
    status: Status
    note: str = ""
    error: float | None = None
    rounds: Rounds = ()
    cpu: Rounds = ()
    prepare: Mapping[str, float] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    def busy(self, threads: int) -> float:
        """Return the share of the wall time in which the threads had their cores."""
        cpu = sum(t for times in self.cpu if times is not None for t in times)
        return cpu / threads / sum(t for times in self.rounds if times is not None for t in times)


@dataclass(frozen=True)
class CaseResult:
    """All engines on one case.

    Attributes:
        case: its name.
        threads: how many threads each engine used.
        cores: those that they were pinned to.
        reference: what outputs were compared with.
        load: the machine's load average (one minute) before and after.
        engines: what each engine did.
    """

    case: str
    threads: int
    cores: Sequence[int]
    reference: str
    load: Sequence[float]
    engines: Sequence[EngineResult]

    def engine(self, name: str) -> EngineResult:
        """Return what one engine did."""
        return next(e for e in self.engines if e.engine == name)

    def timed(self) -> dict[str, Rounds]:
        """Return the rounds of the engines that were timed."""
        return {e.engine: e.rounds for e in self.engines if e.status == "timed"}

    def best_peer(self, own: str) -> str | None:
        """Return the name of the fastest engine besides ``own``."""
        return measure.fastest(self.timed(), own)


@dataclass(frozen=True)
class MemoryResult:
    """Resident memory of one engine on one case, on top of what its imports take.

    Attributes:
        case: its name.
        engine: its name.
        note: why there are no numbers.
        held: bytes that a prepared model holds.
        prepare_peak: the most bytes while it was prepared.
        run_peak: the most bytes during runs after that.
        arena: bytes of ranvier's arena of activations.
    """

    case: str
    engine: str
    note: str = ""
    held: int = 0
    prepare_peak: int = 0
    run_peak: int = 0
    arena: int | None = None


@dataclass(frozen=True)
class StartupResult:
    """Seconds until one engine has its first result, in a new process.

    Attributes:
        case: its name.
        engine: its name; ranvier's says where its kernels came from.
        note: why there are no numbers.
        load: seconds to import.
        prepare: seconds to compile, optimise or load.
        first_run: seconds of the first run.
    """

    case: str
    engine: str
    note: str = ""
    load: float = 0.0
    prepare: float = 0.0
    first_run: float = 0.0


@dataclass(frozen=True)
class Peaks:
    """One core at its best.

    Attributes:
        flops: float32 operations per second; a multiply-add counts as two.
        read: bytes per second read from each level: ``L1``, ``L2``, ..., ``memory``.
        scale: bytes per second read and written together, in and out of memory.
    """

    flops: float
    read: Mapping[str, float]
    scale: float


@dataclass(frozen=True)
class StepTime:
    """One step of a compiled model.

    Attributes:
        label: what it computes.
        flops: floating point operations.
        bytes: read and written, each tensor once.
        seconds: the shortest of several runs.
    """

    label: str
    flops: int
    bytes: int
    seconds: float


@dataclass(frozen=True)
class Roofline:
    """The steps of a compiled model on one core.

    Attributes:
        case: its name.
        steps: in the order of execution.
    """

    case: str
    steps: Sequence[StepTime]


@dataclass(frozen=True)
class LearningRun:
    """A task learned once.

    Attributes:
        seed: of weights, order and augmentation.
        figures: of validation.
        losses: the mean of each epoch.
        compile_seconds: before the first step.
        seconds: of all epochs, without compiling and validation.
        peak: resident bytes at most, imports included.
    """

    seed: int
    figures: Mapping[str, float]
    losses: Sequence[float]
    compile_seconds: float
    seconds: float
    peak: int


@dataclass(frozen=True)
class LearningResult:
    """What one engine reached in one task.

    Attributes:
        task: its name.
        engine: its name.
        note: why runs are missing.
        runs: one per seed.
        missed: goals that were not reached.
    """

    task: str
    engine: str
    note: str = ""
    runs: Sequence[LearningRun] = ()
    missed: Sequence[str] = ()

    def mean(self, figure: str) -> float:
        """Return the mean of a figure over the runs."""
        return statistics.fmean(run.figures[figure] for run in self.runs)

    def deviation(self, figure: str) -> float:
        """Return the standard deviation of a figure; 0 for a single run."""
        values = [run.figures[figure] for run in self.runs]
        return statistics.stdev(values) if len(values) > 1 else 0.0


@dataclass(frozen=True)
class Report:
    """Everything that one run of the suite found.

    Attributes:
        made: when, ISO 8601 in UTC.
        machine: see :func:`benchmarks.machine.describe`.
        comparisons: engines side by side.
        training: the same of steps of training.
        learning: what was reached on real images.
        overhead: the same on a graph of one addition of 16 numbers.
        memory: resident memory.
        startup: time to the first result.
        peaks: one core's limits, if measured.
        rooflines: steps of ranvier's models.
        left_out: what there was no time for, or what failed as a whole.
    """

    made: str
    machine: Mapping[str, Any]
    comparisons: Sequence[CaseResult] = ()
    training: Sequence[CaseResult] = ()
    learning: Sequence[LearningResult] = ()
    overhead: Sequence[CaseResult] = ()
    memory: Sequence[MemoryResult] = ()
    startup: Sequence[StartupResult] = ()
    peaks: Peaks | None = None
    rooflines: Sequence[Roofline] = ()
    left_out: Sequence[str] = ()
