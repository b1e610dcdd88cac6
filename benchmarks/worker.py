# SPDX-License-Identifier: MIT
"""The process of one engine: does what its parent asks, one JSON line at a time.

A process per engine keeps thread pools, allocators and crashes of one engine away from the
others, and makes peak memory a property of the engine. Arrays travel as .npz files.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from . import own_engines, training_engines
from .cases import Case
from .engines import Engine, Run, Unavailable, check, versions
from .memory import peak, reset_peak, resident
from .registry import engine_named
from .training_engines import RanvierTraining

_LONG_RUN = 0.25
"""Seconds from which a run is not preceded by an untimed one: caches matter little then."""

_MEMORY_RUNS = 3


class Worker:
    """Answers requests about one engine and one case."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.run: Run | None = None
        self.feed: dict[str, Any] = {}

    def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return the answer to a request, which names one of the methods below as ``do``."""
        actions: dict[str, Callable[..., dict[str, Any]]] = {
            "prepare": self.prepare,
            "outputs": self.outputs,
            "turn": self.turn,
            "memory": self.memory,
            "save": self.save,
            "profile": self.profile,
            "peaks": self.peaks,
            "learn": self.learn,
        }
        arguments = {key: value for key, value in request.items() if key != "do"}
        return actions[request["do"]](**arguments)

    def prepare(
        self, case: Mapping[str, Any], feed: str, threads: int, runs: int = 1
    ) -> dict[str, Any]:
        """Load engine and model and run once, if asked; tell the seconds that each took."""
        chosen = case_from(case)
        check(self.engine, chosen)
        start = time.perf_counter()
        self.engine.load()
        loaded = time.perf_counter()
        self.feed = _arrays(feed)
        begun = time.perf_counter()
        self.run = self.engine.prepare(chosen, threads)
        prepared = time.perf_counter()
        for _ in range(runs):
            self.run(self.feed)
        return {
            "import_seconds": loaded - start,
            "prepare_seconds": prepared - begun,
            "first_run_seconds": time.perf_counter() - prepared,
            "versions": versions(self.engine),
        }

    def outputs(self, path: str) -> dict[str, Any]:
        """Run once and write the outputs, in their order, to a .npz file."""
        assert self.run is not None
        arrays = [np.asarray(array) for array in self.run(self.feed)]
        np.savez(path, *arrays)
        return {}

    def turn(self, seconds: float, most: int) -> dict[str, Any]:
        """Run for about ``seconds``, at least once and at most ``most`` times.

        An untimed run comes first: it brings back caches, and other engines' threads, which
        spin for a moment after their work, fall asleep meanwhile.

        Returns:
            Seconds of each run, and processor seconds of each run, all threads together.
        """
        first, cpu = self._timed_run()
        if first >= _LONG_RUN:
            return {"times": [first], "cpu": [cpu]}
        runs: list[tuple[float, float]] = []
        spent = 0.0
        while not runs or (spent < seconds and len(runs) < most):
            runs.append(self._timed_run())
            spent += runs[-1][0]
        times, cpus = zip(*runs, strict=True)
        return {"times": times, "cpu": cpus}

    def _timed_run(self) -> tuple[float, float]:
        assert self.run is not None
        cpu = time.process_time()
        start = time.perf_counter()
        self.run(self.feed)
        seconds = time.perf_counter() - start
        return seconds, time.process_time() - cpu

    def memory(
        self, case: Mapping[str, Any], feed: str, threads: int, warm: int = 0
    ) -> dict[str, Any]:
        """Return the bytes of a model on top of the engine's imports: held, and at the peaks.

        The first ``warm`` runs count as preparing: some engines compile in them.
        """
        chosen = case_from(case)
        check(self.engine, chosen)
        self.engine.load()
        self.feed = _arrays(feed)
        base = resident()
        reset_peak()
        run = self.engine.prepare(chosen, threads)
        for _ in range(warm):
            run(self.feed)
        held, prepare_peak = resident(), peak()
        reset_peak()
        for _ in range(_MEMORY_RUNS):
            run(self.feed)
        return {"held": held - base, "prepare_peak": prepare_peak - base, "run_peak": peak() - base}

    def save(self, case: Mapping[str, Any], path: str) -> dict[str, Any]:
        """Compile with ranvier and save the artifact."""
        start = time.perf_counter()
        self.engine.load()
        loaded = time.perf_counter() - start
        return {"import_seconds": loaded, **own_engines.save(case_from(case), Path(path))}

    def profile(
        self, case: Mapping[str, Any], feed: str, seconds: float, most: int
    ) -> dict[str, Any]:
        """Return the steps of ranvier's program with their times."""
        self.engine.load()
        is_training = isinstance(self.engine, RanvierTraining)
        measure = training_engines.profile if is_training else own_engines.profile
        return {"steps": measure(case_from(case), _arrays(feed), seconds, most)}

    def learn(self, task: str, seed: int, threads: int) -> dict[str, Any]:
        """Learn a task and tell what was reached."""
        self.engine.load()
        from .learners import LEARNERS

        return LEARNERS[self.engine.name](task, seed, threads)

    def peaks(self) -> dict[str, Any]:
        """Return the limits of the core that this process is pinned to."""
        self.engine.load()
        from .peaks import measure_peaks

        return asdict(measure_peaks())


def _arrays(path: str) -> dict[str, Any]:
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def case_to(case: Case) -> dict[str, Any]:
    """Return a case as JSON types."""
    return {
        "name": case.name,
        "model": str(case.model),
        "shapes": {name: list(shape) for name, shape in case.shapes.items()},
        "module": None if case.module is None else str(case.module),
    }


def case_from(data: Mapping[str, Any]) -> Case:
    """Return the case of :func:`case_to`."""
    module = data["module"]
    return Case(
        data["name"],
        Path(data["model"]),
        shapes=data["shapes"],
        module=None if module is None else Path(module),
    )


def main() -> None:
    """Answer requests on standard input until it ends.

    Answers go to a copy of standard output; what libraries print goes to standard error.
    """
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    worker = Worker(engine_named(*sys.argv[1:]))
    for line in sys.stdin:
        try:
            answer = worker.answer(json.loads(line))
        except Unavailable as reason:
            answer = {"unavailable": str(reason)}
        except Exception as error:  # noqa: BLE001 - one engine's failure is a result
            answer = {"failed": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
