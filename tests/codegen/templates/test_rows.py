# SPDX-License-Identifier: MIT
"""Kernels of rows against NumPy in float64: tails, special values, threads, what is refused."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ranvier.codegen.targets import parse_target
from ranvier.codegen.templates import choose
from ranvier.codegen.templates.rows import RowKernel
from ranvier.codegen.views import View, row_major
from ranvier.compiler import build_canonical, run_canonical, target_ready
from ranvier.ir import Array, Emitter, Graph, Op, TensorType, Value, interpret, ops, type_of
from ranvier.runtime.executor import Executor
from ranvier.runtime.team import Workers

LENGTHS = [1, 7, 8, 9, 127, 128, 1000]
Reference = Callable[..., Array]


def graph_of(op: Op, arrays: Sequence[Array]) -> Graph:
    """Return the graph that applies ``op`` to arguments like ``arrays``."""
    emit = Emitter()
    arguments = [emit.argument(type_of(a)) for a in arrays]
    return emit.graph("rows", arguments, [emit(op, *arguments)])


def plans(graph: Graph) -> list[RowKernel]:
    """Return the row kernels that the graph is compiled to."""
    target = parse_target("cpu")
    assert target.unit is not None
    ready = target_ready(graph, target)
    found = [choose(node, ready.parameters, target.unit) for node in ready.nodes]
    return [plan for plan in found if isinstance(plan, RowKernel)]


def softmax(x: Array) -> Array:
    """Return softmax along the last axis."""
    powers = np.exp(x - x.max(-1, keepdims=True))
    return np.asarray(powers / powers.sum(-1, keepdims=True))


def layer_norm(x: Array, scale: Array, bias: Array) -> Array:
    """Return the layer norm over the last axis."""
    centred = x - x.mean(-1, keepdims=True)
    variance = (centred * centred).mean(-1, keepdims=True)
    return np.asarray(centred / np.sqrt(variance + 1e-5) * scale + bias)


def rms_norm(x: Array, scale: Array) -> Array:
    """Return the root mean square norm over the last axis."""
    return np.asarray(x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-5) * scale)


CASES: list[tuple[Op, Reference, int]] = [
    (ops.Softmax(1), softmax, 0),
    (ops.LogSoftmax(1), lambda x: np.log(softmax(x)), 0),
    (ops.LayerNorm(1), layer_norm, 2),
    (ops.RmsNorm(1), rms_norm, 1),
    (ops.ReduceMean((1,)), lambda x: x.mean(-1), 0),
    (ops.ReduceSum((1,)), lambda x: x.sum(-1), 0),
    (ops.ReduceMax((1,)), lambda x: x.max(-1), 0),
    (ops.ReduceMin((1,)), lambda x: x.min(-1), 0),
]
each_case = pytest.mark.parametrize(
    ("op", "reference", "parameters"), CASES, ids=[c[0].name for c in CASES]
)


def check(op: Op, reference: Reference, parameters: int, shape: tuple[int, int]) -> None:
    """Compare with ``reference``, relative to its largest number."""
    rng = np.random.default_rng(shape[1])
    x = 3 * rng.standard_normal(shape) + 5
    arrays = [x, *rng.standard_normal((parameters, shape[1]))]
    narrow = [a.astype(np.float32) for a in arrays]
    expected = reference(*(a.astype(np.float64) for a in narrow))
    (actual,) = run_canonical(graph_of(op, narrow), narrow)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-6 * np.abs(expected).max())


@each_case
@pytest.mark.parametrize("length", LENGTHS)
def test_rows_of_any_length(op: Op, reference: Reference, parameters: int, length: int) -> None:
    check(op, reference, parameters, (5, length))


@given(rows=st.integers(1, 5), length=st.integers(8, 200))
@pytest.mark.parametrize("case", [CASES[0], CASES[2]], ids=["softmax", "layer_norm"])
def test_any_number_of_rows(case: tuple[Op, Reference, int], rows: int, length: int) -> None:
    check(*case, (rows, length))


@each_case
def test_each_is_one_kernel(op: Op, reference: Reference, parameters: int) -> None:
    x = np.ones((16, 40), np.float32)
    graph = graph_of(op, [x, *[x[0]] * parameters])
    assert [str(p) for p in plans(graph)] == [f"rows(16x40, lanes={plans(graph)[0].unit.lanes})"]
    assert len(target_ready(graph, parse_target("cpu")).nodes) == 1


def test_a_mean_far_from_zero_costs_no_digits() -> None:
    """The variance is that of the differences from the mean, not a difference of squares."""
    x = (1000 + np.random.default_rng(0).standard_normal((3, 1000))).astype(np.float32)
    one, zero = np.ones(1000, np.float32), np.zeros(1000, np.float32)
    (actual,) = run_canonical(graph_of(ops.LayerNorm(1), [x, one, zero]), [x, one, zero])
    expected = layer_norm(x.astype(np.float64), one, zero)
    # The mean itself has 24 digits, of which ten are before the point.
    np.testing.assert_allclose(actual, expected, rtol=0, atol=2e-4)
    np.testing.assert_allclose(actual.std(-1), 1, rtol=1e-5)


@pytest.mark.parametrize("op", [c[0] for c in CASES if c[2] == 0], ids=lambda op: op.name)
@pytest.mark.parametrize("length", [9, 70])
def test_special_numbers(op: Op, length: int) -> None:
    x = np.random.default_rng(1).standard_normal((9, length)).astype(np.float32)
    x[0, 0] = x[1, -1] = x[2, length // 2] = np.nan
    x[3, 1] = x[4, -1] = np.inf
    x[5, 2], x[6], x[7], x[8, 3:5] = -np.inf, -np.inf, np.nan, (np.inf, -np.inf)
    graph = graph_of(op, [x])
    (expected,), (actual,) = interpret(graph, [x]), run_canonical(graph, [x])
    np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_large_numbers_do_not_overflow() -> None:
    x = np.full((2, 40), 3e38, np.float32)
    (actual,) = run_canonical(graph_of(ops.Softmax(1), [x]), [x])
    np.testing.assert_allclose(actual, 1 / 40, rtol=1e-6)


def test_reductions_over_several_axes_and_what_follows() -> None:
    emit = Emitter()
    x = emit.argument(TensorType("float32", (2, 5, 6, 7)), "x")
    scale = emit.argument(TensorType("float32", (5, 1, 1)), "scale")
    mean = emit(ops.Reshape((2, 5, 1, 1)), emit(ops.ReduceMean((2, 3)), x))
    graph = emit.graph("pool", [x, scale], [emit(ops.Tanh(), emit(ops.Mul(), mean, scale))])
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(s).astype(np.float32) for s in ((2, 5, 6, 7), (5, 1, 1))]
    assert plans(graph)
    np.testing.assert_allclose(
        run_canonical(graph, arrays)[0], interpret(graph, arrays)[0], rtol=0, atol=1e-6
    )


def test_an_epilogue_reads_by_row_and_column() -> None:
    emit = Emitter()
    shapes = [(1, 3, 4, 33), (1, 1, 1, 33), (3, 1, 1)]
    x, weight, gate = (emit.argument(TensorType("float32", s)) for s in shapes)
    y = emit(ops.Mul(), emit(ops.Softmax(3), x), weight)
    z: Value = emit(ops.Sigmoid(), emit(ops.Mul(), y, gate))
    graph = emit.graph("epilogue", [x, weight, gate], [z])
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(s).astype(np.float32) for s in shapes]
    assert len(plans(graph)) == 1
    np.testing.assert_allclose(
        run_canonical(graph, arrays)[0], interpret(graph, arrays)[0], rtol=0, atol=1e-6
    )


def test_results_do_not_depend_on_the_number_of_threads() -> None:
    x = np.random.default_rng(0).standard_normal((300, 129)).astype(np.float32)
    one = np.ones(129, np.float32)
    graph = graph_of(ops.LayerNorm(1), [x, one, one])
    built = build_canonical(graph, parse_target("cpu"))
    results = [
        Executor(built.program, built.library, built.weights, Workers(n)).run([x, one, one])[0]
        for n in (1, 2, 3)
    ]
    assert built.program.kernels[0].parallel
    assert all(r.tobytes() == results[0].tobytes() for r in results)


def test_rows_that_do_not_lie_in_one_piece_are_left_to_te() -> None:
    x = np.ones((1, 16, 4, 8), np.float32)
    (plan,) = plans(graph_of(ops.ReduceMax((2, 3)), [x]))
    result = row_major((1, 16))
    assert plan.build([row_major(x.shape), result]) is not None
    assert plan.build([View(x.shape, (512, 1, 128, 16)), result]) is None


@pytest.mark.parametrize(
    ("op", "shape", "dtype"),
    [
        (ops.Softmax(1), (2, 40, 40), "float32"),  # not the innermost axis
        (ops.Softmax(1), (2, 4), "float32"),  # shorter than a vector
        (ops.Softmax(1), (2, 40), "float64"),
        (ops.ReduceSum((0,)), (40, 40), "float32"),
        (ops.ArgMax(1), (4, 40), "float32"),
    ],
)
def test_others_are_left_to_te(op: Op, shape: tuple[int, ...], dtype: str) -> None:
    x = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    graph = graph_of(op, [x])
    assert not plans(graph)
    expected = interpret(graph, [x])[0]
    np.testing.assert_allclose(run_canonical(graph, [x])[0], expected, rtol=1e-5)


def test_sums_are_added_in_many_parts() -> None:
    """One running sum of float32 would be off by 1e-3."""
    x = np.full((1, 1 << 20), 0.1, np.float32)
    (actual,) = run_canonical(graph_of(ops.ReduceSum((1,)), [x]), [x])
    assert math.isclose(float(actual[0]), float(x.astype(np.float64).sum()), rel_tol=5e-6)
