# SPDX-License-Identifier: MIT
"""Every pass leaves the values of random graphs as they are, and so does compiling."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings

from agreement import Compiled, assert_agree
from arrays import inputs_for
from random_graphs import graphs
from ranvier.ir import Graph, interpret, print_graph, verify
from ranvier.ir.verify import holds
from ranvier.passes import PASSES, TRAINING

RULES = sorted(PASSES.keys() - set(TRAINING))
"""Those of TRAINING add outputs: they have tests of their own."""


@pytest.mark.parametrize("name", RULES)
@given(graph=graphs())
def test_pass_keeps_values(name: str, graph: Graph) -> None:
    rule = PASSES[name]
    assume(all(holds(graph, p) for p in rule.requires))
    after = verify(rule(graph), ("ssa", *rule.ensures))
    assert [v.type for v in after.inputs] == [v.type for v in graph.inputs]
    inputs = inputs_for(graph)
    for actual, expected in zip(interpret(after, inputs), interpret(graph, inputs), strict=True):
        assert_agree(actual, expected, 1e-4, 1e-5)


@pytest.mark.parametrize("name", RULES)
@settings(max_examples=20)
@given(graph=graphs())
def test_pass_twice_is_once(name: str, graph: Graph) -> None:
    rule = PASSES[name]
    assume(all(holds(graph, p) for p in rule.requires))
    once = rule(graph)
    assert print_graph(rule(once)) == print_graph(once)


@settings(max_examples=12)
@given(graph=graphs())
def test_compiled_is_interpreted(compiled: Compiled, graph: Graph) -> None:
    inputs = inputs_for(graph)
    results = zip(compiled(graph, inputs), interpret(graph, inputs), strict=True)
    for actual, expected in results:
        assert_agree(actual, expected, 1e-4, 1e-5)
