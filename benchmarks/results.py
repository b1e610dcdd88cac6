# SPDX-License-Identifier: MIT
"""What was measured, as plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from . import measure

Status = Literal["timed", "skipped", "failed", "disagrees"]


@dataclass(frozen=True)
class EngineResult:
    """One engine on one case.

    Attributes:
        engine: its name.
        status: whether it was timed, and if not, why not.
        note: the reason, for people.
        error: largest difference of the outputs, relative to the reference's largest value.
        rounds: seconds of each run of each round; ``None`` where it sat out.
        cpu: processor seconds of each run, all threads together.
        prepare: seconds to import, prepare and run first, in the timing process.
        versions: packages.
    """

    engine: str
    status: Status
    note: str = ""
    error: float | None = None
    rounds: Sequence[Sequence[float] | None] = ()
    cpu: Sequence[Sequence[float] | None] = ()
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

    def timed(self) -> dict[str, Sequence[Sequence[float] | None]]:
        """Return the rounds of the engines that were timed."""
        return {e.engine: e.rounds for e in self.engines if e.status == "timed"}

    def best_peer(self, own: str) -> str | None:
        """Return the name of the fastest engine besides ``own``."""
        return measure.fastest(self.timed(), own)

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON types."""
        from dataclasses import asdict

        return asdict(self)
