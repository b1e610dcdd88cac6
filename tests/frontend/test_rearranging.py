# SPDX-License-Identifier: MIT
"""Converters of shape, selection and reduction operators: old forms, limits, checks.

The current form of each operator is covered by the conformance suite.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from onnx_text import imported, ops_of, stages
from ranvier.errors import ExecutionError, ModelError
from ranvier.frontend import StagedRunner, interpreted
from ranvier.frontend.converters.slicing import positions

X = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
ROW = np.arange(5, dtype=np.float32)


def run(graph: str, *inputs: Any, opset: int = 20) -> list[Any]:
    """Return the outputs of a model in the text syntax."""
    return StagedRunner(imported(f"g {graph}", opset), interpreted)(inputs)


# Forms of old operator sets


OLD_FORMS = [
    (1, "[6,4]", "Reshape<shape = [-1, 4]>(x)", X.reshape(6, 4)),
    (1, "[2,3,4]", "Reshape<shape = [0, -1, 4]>(x)", X),
    (1, "[2,6,4]", "Concat(x, x)", np.concatenate([X, X], 1)),
    (1, "[1,2,4]", "Slice<axes = [0, 1], starts = [-1, 1], ends = [9, 9]>(x)", X[-1:, 1:]),
    (
        1,
        "[3,3,4]",
        "Pad<paddings = [1, 0, 0, 0, 0, 0], value = 2.0>(x)",
        np.pad(X, [(1, 0), (0, 0), (0, 0)], constant_values=2),
    ),
    (
        2,
        "[2,3,6]",
        'Pad<pads = [0, 0, 1, 0, 0, 1], mode = "edge">(x)',
        np.pad(X, [(0, 0), (0, 0), (1, 1)], mode="edge"),
    ),
    (1, "[2,9,4]", "Tile(x, three, one)", np.tile(X, (1, 3, 1))),
    (6, "[2,3,8]", "Tile(x, repeats)", np.tile(X, 2)),
    (1, "[2,3,4,1]", "Unsqueeze<axes = [3]>(x)", X[..., None]),
    (11, "[2,3,1,4]", "Unsqueeze<axes = [-2]>(x)", X[:, :, None]),
    (1, "[2,4]", "ReduceMax<axes = [1], keepdims = 0>(x)", X.max(1)),
    (1, "[1,1,1]", "ReduceSum(x)", X.sum(keepdims=True)),
    (1, "[6,4]", "Flatten<axis = 2>(x)", X.reshape(6, 4)),
]
CONSTANTS = "<int64[1] three = {3}, int64[1] one = {1}, int64[3] repeats = {1,1,2}>"


@pytest.mark.parametrize(("opset", "shape", "node", "expected"), OLD_FORMS)
def test_old_forms(opset: int, shape: str, node: str, expected: Any) -> None:
    graph = f"(float[2,3,4] x) => (float{shape} y) {CONSTANTS} {{ y = {node} }}"
    (y,) = run(graph, X, opset=opset)
    np.testing.assert_array_equal(y, expected)


def test_split_forms() -> None:
    by_attribute = "(float[5] x) => (float[2] a, float[3] b) { a, b = Split<split = [2, 3]>(x) }"
    for opset in (2, 11):
        assert [len(a) for a in run(by_attribute, ROW, opset=opset)] == [2, 3]
    by_count = "(float[5] x) => (float[A] a, float[B] b) { a, b = Split<num_outputs = 2>(x) }"
    assert [len(a) for a in run(by_count, ROW, opset=18)] == [3, 2]
    uneven = "(float[5] x) => (float[A] a, float[B] b) { a, b = Split(x) }"
    with pytest.raises(ModelError, match="5 elements do not split into 2 equal parts"):
        run(uneven, ROW, opset=13)


def test_top_k_counts_by_attribute_at_first() -> None:
    graph = "(float[5] x) => (float[2] v, int64[2] i) { v, i = TopK<k = 2>(x) }"
    values, indices = run(graph, ROW, opset=1)
    np.testing.assert_array_equal(values, [4, 3])
    np.testing.assert_array_equal(indices, [4, 3])


def test_squeeze_of_unstated_axes_drops_all_of_size_1() -> None:
    (y,) = run("(float[1,3,1] x) => (float[3] y) { y = Squeeze(x) }", X[:1, :, :1])
    assert y.shape == (3,)
    with pytest.raises(ModelError, match=r"axis 1 of .* does not have size 1"):
        run(
            "(float[1,3,1] x) => (float[3] y) { y = Squeeze<axes = [1]>(x) }",
            X[:1, :, :1],
            opset=11,
        )


# Dropout


def test_dropout_drops_nothing_unless_training() -> None:
    graph = "(float[5] x) => (float[5] y, bool[5] m) { y, m = Dropout(x) }"
    y, mask = run(graph, ROW)
    np.testing.assert_array_equal(y, ROW)
    assert mask.all()


def test_dropout_in_training_scales_what_is_left() -> None:
    graph = """(float[64] x, float r, bool t) => (float[64] y, bool[64] m)
        { y, m = Dropout(x, r, t) }"""
    x = np.ones(64, np.float32)
    y, mask = run(graph, x, np.float32(0.75), np.array(True))
    np.testing.assert_array_equal(y, np.where(mask, 4, 0))
    assert 0 < mask.sum() < 64


# Reshape and Slice


@pytest.mark.parametrize("wanted", ["{2,-1,-1}", "{5,-1}", "{-2}", "{1,2,3,0}"])
def test_reshape_to_what_does_not_fit_is_refused(wanted: str) -> None:
    count = wanted.count(",") + 1
    graph = f"(float[2,3,4] x) => (float y) <int64[{count}] s = {wanted}> {{ y = Reshape(x, s) }}"
    with pytest.raises(ModelError, match=r"node 'Reshape_0' \(Reshape-20\)"):
        run(graph, X)


def test_reshape_with_allowzero_keeps_the_zero() -> None:
    graph = """(float[0,3] x) => (float[3,0] y) <int64[2] s = {3,0}>
        { y = Reshape<allowzero = 1>(x, s) }"""
    (y,) = run(graph, np.zeros((0, 3), np.float32))
    assert y.shape == (3, 0)


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ((0, 2**63 - 1, 1, 5), [0, 1, 2, 3, 4]),
        ((-1, -(2**63), -1, 5), [4, 3, 2, 1, 0]),
        ((-9, 9, 2, 5), [0, 2, 4]),
        ((9, -9, -3, 5), [4, 1]),
        ((-9, -(2**63), -1, 5), [0]),  # a start before the first element is the first
        ((3, 2, 1, 5), []),
        ((0, 5, 2**62, 5), [0]),
        ((0, 5, -1, 0), []),
    ],
)
def test_bounds_are_clipped_as_the_standard_says(
    bounds: tuple[int, int, int, int], expected: list[int]
) -> None:
    assert list(positions(*bounds)) == expected


# Pad


def test_the_element_to_pad_with_may_be_run_time_data() -> None:
    graph = """(float[5] x, float v) => (float[8] y) <int64[2] p = {1,2}> { y = Pad(x, p, v) }"""
    found, (y,) = stages(f"g {graph}", ROW, np.float32(7))
    np.testing.assert_array_equal(y, np.pad(ROW, (1, 2), constant_values=7))
    assert found[0].value_inputs == frozenset()


def test_pads_of_some_axes_crop_and_enlarge() -> None:
    graph = """(float[2,3,4] x) => (float[2,2,6] y)
        <int64[4] p = {-1,1,0,1}, float v = {9}, int64[2] axes = {1,-1}>
        { y = Pad(x, p, v, axes) }"""
    (y,) = run(graph, X)
    expected = np.pad(X[:, 1:], [(0, 0), (0, 0), (1, 1)], constant_values=9)
    np.testing.assert_array_equal(y, expected)


# Positions from data


@pytest.mark.parametrize(
    "node",
    [
        "y = Gather(x, i)",
        "y = GatherElements(x, i)",
        "k = Unsqueeze(i, last)  y = GatherND(x, k)",
        "y = ScatterElements(x, i, x2)",
        "k = Unsqueeze(i, last)  y = ScatterND(x, k, x2)",
    ],
)
def test_positions_from_run_time_data_are_checked(node: str) -> None:
    graph = f"""(float[5] x, int64[2] i, float[2] x2) => (float[K] y)
        <int64[1] last = {{-1}}> {{ {node} }}"""
    (stage,), _ = stages(f"g {graph}", ROW, np.array([0, -5]), ROW[:2])
    ((_, message),) = stage.checks
    assert "an index is outside [-5, 5)" in message
    with pytest.raises(ExecutionError, match="outside"):
        run(graph, ROW, np.array([0, 5]), ROW[:2])


def test_positions_that_are_known_are_checked_at_once() -> None:
    graph = "(float[5] x) => (float[1] y) <int64[1] i = {5}> { y = Gather(x, i) }"
    with pytest.raises(ModelError, match=r"an index is outside \[-5, 5\)"):
        run(graph, ROW)


def test_compress_by_a_known_condition_needs_no_host() -> None:
    graph = "(float[5] x) => (float[2] y) <bool[3] c = {1,0,1}> { y = Compress<axis = 0>(x, c) }"
    (stage,), (y,) = stages(f"g {graph}", ROW)
    assert ops_of(stage) == ["gather"]
    np.testing.assert_array_equal(y, [0, 2])


def test_one_hot_counts_negative_positions_from_the_end() -> None:
    graph = """(float[4] i) => (float[4,3] y) <int64 d = {3}, float[2] v = {-1, 2}>
        { y = OneHot(i, d, v) }"""
    (y,) = run(graph, np.array([0, -1, 3, -4], np.float32))
    expected = np.full((4, 3), -1.0)
    expected[0, 0] = expected[1, 2] = 2
    np.testing.assert_array_equal(y, expected)


# Reductions


def test_reduction_over_no_axes_still_applies_the_function() -> None:
    graph = """(float[5] x) => (float[5] y) <int64[0] axes = {}>
        { y = ReduceSumSquare<noop_with_empty_axes = 1>(x, axes) }"""
    (y,) = run(graph, ROW)
    np.testing.assert_array_equal(y, ROW * ROW)


def test_norms_of_integers_are_truncated() -> None:
    graph = "(int32[2] x) => (int32[1] y) { y = ReduceL2(x) }"
    (y,) = run(graph, np.array([3, 5], np.int32))
    assert y.dtype == np.int32
    assert y.tolist() == [5]


# Ranges


def test_range_of_run_time_bounds_is_a_host_op() -> None:
    graph = """(int64 n) => (int64[K] y, int64[K] z)
        <int64 zero = {0}, int64 one = {1}>
        { y = Range(zero, n, one)  z = Concat<axis = 0>(y, y) }"""
    found, (y, z) = stages(f"g {graph}", np.array(4))
    assert ops_of(found[0]) == ["range"]
    np.testing.assert_array_equal(y, [0, 1, 2, 3])
    assert len(z) == 8
