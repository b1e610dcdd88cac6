# SPDX-License-Identifier: MIT
"""Specialising to shapes and values, and running what is left stage by stage."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from onnx_text import imported, ops_of, stages
from ranvier.errors import ExecutionError, InputError, ModelError
from ranvier.frontend import NeedsInputs, Stage, StagedRunner, interpreted, specialise
from ranvier.frontend.convert import _REGISTRY as REGISTRY
from ranvier.frontend.sketch import INTERNAL
from ranvier.ir import Array, Graph, Node, TensorType, UnknownType, Value, ops

X = np.array([[0, 1, 2], [3, 0, 5]], np.float32)


def float32(numbers: Any) -> Array:
    return np.array(numbers, np.float32)


def int64(*numbers: int) -> Array:
    return np.array(numbers, np.int64)


# Shapes


def test_shape_arithmetic_disappears() -> None:
    (stage,), (y,) = stages(
        """
        net (float[N,C] x) => (float[K] y) <int64[1] minus = {-1}> {
          s = Shape(x)
          zero = Constant<value_int = 0>()
          n = Gather(s, zero)
          axes = Constant<value_ints = [0]>()
          u = Unsqueeze(n, axes)
          t = Concat<axis = 0>(u, minus)
          r = Reshape(x, t)
          y = Relu(r)
        }""",
        X,
    )
    assert [op for op in ops_of(stage) if op != "reshape"] == ["relu"]
    assert stage.rest is None
    np.testing.assert_array_equal(y, X)


def test_results_keep_their_names() -> None:
    (stage,), _ = stages("net (float[2] x) => (float[2] y) { a = Neg(x) y = Relu(a) }", X[0, :2])
    assert [n.output.name for n in stage.graph.nodes] == ["a", "y"]
    assert [n.source for n in stage.graph.nodes] == ["Neg_0", "Relu_1"]
    assert [v.name for v in stage.graph.outputs] == ["y"]


def test_one_value_may_be_two_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        REGISTRY, (INTERNAL, "Twice"), lambda c: [c.emit(ops.Relu(), c.operand(0))] * 2
    )
    x, y, z = (Value(n, TensorType("float32", (2,))) for n in "xyz")
    op = ops.Onnx("Twice", 1, INTERNAL, (0,), (0, 1))
    unknown = [Value(v.name, UnknownType()) for v in (y, z)]
    graph = Graph("g", (x,), (Node(op, (x,), tuple(unknown)),), tuple(unknown))
    stage = specialise(graph, [TensorType("float32", (2,))])
    assert stage.graph.outputs == (y, y)
    assert [slot.name for slot in stage.results] == ["y", "z"]


def test_nodes_that_no_output_needs_are_not_converted() -> None:
    (stage,), _ = stages(
        "net (float[2] x) => (float[2] y) { bad = Reshape(x, x2) x2 = Shape(x) z = Cast<to=7>(x)"
        " w = ConstantOfShape(z) y = Relu(x) }",
        X[0, :2],
    )
    assert ops_of(stage) == ["relu"]


def test_an_output_may_be_an_input_or_a_constant() -> None:
    (stage,), outputs = stages(
        """
        net (float[2] x) => (float[2] y, float[2] w, float[2] z) <float[2] w = {1,2}> {
          y = Identity(x)
          z = Identity(x)
        }""",
        X[0, :2],
    )
    assert [v.name for v in stage.graph.outputs] == ["x", "w", "x"]
    np.testing.assert_array_equal(outputs, [X[0, :2], [1, 2], X[0, :2]])


# Values of inputs


RESHAPE = """
    net (float[A,B] x, int64[K] shape) => (float[C,D] y) <int64[1] zero = {0}> {
      s = Add(shape, zero)
      y = Reshape(x, s)
    }"""


def test_a_program_may_depend_on_the_values_of_inputs() -> None:
    graph = imported(RESHAPE).graph
    types = [TensorType("float32", (2, 3)), TensorType("int64", (2,))]
    with pytest.raises(NeedsInputs) as needed:
        specialise(graph, types)
    assert needed.value.names == {"shape"}
    stage = specialise(graph, types, {"shape": int64(3, 2)})
    assert stage.value_inputs == {"shape"}
    # The input is still there, so that callers need not know what was used.
    assert [v.name for v in stage.graph.inputs] == ["x", "shape"]
    assert stage.graph.outputs == (Value("y", TensorType("float32", (3, 2))),)


def test_a_program_does_not_depend_on_the_values_of_data() -> None:
    """The condition comes from many numbers: a program for each image would be absurd."""
    found, (y,) = stages(
        """
        net (float[N,C] x) => (float[K] y) {
          zero = Constant<value_float = 0.0>()
          s = ReduceSum<keepdims = 0>(x)
          c = Greater(s, zero)
          r = Constant<value_ints = [-1]>()
          y = If(c) <then_branch = t () => (float[J] a) { a = Reshape(x, r) },
                     else_branch = e () => (float[L] b) { b = Neg(s) }>
        }""",
        X,
    )
    assert [stage.value_inputs for stage in found] == [frozenset(), {"c"}]
    np.testing.assert_array_equal(y, X.ravel())


# Stages


COUNT = """
    net (float[N,C] x) => (float[K] kept, float[N,C] doubled, int64 n) {
      where = NonZero(x)
      minus = Constant<value_ints = [-1]>()
      flat = Reshape(x, minus)
      axis = Constant<value_ints = [0]>()
      first = Slice(where, axis, end, axis)
      end = Constant<value_ints = [1]>()
      index = Squeeze(first, axis)
      kept = Gather(flat, index)
      n = Size(index)
      doubled = Add(x, x)
    }"""


def test_a_stage_ends_where_data_decide_a_shape() -> None:
    found, (kept, doubled, n) = stages(COUNT, X)
    first, second = found
    assert sorted(ops_of(first)) == ["add", "nonzero", "reshape"]
    assert {slot.name for slot in first.results} == {"doubled", "flat", "where"}
    assert first.rest is not None
    assert [v.name for v in first.rest.inputs] == ["flat", "where"]
    assert second.rest is None
    np.testing.assert_array_equal(kept, X.ravel()[[0, 0, 1, 1]])
    np.testing.assert_array_equal(doubled, X + X)
    assert n == 4


def test_programs_are_kept() -> None:
    made: list[Stage] = []

    def make(stage: Stage) -> Any:
        made.append(stage)
        return interpreted(stage)

    runner = StagedRunner(imported(COUNT), make)
    for x in (X, X, X + 1, X.T, X):
        assert runner([x])[2] == np.count_nonzero(x)
    # Two shapes, and three numbers of elements for the second stage: 4 of X, 6, and 4 of X.T.
    assert len(made) == 5
    assert len(runner.plan.steps()) == 2


def test_threads_share_programs() -> None:
    made: list[Stage] = []
    barrier = threading.Barrier(4)

    def make(stage: Stage) -> Any:
        made.append(stage)
        return interpreted(stage)

    runner = StagedRunner(imported(RESHAPE), make)
    results: list[Any] = []

    def run() -> None:
        barrier.wait()
        results.append(runner([X, int64(3, 2)])[0])

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert [r.shape for r in results] == [(3, 2)] * 4


def test_a_failed_specialisation_can_be_repeated() -> None:
    runner = StagedRunner(imported(RESHAPE), interpreted)
    for _ in range(2):
        with pytest.raises(InputError, match="found int32"):
            runner([X.astype(np.int32), int64(3, 2)])
    assert runner([X, int64(6, 1)])[0].shape == (6, 1)
    with pytest.raises(InputError, match="has 2 inputs, 1 were given"):
        runner([X])


# Checks


GATHER = "net (float[N,C] x, int64[K] i) => (float[K,C] y) { y = Gather(x, i) }"


def test_invalid_data_are_found() -> None:
    model = imported(GATHER)

    def make(stage: Stage) -> Any:
        (position, _), *rest = stage.checks
        assert not rest
        assert stage.graph.outputs[position].type == TensorType("bool", ())

        def program(arrays: Sequence[Array]) -> list[Any]:
            """Read past the end without a word, as compiled code would."""
            return [arrays[0], np.all(arrays[1] < 2)]

        return program

    runner = StagedRunner(model, make)
    runner([X, int64(1, -2)])
    with pytest.raises(ExecutionError, match=r"model: node 'Gather_0' \(Gather-20\): "):
        runner([X, int64(1, 2)])


@pytest.mark.parametrize(("trips", "op"), [(3, "add"), (100, "scan")])
def test_loops_carry_the_checks_of_their_bodies(trips: int, op: str) -> None:
    (stage,), (y,) = stages(
        f"""
        net (float[100] x, int64 step) => (float y) <int64 n = {{{trips}}}, bool c = {{1}}> {{
          zero = Constant<value_float = 0.0>()
          y = Loop(n, c, zero) <body = b (int64 i, bool ci, float s) => (bool co, float t) {{
            co = Identity(ci)
            at = Mul(i, step)
            v = Gather(x, at)
            t = Add(s, v) }}>
        }}""",
        np.arange(100, dtype=np.float32),
        np.int64(1),
    )
    assert op in ops_of(stage)
    assert y == sum(range(trips))
    assert stage.checks
    assert "(Gather-20)" in stage.checks[0][1]


# Control flow


LOOP = """
    net (float[2] x, int64 n) => (float[2] y, float[T,2] ys) <bool c = {1}> {
      y, ys = Loop(n, c, x) <body = b (int64 i, bool ci, float[2] s)
          => (bool co, float[2] t, float[2] u) {
        co = Identity(ci)
        f = Cast<to = 1>(i)
        t = Add(s, f)
        u = Mul(t, x)
      }>
    }"""


@pytest.mark.parametrize(("trips", "op"), [(0, ""), (-1, ""), (3, "add"), (50, "scan")])
def test_counted_loops(trips: int, op: str) -> None:
    x = float32([1, -1])
    (stage,), (y, ys) = stages(LOOP, x, np.int64(trips))
    assert op in {"", *ops_of(stage)}
    sums = np.cumsum(np.arange(max(trips, 0)), dtype=np.float32)
    np.testing.assert_allclose(y, x + (sums[-1] if trips > 0 else 0))
    np.testing.assert_allclose(ys, (x + sums[:, None]) * x)
    assert ys.shape == (max(trips, 0), 2)


def test_a_loop_whose_state_grows_is_written_out() -> None:
    (stage,), (y,) = stages(
        """
        net (float[2] x) => (float[K] y) <int64 n = {40}, bool c = {1}> {
          y = Loop(n, c, x) <body = b (int64 i, bool ci, float[A] s) => (bool co, float[B] t)
            { co = Identity(ci) t = Concat<axis = 0>(s, x) }>
        }""",
        float32([1, 2]),
    )
    assert set(ops_of(stage)) == {"concat"}
    np.testing.assert_array_equal(y, [1, 2] * 41)


WHILE = """
    net (float[2] x) => (float[2] y, int64 last) <bool c = {1}, int64 z = {0}> {
      limit = Constant<value_float = 100.0>()
      y, last = Loop(, c, x, z) <body = b (int64 i, bool ci, float[2] s, int64 p)
          => (bool co, float[2] t, int64 q) {
        t = Add(s, s)
        m = ReduceMax<keepdims = 0>(t)
        co = Less(m, limit)
        q = Identity(i)
      }>
    }"""


def test_a_loop_that_data_end_is_compiled() -> None:
    (stage,), (y, last) = stages(WHILE, float32([1, 0]))
    assert "while_loop" in ops_of(stage)
    assert (y.tolist(), last) == ([128, 0], 6)


def test_a_trip_count_met_at_run_time() -> None:
    (stage,), (y,) = stages(
        """
        net (float[8] x) => (float[8] y) <bool c = {1}> {
          s = ReduceSum<keepdims = 0>(x)
          n = Cast<to = 7>(s)
          y = Loop(n, c, x) <body = b (int64 i, bool ci, float[8] s) => (bool co, float[8] t)
            { co = Identity(ci) t = Add(s, x) }>
        }""",
        np.ones(8, np.float32),
    )
    assert "while_loop" in ops_of(stage)
    np.testing.assert_array_equal(y, np.full(8, 9))


def test_a_loop_that_data_end_and_that_collects_runs_stage_by_stage() -> None:
    found, (y, ys) = stages(
        """
        net (float[8] x) => (float[8] y, float[T,8] ys) <bool c = {1}> {
          limit = Constant<value_float = 10.0>()
          y, ys = Loop(, c, x) <body = b (int64 i, bool ci, float[8] s)
              => (bool co, float[8] t, float[8] u) {
            t = Add(s, s)
            m = ReduceMax<keepdims = 0>(t)
            co = Less(m, limit)
            u = Neg(t)
          }>
        }""",
        np.ones(8, np.float32),
    )
    assert len(found) == 5
    assert y.tolist() == [16] * 8
    assert ys.tolist() == [[-(2.0**k)] * 8 for k in range(1, 5)]


IF = """
    net (float[3] x, bool c) => (float[3] y) {
      y = If(c) <then_branch = t () => (float[3] a) { a = Add(x, x) },
                 else_branch = e () => (float[3] b) { b = Neg(x) }>
    }"""


@pytest.mark.parametrize("condition", [False, True])
def test_both_branches_are_compiled(condition: bool) -> None:
    (stage,), (y,) = stages(IF, X[0], np.bool_(condition))
    assert ops_of(stage) == ["branch"]
    np.testing.assert_array_equal(y, X[0] + X[0] if condition else -X[0])


def test_a_known_condition_selects_a_branch() -> None:
    text = IF.replace(", bool c) => (float[3] y)", ") => (float[3] y) <bool c = {1}>")
    (stage,), _ = stages(text, X[0])
    assert ops_of(stage) == ["add"]


PARTS = """
    net (float[3] x) => (float[3] y) <bool c = {1}> {
      FIRST y = If(c) <
        then_branch = t () => (float[3] a, float[3] b) { a = Add(x, x) b = Neg(x) },
        else_branch = e () => (float[3] b) { b = Neg(x) }>
    }"""


def test_results_of_a_branch_may_be_left_out() -> None:
    (stage,), (y,) = stages(PARTS.replace("FIRST", ","), X[0])
    assert ops_of(stage) == ["neg"]
    np.testing.assert_array_equal(y, -X[0])


def test_a_branch_that_returns_too_little() -> None:
    text = PARTS.replace("FIRST", "z,").replace("c = {1}", "c = {0}")
    with pytest.raises(ModelError, match="'e' has 1 inputs and 1 outputs, expected 1 and 2"):
        stages(text, X[0])


def test_a_branch_that_does_not_fit_is_not_taken() -> None:
    """Exporters write a squeeze of an axis that is not 1 into the branch for when it is."""
    (stage,), (y,) = stages(
        """
        net (float[3] x, bool c) => (float[3] y) <int64[1] axis = {0}> {
          y = If(c) <then_branch = t () => (float a) { a = Squeeze(x, axis) },
                     else_branch = e () => (float[3] b) { b = Neg(x) }>
        }""",
        X[0],
        np.bool_(False),
    )
    assert stage.value_inputs == {"c"}
    np.testing.assert_array_equal(y, -X[0])


def test_control_flow_nests() -> None:
    (stage,), (y,) = stages(
        """
        net (float[2] x) => (float[2] y) <int64 n = {100}, bool c = {1}> {
          zero = Constant<value_float = 0.0>()
          y = Loop(n, c, x) <body = b (int64 i, bool ci, float[2] s) => (bool co, float[2] t) {
            co = Identity(ci)
            m = ReduceSum<keepdims = 0>(s)
            g = Greater(m, zero)
            t = If(g) <then_branch = tb () => (float[2] p) { p = Sub(s, x) },
                       else_branch = eb () => (float[2] q) { q = Add(s, x) }>
          }>
        }""",
        float32([1, 2]),
    )
    scan = next(n.op for n in stage.graph.nodes if isinstance(n.op, ops.Scan))
    assert "branch" in [n.op.name for n in scan.body.nodes]
    assert y.tolist() == [1, 2]


SCAN = """
    net (float[2] s, float[3,5,2] x) => (float[2] y, float[2,T,3] ys) {
      y, ys = Scan(s, x) <num_scan_inputs = 1, scan_input_axes = [1], scan_output_axes = [-2],
          scan_input_directions = [DOWN], scan_output_directions = [BACK],
          body = b (float[2] a, float[3,2] row) => (float[2] n, float[2,3] out) {
        axis = Constant<value_ints = [0]>()
        sum = ReduceSum<keepdims = 0>(row, axis)
        n = Sub(sum, a)
        z = Add(row, a)
        out = Transpose<perm = [1, 0]>(z)
      }>
    }"""


@pytest.mark.parametrize("down", [0, 1])
@pytest.mark.parametrize("back", [0, 1])
def test_scans_run_along_any_axis_in_both_directions(down: int, back: int) -> None:
    s, x = float32([1, 2]), np.arange(30, dtype=np.float32).reshape(3, 5, 2)
    text = SCAN.replace("DOWN", str(down)).replace("BACK", str(back))
    (stage,), (y, ys) = stages(text, s, x)
    assert "scan" in ops_of(stage)
    state, rows = s, []
    for t in range(4, -1, -1) if down else range(5):
        rows.append((x[:, t] + state).T)
        state = x[:, t].sum(0) - state
    np.testing.assert_allclose(y, state)
    np.testing.assert_allclose(ys, np.stack(rows[::-1] if back else rows, 1))


# Sequences


def test_sequences_are_resolved() -> None:
    (stage,), (length, joined, items) = stages(
        """
        net (seq(float[2]) items, float[2] x, int64 at) =>
            (int64 length, float[N] joined, seq(float[2]) more) {
          more = SequenceInsert(items, x, at)
          length = SequenceLength(more)
          zero = Constant<value_int = 0>()
          first = SequenceAt(more, zero)
          less = SequenceErase(more)
          all = ConcatFromSequence<axis = 0>(less)
          joined = Concat<axis = 0>(first, all)
        }""",
        [float32([1, 2]), float32([3, 4])],
        float32([5, 6]),
        np.int64(-1),
    )
    assert stage.value_inputs == {"at"}
    assert [v.name for v in stage.graph.inputs] == ["items[0]", "items[1]", "x", "at"]
    assert set(ops_of(stage)) == {"concat"}
    assert length == 3
    assert joined.tolist() == [1, 2, 1, 2, 5, 6]
    assert [a.tolist() for a in items] == [[1, 2], [5, 6], [3, 4]]


def test_a_sequence_crosses_a_stage() -> None:
    found, (y,) = stages(
        """
        net (float[8] x) => (seq(float[N]) y) {
          where = NonZero(x)
          axes = Constant<value_ints = [0]>()
          index = Squeeze(where, axes)
          s = SequenceConstruct(x)
          part = Gather(x, index)
          y = SequenceInsert(s, part)
        }""",
        float32([0, 1, 0, 2, 0, 0, 0, 3]),
    )
    assert len(found) == 2
    assert y[1].tolist() == [1, 2, 3]
    assert y[0].shape == (8,)


def run(runner: StagedRunner, inputs: Sequence[Any]) -> Any:
    (result,) = runner(inputs)
    return result


def test_optionals() -> None:
    model = imported("net (optional(float[2]) x) => (bool y) { y = OptionalHasElement(x) }")
    runner = StagedRunner(model, interpreted)
    assert run(runner, [None]) == np.False_
    assert run(runner, [float32([1, 2])]) == np.True_


def test_a_map_over_sequences() -> None:
    (stage,), (y,) = stages(
        """
        net (seq(float[N]) a, float[2] x) => (seq(float[N]) y) {
          y = SequenceMap(a, x) <body = b (float[N] e, float[2] f) => (float[N] g)
            { g = Add(e, f) }>
        }""",
        [float32([1, 2]), float32([3, 4])],
        float32([10, 20]),
    )
    assert ops_of(stage) == ["add", "add"]
    assert [a.tolist() for a in y] == [[11, 22], [13, 24]]
