# SPDX-License-Identifier: MIT
"""Gradients of whole models: by the compiled program, the interpreter, and torch's autograd."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from precision import in_float64
from ranvier.frontend.builder import Tensor
from ranvier.frontend.builder.tensor import Layer
from ranvier.ir import Array, Graph, TensorType, Value, interpret, numpy_dtype, ops
from ranvier.passes import differentiate, eliminate_dead_nodes
from ranvier.runtime.buffers import aligned_empty
from ranvier.runtime.team import Workers
from ranvier.training.model import Model
from ranvier.training.programs import (
    KEY,
    BatchProgram,
    JointGraph,
    Task,
    field_types,
    learning_graph,
)
from torch_graph import decisions, evaluate, tensor_of, torch

Arrays = Mapping[str, Array]


def objective(
    outputs: Tensor | Mapping[str, Tensor], targets: Tensor | Mapping[str, Tensor]
) -> Tensor:
    """The projection of all outputs on directions; for scores of classes cross entropy too."""
    scores = list(outputs.values()) if isinstance(outputs, Mapping) else [outputs]
    given = targets if isinstance(targets, Mapping) else {"toward.0": targets}
    layer = Layer.begin("objective")
    terms = [
        layer.apply(ops.ReduceSum(tuple(range(y.rank))), y * given[f"toward.{k}"])
        for k, y in enumerate(scores)
    ]
    for k, y in enumerate(scores):
        if f"labels.{k}" in given:
            terms.append(layer.apply(ops.SoftmaxCrossEntropy(), y, given[f"labels.{k}"]))
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


@dataclass(frozen=True)
class Comparison:
    """How far the gradients of one model are from the reference, by parameter.

    Attributes:
        errors: relative L2 error of each gradient that is not analytically zero.
        zeros: norm of each that is, relative to the norm of all gradients of the model.
    """

    errors: Mapping[str, float]
    zeros: Mapping[str, float]

    @property
    def worst(self) -> float:
        """The largest relative error."""
        return max(self.errors.values())


@dataclass(frozen=True)
class Problem:
    """A model, a batch, and what its parameters hold."""

    model: Model
    batch: Arrays
    parameters: Arrays

    @cached_property
    def task(self) -> Task:
        learned = tuple(k for k in self.parameters if k in self.model.trainable)
        return Task(self.model, objective, None, tuple(self.parameters), learned)

    @cached_property
    def joint(self) -> JointGraph:
        return learning_graph(self.task, field_types(self.batch), {})

    @cached_property
    def forward(self) -> Graph:
        """The part of the graph that computes outputs, statistics and, last of all, the loss."""
        graph = self.joint.graph
        kept = len(graph.outputs) - len(self.task.learned)
        return eliminate_dead_nodes(replace(graph, outputs=graph.outputs[:kept]))

    @cached_property
    def inputs(self) -> list[Array]:
        """Fields and parameters in the order of the graph's inputs."""
        return [{**self.batch, **self.parameters}[v.name] for v in self.joint.graph.inputs]

    def by_interpreter(self) -> dict[str, Array]:
        """Gradients of the differentiated graph in float64.

        Made float64 before it is differentiated, so that constants of vjps are not rounded.
        """
        forward = in_float64(self.forward)
        graph = differentiate(forward, loss=forward.outputs[-1].name, wrt=self.task.learned)
        given = [
            a.astype(numpy_dtype(v.type.dtype)) if isinstance(v.type, TensorType) else a
            for v, a in zip(graph.inputs, self.inputs, strict=True)
        ]
        found = interpret(graph, given)
        return dict(zip(self.task.learned, found[-len(self.task.learned) :], strict=True))

    def by_program(self) -> tuple[dict[str, Array], dict[str, list[Any]]]:
        """Gradients of the compiled program, and what tells how it decided."""
        told = decisions(self.forward)
        own = {v.name: a for v, a in zip(self.joint.graph.inputs, self.inputs, strict=True)}
        own |= self.joint.graph.parameters
        made = list(dict.fromkeys(v for vs in told.values() for v in vs if v.name not in own))
        joint = self._with_outputs(made)
        variables = {k: aligned(a) for k, a in self.parameters.items()}
        gradients = {k: aligned(np.zeros_like(variables[k])) for k in self.task.learned}
        result = BatchProgram(joint, variables, gradients, Workers(1)).run(self.batch)
        seen = {**own, **{v.name: result.outputs[f"decided.{v.name}"] for v in made}}
        recorded = {k: [tensor_of(seen[v.name]) for v in vs] for k, vs in told.items()}
        return gradients, recorded

    def by_torch(self, recorded: Mapping[str, Sequence[Any]] | None = None) -> dict[str, Array]:
        """Gradients by autograd in float64, perhaps under the decisions of another run."""
        tensors = {
            v.name: tensor_of(a) for v, a in zip(self.forward.inputs, self.inputs, strict=True)
        }
        leaves = [tensors[k].requires_grad_() for k in self.task.learned]
        # Numbers that are drawn have the precision of the run that is compared with.
        graph = in_float64(self.forward) if recorded is None else self.forward
        loss = evaluate(graph, list(tensors.values()), recorded)[-1]
        found = torch.autograd.grad(loss, leaves, allow_unused=True)
        return {
            k: np.zeros(x.shape) if g is None else g.numpy()
            for k, x, g in zip(self.task.learned, leaves, found, strict=True)
        }

    def _with_outputs(self, values: Sequence[Value]) -> JointGraph:
        """Let the program return further values, as if they were outputs of the model."""
        graph, first = self.joint.graph, len(self.joint.outputs)
        outputs = (*graph.outputs[:first], *values, *graph.outputs[first:])
        names = (*self.joint.outputs, *(f"decided.{v.name}" for v in values))
        return replace(self.joint, graph=replace(graph, outputs=outputs), outputs=names)


def compare(found: Arrays, reference: Arrays) -> Comparison:
    """Compare gradients tensor by tensor.

    Some are analytically zero, such as that of a bias before a batch norm, which takes any
    offset away, or of the bias of attention's keys, which shifts all scores of a softmax. Only
    rounding errors are left of them; these are measured against the gradients of the model.
    """
    total = float(np.sqrt(sum(np.sum(np.square(r)) for r in reference.values())))
    errors: dict[str, float] = {}
    zeros: dict[str, float] = {}
    for name, r in reference.items():
        norm = float(np.linalg.norm(r))
        gone = norm <= 1e-12 * total
        error = float(np.linalg.norm(found[name].astype(np.float64) - r))
        (zeros if gone else errors)[name] = error / (total if gone else norm)
    return Comparison(errors, zeros)


def problem(model: Model, batch: Arrays, seed: int = 0) -> Problem:
    """Return a problem whose parameters are in general position, with targets for all outputs."""
    rng = np.random.default_rng(seed)
    graph = model.graph({k: batch[k].shape for k in model.inputs}, tuple(model.parameters), {})
    toward = {
        f"toward.{k}": rng.standard_normal(v.type.dims).astype(numpy_dtype(v.type.dtype))
        for k, v in enumerate(graph.outputs)
        if isinstance(v.type, TensorType)
    }
    labels = {
        f"labels.{k}": rng.integers(0, v.type.dims[1], v.type.dims[:1])
        for k, v in enumerate(graph.outputs)
        if isinstance(v.type, TensorType) and v.type.rank == 2
    }
    parameters = {
        k: _general(a, rng) if k in model.trainable else a for k, a in model.parameters.items()
    }
    samples = len(next(iter(batch.values())))
    keys = {KEY: rng.integers(0, 1 << 32, (samples, 4), np.uint32)}
    return Problem(model, {**batch, **keys, **toward, **labels}, parameters)


def _general(array: Array, rng: np.random.Generator) -> Array:
    """Move scales off one and offsets off zero, so that no gradient is special."""
    moved = 0.1 * rng.standard_normal(array.shape) if array.ndim == 1 else 0.0
    return np.asarray(array + moved, array.dtype)


def aligned(array: Array) -> Array:
    """Return a copy that programs can be bound to."""
    made = aligned_empty(array.shape, array.dtype)
    np.copyto(made, array)
    return made
