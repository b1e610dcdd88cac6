# SPDX-License-Identifier: MIT
"""Measures candidates of kernels inside a model and keeps the fastest for this processor."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .codegen.assemble import assemble
from .codegen.choices import Choices, group_key, keep_choices
from .codegen.targets import Target
from .codegen.targets.base import LIBRARY
from .compiler import Compiler, Model, Shapes, arena_plan, bound_types, target_ready
from .errors import InputError
from .ir.graph import Graph
from .ir.structure import Structure
from .ir.types import Array, TensorType, numpy_dtype
from .runtime.executor import Executor
from .runtime.program import KernelStep

_MIN_GAIN = 0.03
"""A candidate must be faster by this part: smaller differences are noise."""
_MAX_CANDIDATES = 6

Say = Callable[[str], None]


@dataclass
class Tuned:
    """What was measured for one group.

    Attributes:
        label: of the kernel that was chosen.
        seconds: best time by candidate, over all its calls in a run.
        chosen: the candidate that is kept.
    """

    label: str
    seconds: dict[str, float] = field(default_factory=dict)
    chosen: str = ""

    @property
    def gain(self) -> float:
        """How many times faster the chosen candidate is than the default one."""
        first = next(iter(self.seconds.values()))
        return first / self.seconds[self.chosen]


def tune(
    model: Model,
    shapes: Shapes | None = None,
    target: str = "cpu",
    rounds: int = 5,
    say: Say = lambda _: None,
) -> list[Tuned]:
    """Measure every candidate of every kernel of a model where it runs, and keep the fastest.

    Programs of first, second, ... candidates run in turn, step by step, so that each is
    measured with the caches as its neighbours leave them, and all under the same load. Choices
    are kept in the cache for this processor; models compiled later use them.

    Args:
        model: as for :func:`ranvier.compile`.
        shapes: sizes of each input by name, where the model does not fix them.
        target: the CPU target; it must run here.
        rounds: how often each program runs.
        say: told what is being done.

    Raises:
        InputError: the target has no candidates.
    """
    compiler = Compiler(model, target)
    unit = compiler.target.unit
    if unit is None:
        raise InputError(f"target {target!r} has no candidates to choose from; tune a cpu target")
    structures = bound_types(compiler.model.graph, shapes or {})
    stage, _ = compiler.stage("", structures, None)
    ready = target_ready(stage.graph, compiler.target)
    with tempfile.TemporaryDirectory(prefix="ranvier-") as folder:
        trials = _trials(ready, compiler.target, Path(folder), say)
        found = _measure(trials, _examples(structures), rounds, say)
    chosen = {key: tuned.chosen for key, tuned in found.items() if len(tuned.seconds) > 1}
    keep_choices(compiler.target.info(), chosen)
    return [tuned for tuned in found.values() if len(tuned.seconds) > 1]


@dataclass
class _Trial:
    """A program of candidates: its plans by group, and its groups by kernel name."""

    executor: Executor
    plans: dict[str, str]
    groups: dict[str, str]


def _trials(graph: Graph, target: Target, folder: Path, say: Say) -> list[_Trial]:
    """Return one program per rank of candidate, until no group has another one."""
    trials: list[_Trial] = []
    for rank in range(_MAX_CANDIDATES):
        say(f"compiling candidates {rank + 1}")
        assembly = assemble(graph, target, arena_plan, choices=Choices(rank=rank))
        groups = {name: group_key(p.body) for name, p in assembly.planned.items()}
        plans = {groups[name]: str(p.plan) for name, p in assembly.planned.items()}
        if trials and plans == trials[-1].plans:
            break
        here = folder / str(rank)
        here.mkdir()
        target.build(assembly.program, assembly.kernels, here)
        executor = Executor(assembly.program, here / LIBRARY, assembly.weights)
        if trials:
            spilling = {groups[n] for n, p in assembly.planned.items() if target.spills(p)}
            groups = {name: g for name, g in groups.items() if g not in spilling}
        trials.append(_Trial(executor, plans, groups))
    return trials


def _measure(
    trials: Sequence[_Trial], arrays: Sequence[Array], rounds: int, say: Say
) -> dict[str, Tuned]:
    best: list[dict[str, float]] = [{} for _ in trials]
    labels: dict[str, str] = {}
    for number in range(rounds):
        say(f"measuring, round {number + 1} of {rounds}")
        for trial, times in zip(trials, best, strict=True):
            for group, seconds in _one_run(trial, arrays, labels).items():
                times[group] = min(seconds, times.get(group, seconds))
    found: dict[str, Tuned] = {}
    for trial, times in zip(trials, best, strict=True):
        for group, seconds in times.items():
            if group in trial.plans:
                tuned = found.setdefault(group, Tuned(labels[group]))
                text = trial.plans[group]
                tuned.seconds[text] = min(seconds, tuned.seconds.get(text, seconds))
    for tuned in found.values():
        default = next(iter(tuned.seconds))
        fastest = min(tuned.seconds, key=lambda text: tuned.seconds[text])
        enough = tuned.seconds[fastest] < (1 - _MIN_GAIN) * tuned.seconds[default]
        tuned.chosen = fastest if enough else default
    return found


def _one_run(trial: _Trial, arrays: Sequence[Array], labels: dict[str, str]) -> dict[str, float]:
    """Return the seconds that the kernels of each group take in one run."""
    _, steps = trial.executor.profile(arrays)
    totals: dict[str, float] = {}
    for step, (info, seconds) in zip(trial.executor.program.steps, steps, strict=True):
        if isinstance(step, KernelStep) and step.kernel in trial.groups:
            group = trial.groups[step.kernel]
            labels.setdefault(group, info.label)
            totals[group] = totals.get(group, 0.0) + seconds
    return totals


def _examples(structures: Sequence[Structure]) -> list[Array]:
    rng = np.random.default_rng(0)
    return [_example(s, rng) for s in structures]


def _example(structure: Structure, rng: np.random.Generator) -> Array:
    assert isinstance(structure, TensorType)
    dtype = numpy_dtype(structure.dtype)
    if np.issubdtype(dtype, np.floating):
        return rng.standard_normal(structure.dims).astype(dtype)
    # Ones are valid indices and masks almost everywhere.
    return np.ones(structure.dims, dtype)


__all__ = ["Tuned", "tune"]
