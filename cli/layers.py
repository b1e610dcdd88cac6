# SPDX-License-Identifier: MIT
"""A compiled model kernel by kernel: what each computed, and what the interpreter says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..codegen.build import build
from ..compiler import Compiler, arena_plan, target_ready
from ..errors import RanvierError
from ..frontend.specialise import Stage
from ..ir.graph import Graph, Node
from ..ir.interpreter import interpret
from ..ir.ops.fused import Fused, is_compiled
from ..ir.structure import structures_of
from ..ir.types import TensorType
from ..runtime.executor import Executor
from ..runtime.stages import Result, flatten, unflatten
from .deviation import Deviation, deviation, tolerance_of


@dataclass(frozen=True)
class Layer:
    """One node of a target-ready graph.

    Attributes:
        stage: number of the stage it is in.
        label: its ops and the shape of its first result.
        source: the model's node it came from.
        on_host: whether the executor evaluates it, so that there is nothing to compare.
        deviation: of its results from the interpreter's, on the operands that it was given.
    """

    stage: int
    label: str
    source: str
    on_host: bool
    deviation: Deviation


@dataclass(frozen=True)
class Comparison:
    """A run of a compiled model beside the interpreter.

    Attributes:
        layers: every node, in order of execution.
        outputs: of the compiled model.
        reference: outputs of the interpreter on the graph before any pass.
        tolerance: the error to allow in the outputs, by the narrowest element type.
    """

    layers: list[Layer]
    outputs: list[Any]
    reference: list[Any]
    tolerance: float


def compare_layers(
    compiler: Compiler,
    arrays: Sequence[Any],
    tolerance: float | None = None,
    tick: Callable[[str], None] = lambda _: None,
) -> Comparison:
    """Run a model compiled and interpreted, and compare every node on its own operands.

    An error is so shown where it arises and not where it is carried on to.

    Args:
        compiler: of the model.
        arrays: inputs in the model's order.
        tolerance: allowed error of floats.
        tick: called with each node's label before it is interpreted.
    """
    inputs = dict(zip((s.name for s in compiler.artifact.model.inputs), arrays, strict=True))
    compiled, reference = dict(inputs), dict(inputs)
    layers: list[Layer] = []
    dtypes: set[str] = set()
    name, number = "", 0
    while True:
        key = _stage_inputs(compiler, name)
        operands = [compiled[n] for n in key]
        specialisation = compiler.specialise(name, operands)
        stage, _ = compiler.stage(name, structures_of(operands), operands)
        ready = target_ready(stage.graph, compiler.target)
        dtypes |= _dtypes(ready)
        env = _run_tapped(compiler, ready, stage, operands)
        layers += [_layer(node, env, number, tolerance, tick) for node in ready.nodes]
        executor = Executor(specialisation.program, specialisation.library, specialisation.weights)
        compiled.update(unflatten(specialisation.results, executor.run(flatten(operands))))
        tick("reference")
        _interpret(stage, [reference[n] for n in key], specialisation.results, reference)
        if specialisation.following is None:
            names = [s.name for s in compiler.artifact.model.outputs]
            return Comparison(
                layers,
                [compiled[n] for n in names],
                [reference[n] for n in names],
                tolerance_of(dtypes) if tolerance is None else tolerance,
            )
        name, number = specialisation.following.name, number + 1


def _stage_inputs(compiler: Compiler, name: str) -> list[str]:
    return [value.name for value in compiler.imported_stage(name).inputs]


def _interpret(
    stage: Stage, operands: Sequence[Any], results: Sequence[Result], env: dict[str, Any]
) -> None:
    values = interpret(stage.graph, flatten(operands))
    env.update(unflatten(results, values))


def _run_tapped(
    compiler: Compiler, ready: Graph, stage: Stage, operands: Sequence[Any]
) -> Mapping[str, Any]:
    """Run the same kernels with every result an output; return values by name."""
    known = set(ready.outputs)
    taps = tuple(v for node in ready.nodes for v in node.outputs if v not in known)
    tapped = replace(ready, outputs=(*ready.outputs, *taps))
    built = build(tapped, compiler.target, arena_plan, stage.checks)
    executor = Executor(built.program, built.library, built.weights)
    arrays = flatten(operands)
    results = executor.run(arrays)
    hidden = {position for position, _ in stage.checks}
    visible = [v.name for k, v in enumerate(tapped.outputs) if k not in hidden]
    flags = {tapped.outputs[k].name: np.array(True) for k in hidden}
    inputs = dict(zip((v.name for v in ready.inputs), arrays, strict=True))
    return {**ready.parameters, **inputs, **flags, **dict(zip(visible, results, strict=True))}


def _layer(
    node: Node,
    env: Mapping[str, Any],
    stage: int,
    tolerance: float | None,
    tick: Callable[[str], None],
) -> Layer:
    label = node.op.label if isinstance(node.op, Fused) else node.op.name
    shown = f"{label} {node.outputs[0].type}" if node.outputs else label
    tick(shown)
    on_host = not is_compiled(node)
    found = Deviation(0.0, 0.0) if on_host else _deviation(node, env, tolerance)
    return Layer(stage, shown, node.source, on_host, found)


def _deviation(node: Node, env: Mapping[str, Any], tolerance: float | None) -> Deviation:
    try:
        with np.errstate(all="ignore"):
            expected = node.op.evaluate(*(env[v.name] for v in node.inputs))
    except RanvierError as error:
        return Deviation(np.inf, 0.0, f"the interpreter refuses: {error}")
    values = [env[v.name] for v in node.outputs]
    if tolerance is None:
        tolerance = tolerance_of(_dtypes(Graph("", (), (node,), ())))
    return deviation(values, list(expected), tolerance)


def _dtypes(graph: Graph) -> set[str]:
    """Return every element type in a graph, regions included."""
    values = (v for node in graph.walk() for v in (*node.inputs, *node.outputs))
    return {v.type.dtype for v in values if isinstance(v.type, TensorType)}
