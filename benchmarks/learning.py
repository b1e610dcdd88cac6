# SPDX-License-Identifier: MIT
"""Tasks learned with several seeds, each in a process of its own, and their figures together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .compare import Asked, Say
from .cores import idlest_cores
from .engines import OWN, Unavailable
from .learning_tasks import LearningTask, task_named
from .processes import EngineFailed, engine_process
from .results import LearningResult, LearningRun

PEER = "torch"

Ask = Callable[[str, str, int], dict[str, Any]]
"""Lets an engine learn a task with a seed."""


def learn(
    names: Iterable[str], seeds: Sequence[int], threads: int, say: Say = lambda text: None
) -> list[LearningResult]:
    """Return what every engine reached in every task."""
    cores = idlest_cores(threads)

    def ask(engine: str, name: str, seed: int) -> dict[str, Any]:
        with engine_process(engine, cores, work="train") as process:
            return asked(process, name, seed, threads)

    return [result for name in names for result in learned(name, seeds, ask, say)]


def asked(process: Asked, name: str, seed: int, threads: int) -> dict[str, Any]:
    """Let a process learn."""
    return process.ask("learn", task=name, seed=seed, threads=threads)


def learned(
    name: str, seeds: Sequence[int], ask: Ask, say: Say = lambda text: None
) -> list[LearningResult]:
    """Return what the engines reached in one task; ranvier's result says whether it is enough.

    Engines take turns by seed, so that what slows the machine down slows both.
    """
    task = task_named(name)
    engines = (OWN, PEER) if task.peer else (OWN,)
    runs: dict[str, list[LearningRun]] = {engine: [] for engine in engines}
    notes: dict[str, str] = {}
    for seed in seeds:
        for engine in engines:
            if engine in notes:
                continue
            say(f"{name}: {engine}, seed {seed}")
            try:
                runs[engine].append(LearningRun(seed, **ask(engine, name, seed)))
            except (Unavailable, EngineFailed) as reason:
                notes[engine] = str(reason)
    results = [
        LearningResult(name, engine, notes.get(engine, ""), runs[engine]) for engine in engines
    ]
    own, *peers = results
    return [judged(task, own, peers[0] if peers else None), *peers]


def judged(task: LearningTask, own: LearningResult, peer: LearningResult | None) -> LearningResult:
    """Return ranvier's result with what its task misses.

    A mean must reach its goal; where there is a peer, that is the mean of the peer.
    """
    if not own.runs:
        return own
    goals = dict(task.goals)
    if peer is not None and peer.runs:
        goals[task.peer] = peer.mean(task.peer)
    missed = [
        f"{figure} {own.mean(figure):.4f} is below {goal:.4f}"
        for figure, goal in goals.items()
        if not own.mean(figure) >= goal
    ]
    return LearningResult(own.task, own.engine, own.note, own.runs, missed)
