# SPDX-License-Identifier: MIT
"""Runs a model stage by stage, specialising each to what arrives; programs are kept."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from ..errors import ExecutionError, InputError
from ..ir import Array, Graph, interpret
from ..ir.structure import Structure, flatten, leaves, structures_of, unflatten
from .model import ImportedModel
from .specialise import NeedsInputs, Stage, specialise

Program: TypeAlias = Callable[[Sequence[Array]], Sequence[Any]]
"""Runs a stage's graph on the tensors of its inputs; returns those of its outputs."""

CAPACITY = 256
"""Programs kept of one graph; the one unused for longest is dropped."""

_Values: TypeAlias = "tuple[tuple[str, object], ...]"
_Key: TypeAlias = "tuple[tuple[Structure, ...], _Values]"


@dataclass(frozen=True)
class Step:
    """A stage with its program, and the programs of what follows it."""

    stage: Stage
    program: Program
    following: Plan | None


class Plan:
    """The programs of one imported graph, by the types and values that they were made for."""

    def __init__(self, graph: Graph, file: str, make: Callable[[Stage], Program]) -> None:
        self.graph = graph
        self.file = file
        self._make = make
        self._known: OrderedDict[_Key, Step | NeedsInputs] = OrderedDict()
        self._building: dict[_Key, threading.Lock] = {}
        self._lock = threading.Lock()

    def step(self, structures: tuple[Structure, ...], values: Mapping[str, Array]) -> Step:
        """Return the stage for inputs of these types and tensors, making it when first met."""
        bound: frozenset[str] = frozenset()
        while True:
            given = {name: values[name] for name in sorted(bound)}
            key = (structures, tuple((n, _content(a)) for n, a in given.items()))
            found = self._look_up(key) or self._build(key, structures, given)
            if isinstance(found, Step):
                return found
            bound = found.names

    def steps(self) -> list[Step]:
        """Return the steps made so far."""
        with self._lock:
            return [known for known in self._known.values() if isinstance(known, Step)]

    def _look_up(self, key: _Key) -> Step | NeedsInputs | None:
        with self._lock:
            found = self._known.get(key)
            if found is not None:
                self._known.move_to_end(key)
            return found

    def _build(
        self, key: _Key, structures: tuple[Structure, ...], values: Mapping[str, Array]
    ) -> Step | NeedsInputs:
        # One lock a key: two threads never make the same program, nor wait for another one.
        with self._lock:
            building = self._building.setdefault(key, threading.Lock())
        with building:
            found = self._look_up(key)
            if found is None:
                found = self._specialised(structures, values)
                with self._lock:
                    self._known[key] = found
                    if len(self._known) > CAPACITY:
                        self._known.popitem(last=False)
                    self._building.pop(key, None)
            return found

    def _specialised(
        self, structures: tuple[Structure, ...], values: Mapping[str, Array]
    ) -> Step | NeedsInputs:
        try:
            stage = specialise(self.graph, structures, values, file=self.file)
        except NeedsInputs as needed:
            return needed
        following = Plan(stage.rest, self.file, self._make) if stage.rest else None
        return Step(stage, self._make(stage), following)


class StagedRunner:
    """Runs a model at any input shapes.

    Each stage is specialised and its program made when its shapes are first met, and kept.
    Threads may call it at the same time if they may call the programs.

    Args:
        model: an imported model.
        make: turns a stage into a program, by compiling its graph or otherwise.
    """

    def __init__(self, model: ImportedModel, make: Callable[[Stage], Program]) -> None:
        self.model = model
        self.plan = Plan(model.graph, model.file, make)

    def __call__(self, inputs: Sequence[Any]) -> list[Any]:
        """Return the model's outputs.

        Args:
            inputs: for each input of the graph an array, a list for a sequence, or ``None``
                for an optional that holds nothing.

        Raises:
            InputError: the inputs do not fit the model.
            ExecutionError: the model met invalid data.
        """
        graph = self.model.graph
        if len(inputs) != len(graph.inputs):
            raise InputError(f"the model has {len(graph.inputs)} inputs, {len(inputs)} were given")
        env = {v.name: x for v, x in zip(graph.inputs, inputs, strict=True)}
        plan: Plan | None = self.plan
        while plan is not None:
            step = self._prepare(plan, env)
            env.update(run_stage(step.stage, step.program, env))
            plan = step.following
            if plan is not None:  # what nobody reads any more is not held
                kept = {v.name for v in (*plan.graph.inputs, *graph.outputs)}
                env = {name: value for name, value in env.items() if name in kept}
        return [env[v.name] for v in graph.outputs]

    def _prepare(self, plan: Plan, env: Mapping[str, Any]) -> Step:
        given = [env[v.name] for v in plan.graph.inputs]
        structures = structures_of(given)
        names = (v.name for v in plan.graph.inputs)
        named = [name for n, s in zip(names, structures, strict=True) for name, _ in leaves(s, n)]
        return plan.step(structures, dict(zip(named, flatten(given), strict=True)))

    def trace(self, inputs: Sequence[Any]) -> Iterator[Step]:
        """Run the model and yield each step after it has run, for inspection."""
        graph = self.model.graph
        env = {v.name: x for v, x in zip(graph.inputs, inputs, strict=True)}
        plan: Plan | None = self.plan
        while plan is not None:
            step = self._prepare(plan, env)
            env.update(run_stage(step.stage, step.program, env))
            yield step
            plan = step.following


def run_stage(stage: Stage, program: Program, env: Mapping[str, Any]) -> dict[str, Any]:
    """Run one stage on the values of its inputs and return those of its results.

    Raises:
        ExecutionError: a run-time check of the model failed.
    """
    arrays = program(list(flatten([env[slot.name] for slot in stage.inputs])))
    for position, message in stage.checks:
        if not np.all(arrays[position]):
            raise ExecutionError(message)
    rest = iter(arrays)
    return {slot.name: unflatten(slot.structure, rest) for slot in stage.results}


def interpreted(stage: Stage) -> Program:
    """Return a program that interprets the stage's graph: the oracle of compiled ones."""

    def program(arrays: Sequence[Array]) -> list[Any]:
        return interpret(stage.graph, arrays)

    return program


def _content(array: Array) -> object:
    data: object = tuple(array.ravel().tolist()) if array.dtype == object else array.tobytes()
    return array.dtype.str, array.shape, data
