# SPDX-License-Identifier: MIT
"""Less memory by computing again: the same results, a lower need, and no more work than asked."""

from __future__ import annotations

import numpy as np
import pytest

from ranvier.codegen.targets import parse_target
from ranvier.compiler import target_ready
from ranvier.errors import PassError
from ranvier.frontend import builder as nn
from ranvier.ir import Emitter, Graph, TensorType, Value, interpret, ops, verify
from ranvier.passes import differentiate, memory_peak, parameters_as_inputs, rematerialise


@pytest.fixture(scope="module")
def learning() -> Graph:
    """Kernels of a deep chain of convolutions with its gradients."""
    x = nn.input("x", (2, 3, 16, 16))
    y = x
    for k in range(6):
        y = nn.swish(nn.group_norm(nn.conv(y, 8, 3, padding=1, name=f"c{k}"), 2, name=f"n{k}"))
    network = nn.network("chain", [x], {"y": y})
    graph = parameters_as_inputs(network.graph(0), network.parameters)
    emit = Emitter.continuing(graph)
    emit.nodes.extend(graph.nodes)
    square = emit(ops.Mul(), graph.outputs[0], graph.outputs[0])
    loss = emit.multi(ops.ReduceSum((0, 1, 2, 3)), square, names=("loss",))
    graph = emit.graph("chain", graph.inputs, loss, graph.parameters)
    joint = differentiate(graph, wrt=tuple(network.parameters))
    return target_ready(joint, parse_target("cpu"))


def _dims(value: Value) -> tuple[int, ...]:
    assert isinstance(value.type, TensorType)
    return value.type.dims


def work(graph: Graph) -> int:
    return sum(n.op.flops(*(v.type for v in n.inputs)) for n in graph.nodes)


@pytest.mark.parametrize("level", ["mid", "low"])
def test_results_are_the_same_to_the_bit(learning: Graph, level: str) -> None:
    changed = verify(rematerialise(learning, level=level))
    rng = np.random.default_rng(0)
    inputs = [rng.standard_normal(_dims(v)).astype(np.float32) for v in learning.inputs]
    for a, b in zip(interpret(learning, inputs), interpret(changed, inputs), strict=True):
        np.testing.assert_array_equal(a, b)


def test_each_level_needs_less_than_the_one_before(learning: Graph) -> None:
    full, mid, low = (rematerialise(learning, level=x) for x in ("full", "mid", "low"))
    assert full is learning
    assert memory_peak(mid) < 0.8 * memory_peak(full)
    assert memory_peak(low) < 0.9 * memory_peak(mid)
    # Convolutions, nearly all of the work, are not repeated by the level in the middle.
    assert work(mid) < 1.1 * work(full)
    assert work(low) < 1.6 * work(full)


def test_a_budget_ends_the_search(learning: Graph) -> None:
    budget = int(0.9 * memory_peak(learning))
    least = memory_peak(rematerialise(learning, level="low"))
    found = rematerialise(learning, level="low", budget=budget)
    assert least < memory_peak(found) <= budget
    roomy = rematerialise(learning, level="low", budget=memory_peak(learning))
    assert roomy is learning


def test_levels_are_listed(learning: Graph) -> None:
    with pytest.raises(PassError, match="level must be one of full, mid, low, found 'high'"):
        rematerialise(learning, level="high")
