# SPDX-License-Identifier: MIT
"""Reverse mode over graphs: what is accumulated, what is left out, what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from ranvier.errors import OpError
from ranvier.ir import Emitter, Graph, TensorType, interpret, ops, verify
from ranvier.ir.gradient import differentiate, pullback, reverse

ROW = TensorType("float64", (3,))
X = np.array([0.5, -1.0, 2.0])
ONES = np.ones(3)


def test_cotangents_of_several_uses_are_added() -> None:
    emit = Emitter()
    x = emit.argument(ROW, "x")
    square = emit(ops.Mul(), x, x)
    graph = emit.graph("g", [x], [emit(ops.Add(), square, x)])
    (dx,) = interpret(verify(differentiate(graph)), [X, ONES])
    np.testing.assert_allclose(dx, 2 * X + 1)


def test_value_that_is_output_twice_gets_both_cotangents() -> None:
    emit = Emitter()
    x = emit.argument(ROW, "x")
    y = emit(ops.Exp(), x)
    graph = emit.graph("g", [x], [y, y])
    (dx,) = interpret(verify(differentiate(graph)), [X, ONES, 2 * ONES])
    np.testing.assert_allclose(dx, 3 * np.exp(X))


def test_input_without_influence_gets_zeros() -> None:
    emit = Emitter()
    x, unused = emit.argument(ROW, "x"), emit.argument(ROW, "unused")
    graph = emit.graph("g", [x, unused], [emit(ops.Exp(), x)])
    _, zeros = interpret(verify(differentiate(graph)), [X, X, ONES])
    np.testing.assert_array_equal(zeros, np.zeros(3))


def _product() -> Graph:
    emit = Emitter()
    x, y = emit.argument(ROW, "x"), emit.argument(ROW, "y")
    return emit.graph("product", [x, y], [emit(ops.Mul(), x, y)])


def test_argument_that_is_passed_twice_has_one_cotangent() -> None:
    emit = Emitter()
    x, seed = emit.argument(ROW, "x"), emit.argument(ROW, "seed")
    dx, nothing = pullback(emit, _product(), (x, x), (seed,))
    assert dx is not None
    assert nothing is None
    (result,) = interpret(verify(emit.graph("g", [x, seed], [dx])), [X, ONES])
    np.testing.assert_allclose(result, 2 * X)


def test_op_without_gradient_is_harmless_where_none_flows() -> None:
    emit = Emitter()
    x = emit.argument(ROW, "x")
    position = emit(ops.ArgMax(0), x)
    y = emit(ops.Exp(), x)
    (dx,) = reverse(emit, emit.nodes, [x], {y: y})
    assert dx is not None
    graph = emit.graph("g", [x], [dx, position])
    np.testing.assert_allclose(interpret(graph, [X])[0], np.exp(2 * X))


def test_op_without_gradient_is_named_with_its_node() -> None:
    emit = Emitter()
    x = emit.argument(ROW, "x")
    go, more = emit.constant(True), Emitter()
    iteration = more.argument(TensorType("int64", ()))
    state = more.argument(ROW)
    body = more.graph("body", [iteration, state], [more.constant(False), state])
    with emit.source("repeat"):
        (y,) = emit.multi(ops.WhileLoop(body), go, x)
    with pytest.raises(OpError, match=r"while_loop: has no gradient.*\(node 'repeat'\)"):
        reverse(emit, emit.nodes, [x], {y: x})


def test_integers_have_no_cotangent() -> None:
    emit = Emitter()
    n = emit.argument(TensorType("int64", (3,)), "n")
    y = emit(ops.Cast("float64"), n)
    assert reverse(emit, emit.nodes, [n], {y: y}) == (None,)


def test_gradients_can_be_differentiated_again() -> None:
    emit = Emitter()
    x = emit.argument(ROW, "x")
    graph = emit.graph("cube", [x], [emit(ops.Mul(), x, emit(ops.Mul(), x, x))])
    second = verify(differentiate(differentiate(graph)))
    dx, _ = interpret(second, [X, ONES, ONES])
    np.testing.assert_allclose(dx, 6 * X)
