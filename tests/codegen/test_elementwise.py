# SPDX-License-Identifier: MIT
"""Compiled elementwise ops agree with NumPy where floats are not ordinary numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from ranvier.codegen.kernel import build_kernel
from ranvier.codegen.targets import parse_target
from ranvier.ir import (
    Array,
    Emitter,
    Graph,
    Op,
    interpret,
    numpy_dtype,
    ops,
    parse_graph,
    type_of,
)
from ranvier.ir.ops import elementary

Compiled = Callable[[Graph, Sequence[Any]], list[Any]]

NUMBERS = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, -1.5, 2.5, 3.0, -3.0, np.inf, -np.inf, np.nan]
NUMBERS += [1e-3, 6e4, -7.25, 20.0, -90.0, 100.7, 0.99, -0.99, 1e-5, -1e-6, 1e-20, 300.0]
BINARY: list[Op] = [ops.Add(), ops.Sub(), ops.Mul(), ops.Div(), ops.Rem(), ops.Mod(), ops.Pow()]
BINARY += [ops.Maximum(), ops.Minimum(), ops.Atan2(), ops.Equal(), ops.Less(), ops.GreaterEqual()]
UNARY: list[Op] = [ops.Neg(), ops.Abs(), ops.Sign(), ops.Ceil(), ops.Floor(), ops.Round()]
UNARY += [ops.Trunc(), ops.Reciprocal(), ops.IsNan(), ops.IsInf(), ops.Cast("bool")]
SMOOTH: list[Op] = [
    getattr(elementary, name)() for name in elementary.__all__ if name != "Elementary"
]
# Units in the last place: C's functions are right within 2, NumPy's vectorised ones within 4.
TOLERANCE = {"float32": 6e-7, "float64": 1e-13, "bfloat16": 0.0, "float16": 0.0}


def graph_of(operands: Sequence[Array], wanted: Sequence[Op]) -> Graph:
    """Return the graph that applies each op to the same operands."""
    emit = Emitter()
    arguments = [emit.argument(type_of(a)) for a in operands]
    return emit.graph("ops", arguments, [emit(op, *arguments) for op in wanted])


def assert_same(actual: Array, expected: Array, rtol: float, where: str) -> None:
    """Assert near equality, with NaN in the same places and zeros of the same sign."""
    if expected.dtype == np.bool_:
        np.testing.assert_array_equal(actual, expected, err_msg=where)
        return
    a, e = actual.astype(np.float64), expected.astype(np.float64)
    np.testing.assert_allclose(a, e, rtol, 0, err_msg=where)
    zero = e == 0
    np.testing.assert_array_equal(np.signbit(a[zero]), np.signbit(e[zero]), err_msg=where)


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_special_numbers_of_two_operands(dtype: str, compiled: Compiled) -> None:
    x, y = (g.ravel().astype(numpy_dtype(dtype)) for g in np.meshgrid(NUMBERS, NUMBERS))
    graph = graph_of([x, y], BINARY)
    results = zip(BINARY, compiled(graph, [x, y]), interpret(graph, [x, y]), strict=True)
    for op, actual, expected in results:
        assert_same(actual, expected, TOLERANCE[dtype], op.name)


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_special_numbers_of_one_operand(dtype: str, compiled: Compiled) -> None:
    x = np.array(NUMBERS).astype(numpy_dtype(dtype))
    graph = graph_of([x], UNARY + SMOOTH)
    results = zip(UNARY + SMOOTH, compiled(graph, [x]), interpret(graph, [x]), strict=True)
    for op, actual, expected in results:
        assert_same(actual, expected, TOLERANCE[dtype], op.name)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_functions_over_their_range(dtype: str, compiled: Compiled) -> None:
    magnitudes = np.geomspace(1e-12, 80, 400)
    x = np.concatenate([-magnitudes[::-1], magnitudes]).astype(dtype)
    graph = graph_of([x], SMOOTH)
    results = zip(SMOOTH, compiled(graph, [x]), interpret(graph, [x]), strict=True)
    for op, actual, expected in results:
        assert_same(actual, expected, TOLERANCE[dtype], op.name)


@pytest.mark.parametrize(
    "comparison", [ops.Equal(), ops.Less(), ops.LessEqual(), ops.Greater(), ops.GreaterEqual()]
)
def test_a_negated_comparison_with_nan_is_true(comparison: Op, compiled: Compiled) -> None:
    """Fused into one kernel, it must not become the opposite comparison."""
    x, y = (g.ravel().astype(np.float32) for g in np.meshgrid(NUMBERS, NUMBERS))
    emit = Emitter()
    a, b = emit.argument(type_of(x)), emit.argument(type_of(y))
    graph = emit.graph("negated", [a, b], [emit(ops.Not(), emit(comparison, a, b))])
    (actual,), (expected,) = compiled(graph, [x, y]), interpret(graph, [x, y])
    np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_integers_wrap_within_a_fused_kernel(dtype: str, compiled: Compiled) -> None:
    info = np.iinfo(dtype)
    x = np.array([info.max, info.min, 0, -1], dtype)
    emit = Emitter()
    a = emit.argument(type_of(x))
    larger = emit(ops.Greater(), emit(ops.Add(), a, emit.constant(np.array(1, dtype))), a)
    smaller = emit(ops.Less(), emit(ops.Sub(), a, emit.constant(np.array(1, dtype))), a)
    graph = emit.graph("wrap", [a], [larger, smaller, emit(ops.Neg(), a), emit(ops.Abs(), a)])
    for actual, expected in zip(compiled(graph, [x]), interpret(graph, [x]), strict=True):
        np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("op", [ops.ReduceMax((0,)), ops.ReduceMin((0,)), ops.ReduceMax((1,))])
def test_extremes_of_many_rows_keep_nan(op: Op, compiled: Compiled) -> None:
    """The first, a middle and the last of the compared numbers may be NaN."""
    x = np.random.default_rng(0).standard_normal((40, 70)).astype(np.float32)
    x[0, 3] = x[20, 4] = x[39, 5] = x[7, 0] = x[8, 69] = np.nan
    x[:, 6], x[:, 7], x[9] = np.inf, -np.inf, -np.inf
    emit = Emitter()
    a = emit.argument(type_of(x))
    graph = emit.graph("extremes", [a], [emit(op, a)])
    np.testing.assert_array_equal(compiled(graph, [x])[0], interpret(graph, [x])[0])


def test_a_choice_between_loads_is_no_branch() -> None:
    """TVM makes a branch of a choice that loads, and LLVM then no vectors."""
    graph = parse_graph("""graph @prelu(%x: float32[4, 8], %slope: float32[1]) {
      param %zero: float32[] = (0.0,)
      %low: bool[4, 8] = less(%x, %zero)
      %small: float32[4, 8] = mul(%x, %slope)
      %y: float32[4, 8] = select(%low, %small, %x)
      return %y
    }""")
    kernel = build_kernel(graph, parse_target("cpu"))
    (choice,) = (line for line in str(kernel.function).splitlines() if "Select(" in line)
    assert not [part for part in choice.rsplit(", ", 2)[1:] if "in_" in part]
