# SPDX-License-Identifier: MIT
"""The rewriting engine: settles chains at once, keeps output names, refuses bad rewrites."""

from __future__ import annotations

import pytest

from ranvier.errors import PassError
from ranvier.ir import Emitter, Graph, Node, TensorType, Value, ops
from ranvier.passes.rewriting import Scope, rewrite, rewrite_graph

F4 = TensorType("float32", (4,))


@rewrite(ops.Neg)
def drop_two(scope: Scope, node: Node) -> Value | None:
    """Return ``x`` for ``neg(neg(x))``."""
    inner = scope.producer(node.inputs[0], ops.Neg)
    return inner.inputs[0] if inner else None


@rewrite(ops.Exp)
def exp_is_square(scope: Scope, node: Node) -> Value:
    """Replace, wrongly but visibly."""
    return scope(ops.Mul(), node.inputs[0], node.inputs[0])


@rewrite(ops.Exp)
def exp_is_sum(scope: Scope, node: Node) -> Value:
    """Replace by another type."""
    return scope(ops.ReduceSum((0,)), node.inputs[0])


@rewrite(ops.Neg)
def neg_again(scope: Scope, node: Node) -> Value:
    """Replace by the same, for ever."""
    return scope(ops.Neg(), node.inputs[0])


def chain(length: int) -> Graph:
    """Return ``exp(neg(neg(...x)))``."""
    emit = Emitter()
    x = emit.argument(F4, "x")
    y = x
    for _ in range(length):
        y = emit(ops.Neg(), y)
    return emit.graph("g", [x], [emit(ops.Exp(), y)])


def test_a_chain_settles() -> None:
    assert [n.op.name for n in rewrite_graph(chain(11), (drop_two,)).nodes] == ["neg", "exp"]


def test_nothing_to_do_returns_the_same_object() -> None:
    graph = chain(1)
    assert rewrite_graph(graph, (drop_two,)) is graph


def test_replacements_take_over_the_names_of_outputs() -> None:
    emit = Emitter()
    x = emit.argument(F4, "x")
    (y,) = emit.multi(ops.Exp(), x, names=("result",))
    z = emit(ops.Neg(), y)
    after = rewrite_graph(emit.graph("g", [x], [y, z]), (exp_is_square,))
    assert after.outputs == (y, z)
    assert [(n.op.name, n.output.name) for n in after.nodes] == [("mul", "result"), ("neg", z.name)]


def test_an_output_replaced_by_an_input_is_a_copy() -> None:
    emit = Emitter()
    x = emit.argument(F4, "x")
    y = emit(ops.Neg(), emit(ops.Neg(), x))
    after = rewrite_graph(emit.graph("g", [x], [y]), (drop_two,))
    assert after.outputs == (y,)
    (node,) = after.nodes
    assert (node.op, node.inputs) == (ops.Reshape((4,)), (x,))


def test_sources_are_handed_on() -> None:
    emit = Emitter()
    x = emit.argument(F4, "x")
    with emit.source("block.0"):
        y = emit(ops.Exp(), x)
    assert rewrite_graph(emit.graph("g", [x], [y]), (exp_is_square,)).nodes[0].source == "block.0"


def test_regions_are_rewritten() -> None:
    bodies = (chain(2), chain(4))
    emit = Emitter()
    c, x = emit.argument(TensorType("bool", ())), emit.argument(F4)
    graph = emit.graph("g", [c, x], [emit(ops.Branch(*bodies), c, x)])
    after = rewrite_graph(graph, (drop_two,))
    assert [len(region.nodes) for region in after.nodes[0].op.regions()] == [1, 1]


def test_uses_count_readers_and_outputs() -> None:
    seen: list[int] = []

    @rewrite(ops.Exp)
    def look(scope: Scope, node: Node) -> None:
        seen.append(scope.uses(node.inputs[0]))

    emit = Emitter()
    x = emit.argument(F4)
    y = emit(ops.Neg(), x)
    graph = emit.graph("g", [x], [y, emit(ops.Exp(), y), emit(ops.Abs(), y)])
    rewrite_graph(graph, (look,))
    assert seen == [3]


def test_a_rewrite_must_keep_types() -> None:
    message = r"rewrite exp_is_sum of exp replaces \['float32\[4\]'\] by \['float32\[\]'\]"
    with pytest.raises(PassError, match=message):
        rewrite_graph(chain(1), (exp_is_sum,))


def test_rewrites_must_come_to_an_end() -> None:
    with pytest.raises(PassError, match="neg_again"):
        rewrite_graph(chain(1), (neg_again,))
