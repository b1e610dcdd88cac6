# SPDX-License-Identifier: MIT
"""The compiled graphs of training: loss and gradients of a batch, and the same without learning."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from ..codegen.build import build
from ..codegen.targets import parse_target
from ..compiler import arena_plan, target_ready
from ..errors import InputError
from ..frontend import builder as nn
from ..frontend.builder import Network, Tensor
from ..frontend.builder.augmentation import Augmentation
from ..frontend.canonical import whole
from ..ir import Array, Emitter, Graph, TensorType, Value, numpy_dtype, type_of
from ..passes import CANONICAL, differentiate, run_passes, use_batch_statistics, use_dropout
from ..passes.rematerialise import LEVELS
from ..passes.use_batch_statistics import UPDATED
from ..passes.use_dropout import KEY
from ..runtime.buffers import aligned_empty
from ..runtime.executor import Executor
from ..runtime.program import KernelInfo
from ..runtime.team import Workers
from .losses import LossFunction
from .model import Model

Fields: TypeAlias = Mapping[str, Array]
Targets: TypeAlias = "Tensor | Mapping[str, Tensor]"

INDEX = "index"
"""Field of a batch that holds the numbers of its samples; :data:`KEY` holds random keys."""


@dataclass(frozen=True)
class Task:
    """What is learned: a model, by which loss, from data changed in which way.

    Attributes:
        model: what learns.
        loss: of outputs and targets.
        augmentation: changes the fields of a batch inside the graph; outside of training it
            gets no keys, and leaves out what is random.
        variables: names of parameters and statistics that change, in order.
        learned: those of them that gradients change, in order.
        frozen: patterns of the names of batch norms' means that stay as they are.
        momentum: weight of old running statistics.
    """

    model: Model
    loss: LossFunction | None
    augmentation: Augmentation | None
    variables: tuple[str, ...]
    learned: tuple[str, ...]
    frozen: tuple[str, ...] = ()
    momentum: float = 0.9


@dataclass(frozen=True)
class JointGraph:
    """A model and what is made of its outputs in one graph.

    Attributes:
        graph: from fields and variables to the model's outputs, new statistics, the loss and
            gradients, as far as they are there.
        fields: names of the inputs that come with a batch, in order; the variables follow.
        outputs: names of the model's outputs.
        updated: names of the statistics that the outputs after those are.
        scored: whether the loss follows.
    """

    graph: Graph
    fields: tuple[str, ...]
    outputs: tuple[str, ...]
    updated: tuple[str, ...] = ()
    scored: bool = True


def learning_graph(task: Task, types: Mapping[str, TensorType], constants: Fields) -> JointGraph:
    """Return outputs, statistics, loss and gradients of a batch as one graph.

    Batch norms use the statistics of the batch, and data is augmented.

    Args:
        task: model and loss.
        types: of the batch's fields.
        constants: what parameters hold that are no variables.

    Raises:
        InputError: fields do not fit the model.
        LayerError: outputs and targets do not fit the loss.
        OpError: an op has no gradient.
    """
    joint = _joint(task, types, constants, training=True)
    loss = joint.graph.outputs[-1].name
    return replace(joint, graph=differentiate(joint.graph, loss=loss, wrt=task.learned))


def scoring_graph(task: Task, types: Mapping[str, TensorType], constants: Fields) -> JointGraph:
    """Return outputs and loss of a batch as one graph; see :func:`learning_graph`."""
    return _joint(task, types, constants, training=False)


def inference_graph(task: Task, types: Mapping[str, TensorType], constants: Fields) -> JointGraph:
    """Return the outputs of a batch as a graph; see :func:`learning_graph`."""
    wanted = {k: types[k] for k in task.model.inputs if k in types}
    return _joint(replace(task, loss=None), wanted, constants, training=False)


def _joint(
    task: Task, types: Mapping[str, TensorType], constants: Fields, *, training: bool
) -> JointGraph:
    emit = Emitter()
    fields = {k: emit.argument(t, k) for k, t in types.items() if k != INDEX}
    seen = dict(fields)
    if task.augmentation is not None:
        seen.update(_augmented(emit, task.augmentation, fields, training=training))
    model = _model_graph(task, seen, constants, training=training)
    given = {k: seen[k] for k in task.model.inputs}
    if any(v.name == KEY for v in model.inputs):
        given[KEY] = _key(seen)
    variables = [_variable(emit, v, fields) for v in model.inputs if v.name not in given]
    given.update((v.name, v) for v in variables)
    results = list(emit.inline(model, [given[v.name] for v in model.inputs]))
    count = len(task.model.outputs)
    updated = tuple(v.name.removeprefix(UPDATED) for v in model.outputs[count:])
    if task.loss is not None:
        outputs = dict(zip(task.model.outputs, results, strict=False))
        targets = {k: v for k, v in seen.items() if k not in {*task.model.inputs, KEY}}
        results.append(_loss(emit, task.loss, outputs, targets))
    graph = emit.graph(task.model.name, [*fields.values(), *variables], results)
    graph = run_passes(graph, CANONICAL)
    return JointGraph(graph, tuple(fields), task.model.outputs, updated, task.loss is not None)


def _model_graph(
    task: Task, fields: Mapping[str, Value], constants: Fields, *, training: bool
) -> Graph:
    shapes = {k: v.type.dims for k, v in fields.items() if isinstance(v.type, TensorType)}
    graph = task.model.graph(shapes, task.variables, constants)
    for value in graph.inputs[: len(task.model.inputs)]:
        if value.type != fields[value.name].type:
            raise InputError(
                f"model '{task.model.name}': input '{value.name}' is {value.type}, the data has "
                f"{fields[value.name].type}; convert it, or do so by an augmentation"
            )
    if not training:
        return graph
    graph = use_dropout(graph)
    return use_batch_statistics(graph, momentum=task.momentum, frozen=task.frozen)


def _variable(emit: Emitter, value: Value, fields: Mapping[str, Value]) -> Value:
    if value.name in fields:
        raise InputError(
            f"field '{value.name}' of the data has the name of a parameter; rename the field"
        )
    return emit.argument(value.type, value.name)


def _key(fields: Mapping[str, Value]) -> Value:
    if KEY not in fields:
        raise InputError(
            "the data has no field 'key', by which augmentations and dropout draw random "
            "numbers; a DataLoader gives it, and sample_keys makes it"
        )
    return fields[KEY]


def _augmented(
    emit: Emitter, augmentation: Augmentation, fields: Mapping[str, Value], *, training: bool
) -> dict[str, Value]:
    """Emit what the augmentation makes of the fields it returns."""
    symbols = _symbols(fields)
    data = {k: x for k, x in symbols.items() if k != KEY}
    if training:
        _key(fields)
    made = dict(augmentation(data, symbols[KEY] if training else None))
    unknown = sorted(made.keys() - fields.keys())
    if unknown:
        raise InputError(f"the augmentation returns '{unknown[0]}', which is no field of the data")
    named = {f"augmented.{k}": x for k, x in made.items()}
    network = nn.network("augmentation", symbols.values(), named)
    return dict(zip(made, emit.inline(network.graph(), fields.values()), strict=True))


def _loss(
    emit: Emitter,
    function: LossFunction,
    outputs: Mapping[str, Value],
    targets: Mapping[str, Value],
) -> Value:
    """Emit the loss of outputs and targets."""
    scores, truth = _symbols(outputs), _symbols(targets)
    scalar = function(_only(scores), _only(truth))
    if scalar.shape:
        raise InputError(
            f"the loss is {scalar.type}, expected one number; reduce it by nn.mean or nn.sum"
        )
    inputs = [*scores.values(), *truth.values()]
    network = Network("loss", tuple(inputs), {"loss": scalar})
    (loss,) = emit.inline(network.graph(), [*outputs.values(), *targets.values()])
    return loss


def _symbols(values: Mapping[str, Value]) -> dict[str, Tensor]:
    """Return tensors of the builder that stand for values."""
    types = {k: v.type for k, v in values.items()}
    return {k: nn.input(k, t.dims, t.dtype) for k, t in types.items() if isinstance(t, TensorType)}


def _only(tensors: Mapping[str, Tensor]) -> Targets:
    """Return the tensor if there is one, else all by name."""
    return next(iter(tensors.values())) if len(tensors) == 1 else tensors


@dataclass(frozen=True)
class Result:
    """What a program found for a batch.

    Attributes:
        loss: of the batch; NaN of a program without one.
        outputs: of the model, by name; valid until the next run.
    """

    loss: float
    outputs: Fields


class BatchProgram:
    """A joint graph compiled for batches of one shape, over arrays that stay where they are.

    Args:
        joint: the graph.
        variables: parameters and statistics by name; the program reads these arrays.
        gradients: where those of a graph that has some are stored, by name, in its order.
        workers: threads.
        memory: what results are kept, see :func:`memory_options`.
    """

    def __init__(
        self,
        joint: JointGraph,
        variables: Fields,
        gradients: Fields,
        workers: Workers,
        memory: str | int = "full",
    ) -> None:
        self.joint = joint
        graph = joint.graph
        target = parse_target("cpu")
        # With a check of every position that is data, as compiled code clamps them.
        stage = whole(graph, _structures(graph))
        ready = target_ready(stage.graph, target, memory=memory_options(memory))
        built = build(ready, target, arena_plan, stage.checks)
        self.program = built.program
        self.executor = Executor(built.program, built.library, built.weights, workers)
        count = len(joint.fields)
        self._fields = {v.name: _empty(v) for v in graph.inputs[:count]}
        bound = [variables[v.name] for v in graph.inputs[count:]]
        self._variables = variables
        first = len(joint.outputs)
        last = first + len(joint.updated)
        results = [_empty(v) for v in graph.outputs[: last + joint.scored]]
        self._outputs = dict(zip(joint.outputs, results[:first], strict=True))
        self._updated = dict(zip(joint.updated, results[first:last], strict=True))
        self._loss = results[last] if joint.scored else None
        self._inputs = [*self._fields.values(), *bound]
        self._run = self.executor.bind(self._inputs, [*results, *gradients.values()])

    @property
    def inputs(self) -> list[Array]:
        """Fields of the last batch and the variables, in the order of the graph's inputs."""
        return list(self._inputs)

    @property
    def arena_bytes(self) -> int:
        """Bytes of intermediate results and scratch, as planned."""
        return self.program.arena_bytes

    def run(self, fields: Fields) -> Result:
        """Compute the loss, and gradients where they are, of a batch of the program's shapes."""
        for name, array in self._fields.items():
            np.copyto(array, fields[name], casting="no")
        self._run()
        return Result(math.nan if self._loss is None else float(self._loss), self._outputs)

    def count_statistics(self) -> None:
        """Let the running statistics become those of the last run."""
        for name, array in self._updated.items():
            np.copyto(self._variables[name], array)

    def profile(self) -> list[tuple[KernelInfo, float]]:
        """Run the last batch again, step by step, and tell what each step took."""
        return self.executor.profile(self._inputs)[1]


def memory_options(memory: str | int) -> dict[str, Any]:
    """Return options of the pass ``rematerialise``.

    Args:
        memory: ``full`` keeps every intermediate result for the gradients, ``mid`` computes
            again what is cheap, ``low`` anything; a number of bytes as much as that takes.

    Raises:
        InputError: neither a level nor a positive number.

    >>> memory_options(1 << 20)
    {'level': 'low', 'budget': 1048576}
    """
    if isinstance(memory, int) and not isinstance(memory, bool) and memory > 0:
        return {"level": "low", "budget": memory}
    if memory in LEVELS:
        return {"level": memory}
    raise InputError(
        f"memory={memory!r} must be one of {', '.join(LEVELS)} or a positive number of bytes"
    )


def _structures(graph: Graph) -> list[TensorType]:
    return [v.type for v in graph.inputs if isinstance(v.type, TensorType)]


def _empty(value: Value) -> Array:
    assert isinstance(value.type, TensorType)
    return aligned_empty(value.type.dims, numpy_dtype(value.type.dtype))


def field_types(fields: Fields) -> dict[str, TensorType]:
    """Return the types of a batch's fields."""
    types = {k: type_of(a) for k, a in fields.items()}
    return {k: t for k, t in types.items() if isinstance(t, TensorType)}


__all__ = [
    "INDEX",
    "KEY",
    "BatchProgram",
    "Fields",
    "JointGraph",
    "Result",
    "Task",
    "field_types",
    "inference_graph",
    "learning_graph",
    "memory_options",
    "scoring_graph",
]
