# SPDX-License-Identifier: MIT
"""Both pipelines on every op: values stay, with operands as inputs and as parameters."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given

from agreement import assert_agree
from arrays import inputs_for
from random_graphs import graphs
from ranvier.errors import RanvierError
from ranvier.ir import Emitter, Graph, Kind, TensorType, Value, interpret, ops, parse_graph, type_of
from ranvier.passes import CANONICAL, TARGET_READY, run_passes
from ranvier.passes.purity import is_pure
from samples import Sample, all_samples

SAMPLES = [s for s in all_samples() if is_pure(s.op)]
every_sample = pytest.mark.parametrize("sample", SAMPLES, ids=str)


def ready(graph: Graph) -> Graph:
    """Run both pipelines, predicates checked."""
    return run_passes(graph, (*CANONICAL, *TARGET_READY), check=True)


def as_graph(sample: Sample, constant: bool) -> tuple[Graph, list[Any]]:
    """Return the op applied to inputs, or its arrays to parameters; and the inputs."""
    emit = Emitter()
    values, inputs, arguments = [], [], []
    for k, operand in enumerate(sample.inputs):
        if constant and isinstance(operand, np.ndarray | np.generic):
            values.append(emit.constant(np.asarray(operand)))
        else:
            values.append(emit.argument(type_of(operand), f"x{k}"))
            arguments.append(values[-1])
            inputs.append(operand)
    return emit.graph("sample", arguments, emit.multi(sample.op, *values)), inputs


def check(sample: Sample, constant: bool) -> None:
    """Compare a sample's values before and after."""
    graph, inputs = as_graph(sample, constant)
    expected = interpret(graph, inputs)
    for actual, wanted in zip(interpret(ready(graph), inputs), expected, strict=True):
        assert_agree(actual, wanted, max(sample.rtol, 1e-4), max(sample.atol, 1e-5))


@every_sample
def test_values_stay(sample: Sample) -> None:
    check(sample, constant=False)


@every_sample
def test_values_of_constants_stay(sample: Sample) -> None:
    check(sample, constant=True)


@every_sample
def test_only_kernels_and_host_ops_remain(sample: Sample) -> None:
    for node in ready(as_graph(sample, constant=False)[0]).nodes:
        host = node.op.kind is Kind.HOST or not all(map(_in_buffer, node.inputs + node.outputs))
        assert host or ops.is_compiled(node), node.op.name


def _in_buffer(value: Value) -> bool:
    type = value.type
    return isinstance(type, TensorType) and type.is_static and type.dtype != "string"


@given(graphs())
def test_random_graphs_keep_their_values(graph: Graph) -> None:
    inputs = inputs_for(graph)
    after = ready(graph)
    assert after.outputs == graph.outputs
    for actual, wanted in zip(interpret(after, inputs), interpret(graph, inputs), strict=True):
        assert_agree(actual, wanted, 1e-4, 1e-5)


def test_unseeded_random_numbers_are_neither_folded_nor_shared() -> None:
    graph = parse_graph(
        """graph @g() {
  %a: uint32[4] = random_key()
  %b: uint32[4] = random_key()
  return %a, %b
}"""
    )
    assert ready(graph) is graph


def test_errors_of_constants_are_left_to_the_run() -> None:
    graph = parse_graph(
        """graph @g() {
  param %x: float32[2] = (1.0, 2.0)
  param %at: int64[] = (5,)
  %y: float32[] = gather(%x, %at)
  return %y
}"""
    )
    after = run_passes(graph, CANONICAL)
    with pytest.raises(RanvierError, match="index 5"):
        interpret(after, [])
