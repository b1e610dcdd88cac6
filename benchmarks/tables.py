# SPDX-License-Identifier: MIT
"""Results as tables on a terminal."""

from __future__ import annotations

import statistics
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ranvier.cli.tables import duration, size, table

from .engines import OWN
from .measure import Summary, best_of, speedup, time_of
from .results import CaseResult, EngineResult, LearningResult

if TYPE_CHECKING:
    from rich.table import Table

_NOTE = 40
"""Characters of a note on a terminal; results.json has all of it."""

COLUMNS = (
    "engine",
    ">median ms",
    ">best ms",
    ">cpu ms",
    ">vs best peer",
    ">by best",
    ">by cpu",
    ">error",
    ">busy",
    "",
)


def comparison(result: CaseResult) -> Table:
    """Return the table of one case: a speed-up over 1 is faster than the best peer."""
    threads = "1 thread" if result.threads == 1 else f"{result.threads} threads"
    cores = ", ".join(map(str, result.cores))
    title = (
        f"{result.case}, {threads} (cores {cores}; load {result.load[0]:.1f} to "
        f"{result.load[1]:.1f}; reference: {result.reference or 'none'})"
    )
    rows = [comparison_row(engine, result) for engine in result.engines]
    return table(title, COLUMNS, [(*row[:-1], textwrap.shorten(row[-1], _NOTE)) for row in rows])


def comparison_row(engine: EngineResult, result: CaseResult) -> Sequence[Any]:
    """Return the row of one engine, cells in the order of :data:`COLUMNS`."""
    error = "–" if engine.error is None else f"{engine.error:.1e}"
    if engine.status != "timed":
        return engine.engine, engine.status, "", "", "", "", "", error, "", engine.note
    rounds = sum(times is not None for times in engine.rounds)
    return (
        engine.engine,
        f"{time_of(engine.rounds).median * 1e3:.3f}",
        f"{best_of(engine.rounds) * 1e3:.3f}",
        f"{time_of(engine.cpu).median * 1e3:.3f}",
        *_ratios(engine, result),
        error,
        f"{engine.busy(result.threads):.0%}",
        "" if rounds == len(engine.rounds) else f"{rounds} of {len(engine.rounds)} rounds",
    )


LEARNING_COLUMNS = (
    "task",
    "engine",
    ">seeds",
    "figures of validation",
    ">training",
    ">compiling",
    ">peak memory",
    "",
)


def learning(results: Sequence[LearningResult]) -> Table:
    """Return the table of what was learned: means and standard deviations over seeds."""
    return table("Learning", LEARNING_COLUMNS, [learning_row(result) for result in results])


def learning_row(result: LearningResult) -> Sequence[Any]:
    """Return the row of one engine and task, cells in the order of :data:`LEARNING_COLUMNS`."""
    if not result.runs:
        return result.task, result.engine, 0, "", "", "", "", result.note
    figures = ", ".join(
        f"{name} {result.mean(name):.4f} ± {result.deviation(name):.4f}"
        for name in result.runs[0].figures
    )
    return (
        result.task,
        result.engine,
        len(result.runs),
        figures,
        duration(statistics.fmean(run.seconds for run in result.runs)),
        duration(statistics.fmean(run.compile_seconds for run in result.runs)),
        size(max(run.peak for run in result.runs)),
        "; ".join((*result.missed, *filter(None, [result.note]))),
    )


def _ratios(engine: EngineResult, result: CaseResult) -> tuple[str, str, str]:
    """Return the speed-ups by median, by the best runs, and by processor time."""
    name = result.best_peer(OWN)
    if name is None:
        return "no peer", "", ""
    peer = result.engine(name)
    best = best_of(peer.rounds) / best_of(engine.rounds)
    # Threads that wait for each other spin: with several, processor time means little.
    cpu = f"{speedup(engine.cpu, peer.cpu).median:.2f}x" if result.threads == 1 else "–"
    return spread(speedup(engine.rounds, peer.rounds)), f"{best:.2f}x", cpu


def spread(ratio: Summary) -> str:
    """Return a ratio with its quartiles."""
    return f"{ratio.median:.2f}x ({ratio.low:.2f} to {ratio.high:.2f})"
