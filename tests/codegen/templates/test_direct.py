# SPDX-License-Identifier: MIT
"""Direct convolutions against the interpreter, over shapes with tails in every direction."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ranvier.codegen.targets import parse_target
from ranvier.codegen.templates import choose
from ranvier.codegen.templates.tile import best_tile, tiles
from ranvier.codegen.unit import VectorUnit
from ranvier.compiler import run_canonical, target_ready
from ranvier.ir import Emitter, Graph, TensorType, Value, interpret, ops


def convolve(
    emit: Emitter,
    x: Value,
    outputs: int,
    window: int | tuple[int, ...],
    *,
    stride: int = 1,
    dilation: int = 1,
    pad: int | None = None,
) -> Value:
    assert isinstance(x.type, TensorType)
    rank = x.type.rank - 2
    sizes = (window,) * rank if isinstance(window, int) else window
    rng = np.random.default_rng(outputs)
    w = rng.standard_normal((outputs, x.type.dims[1], *sizes)) / np.sqrt(np.prod(sizes))
    low = tuple(k // 2 * dilation if pad is None else pad for k in sizes)
    op = ops.Conv((stride,) * rank, low, low, (dilation,) * rank, (1,) * rank)
    return emit(op, x, emit.constant(w.astype(np.float32)))


def agree(graph: Graph, *arrays: np.ndarray) -> None:
    for found, expected in zip(run_canonical(graph, arrays), interpret(graph, arrays), strict=True):
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def data(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def uses_template(graph: Graph) -> bool:
    ready = target_ready(graph, parse_target("cpu"))
    unit = parse_target("cpu").unit
    assert unit is not None
    return any(choose(n, ready.parameters, unit) is not None for n in ready.nodes)


@settings(max_examples=25, deadline=None)
@given(
    batch=st.integers(1, 2),
    channels=st.integers(1, 9),
    outputs=st.integers(2, 50),
    size=st.tuples(st.integers(3, 17), st.integers(3, 17)),
    window=st.integers(1, 3),
    stride=st.integers(1, 2),
    dilation=st.integers(1, 2),
)
def test_convolutions_of_any_size(
    batch: int,
    channels: int,
    outputs: int,
    size: tuple[int, int],
    window: int,
    stride: int,
    dilation: int,
) -> None:
    emit = Emitter()
    x = emit.argument(TensorType("float32", (batch, channels, *size)), "x")
    y = convolve(emit, x, outputs, window, stride=stride, dilation=dilation)
    bias = emit.constant(np.linspace(-1, 1, outputs, dtype=np.float32).reshape(1, -1, 1, 1))
    z = emit(ops.Relu(), emit(ops.Add(), y, bias))
    graph = emit.graph("conv", [x], [z])
    assert uses_template(graph)
    agree(graph, data((batch, channels, *size)))


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_every_number_of_spatial_axes(rank: int) -> None:
    shape = (1, 5, *(6, 7, 9)[:rank])
    emit = Emitter()
    x = emit.argument(TensorType("float32", shape), "x")
    y = convolve(emit, emit(ops.Relu(), convolve(emit, x, 12, 3)), 20, 3, stride=2)
    agree(emit.graph("chain", [x], [y]), data(shape))


def test_a_residual_is_read_where_it_lies() -> None:
    emit = Emitter()
    x = emit.argument(TensorType("float32", (1, 16, 9, 10)), "x")
    skip = emit(ops.Relu(), convolve(emit, x, 16, 1))
    y = convolve(emit, emit(ops.Relu(), convolve(emit, skip, 8, 3)), 16, 3)
    z = convolve(emit, emit(ops.Relu(), emit(ops.Add(), y, skip)), 8, 3)
    agree(emit.graph("residual", [x], [z]), data((1, 16, 9, 10)))


def test_concatenated_parts_are_written_in_place() -> None:
    emit = Emitter()
    x = emit.argument(TensorType("float32", (1, 8, 6, 7)), "x")
    features = [emit(ops.Relu(), convolve(emit, x, 8, 3))]
    for _ in range(3):
        joined = features[0] if len(features) == 1 else emit(ops.Concat(1), *features)
        features.append(emit(ops.Tanh(), convolve(emit, joined, 5, 3)))
    result = convolve(emit, emit(ops.Concat(1), *features), 8, 1)
    agree(emit.graph("dense", [x], [result, features[1]]), data((1, 8, 6, 7)))


def test_an_input_joined_with_a_feature_is_copied() -> None:
    emit = Emitter()
    x = emit.argument(TensorType("float32", (1, 8, 6, 7)), "x")
    joined = emit(ops.Concat(1), x, emit(ops.Relu(), convolve(emit, x, 8, 3)))
    agree(emit.graph("skip", [x], [convolve(emit, joined, 8, 3)]), data((1, 8, 6, 7)))


def test_padding_that_crops_and_padding_beyond_the_window() -> None:
    for pad in (-1, 3):
        emit = Emitter()
        x = emit.argument(TensorType("float32", (1, 4, 9, 8)), "x")
        agree(emit.graph("pad", [x], [convolve(emit, x, 8, 3, pad=pad)]), data((1, 4, 9, 8)))


def test_a_reshaped_result_lies_row_by_row() -> None:
    emit = Emitter()
    x = emit.argument(TensorType("float32", (1, 4, 6, 5)), "x")
    grouped = emit(ops.Reshape((1, 4, 2, 6, 5)), convolve(emit, x, 8, 3))
    mean = emit(ops.Reshape((1, 4, 1, 1, 1)), emit(ops.ReduceMean((2, 3, 4)), grouped))
    y = emit(ops.Reshape((1, 8, 6, 5)), emit(ops.Sub(), grouped, mean))
    agree(emit.graph("groups", [x], [convolve(emit, y, 8, 3)]), data((1, 4, 6, 5)))


def test_a_sum_with_a_residual_may_be_reshaped() -> None:
    emit = Emitter()
    x = emit.argument(TensorType("float32", (1, 16, 6, 5, 12)), "x")
    skip = convolve(emit, x, 16, 1)
    y = emit(ops.Add(), convolve(emit, emit(ops.Relu(), skip), 16, 3), skip)
    grouped = emit(ops.Reshape((1, 8, 2, 6, 5, 12)), y)
    mean = emit(ops.Reshape((1, 8, 1, 1, 1, 1)), emit(ops.ReduceMean((2, 3, 4, 5)), grouped))
    graph = emit.graph("groups", [x], [emit(ops.Sub(), grouped, mean), y])
    agree(graph, data((1, 16, 6, 5, 12)))
    agree(emit.graph("group", [x], [emit(ops.Sub(), grouped, mean)]), data((1, 16, 6, 5, 12)))


def test_weights_beyond_the_cache_are_walked_by_blocks() -> None:
    emit = Emitter()
    x = emit.argument(TensorType("float32", (1, 256, 5, 5)), "x")
    agree(emit.graph("deep", [x], [convolve(emit, x, 200, 3)]), data((1, 256, 5, 5)))


def test_an_epilogue_of_several_ops_keeps_each_lane_apart() -> None:
    emit = Emitter()
    x = emit.argument(TensorType("float32", (1, 4, 7, 7)), "x")
    y = convolve(emit, x, 19, 3)
    for _ in range(2):
        y = emit(ops.Mul(), y, emit(ops.Sigmoid(), y))
    agree(emit.graph("swish", [x], [y]), data((1, 4, 7, 7)))


def test_tiles_fit_the_registers() -> None:
    for unit in (VectorUnit(8, 16), VectorUnit(16, 32), VectorUnit(4, 32)):
        for tile in tiles(unit):
            assert tile.rows * tile.vectors + tile.vectors + 1 <= unit.registers
            assert tile.rows * tile.vectors <= 24
        assert best_tile(56, 64, unit) in tiles(unit)


def test_other_element_types_are_left_to_the_lowering() -> None:
    emit = Emitter()
    x = emit.argument(TensorType("float16", (1, 8, 6, 6)), "x")
    w = emit.constant(np.full((8, 8, 3, 3), 0.01, np.float16))
    op = ops.Conv((1, 1), (1, 1), (1, 1), (1, 1), (1, 1))
    graph = emit.graph("half", [x], [emit(op, emit(op, x, w), w)])
    assert not uses_template(graph)
    array = data((1, 8, 6, 6)).astype(np.float16)
    (found,), (expected,) = run_canonical(graph, [array]), interpret(graph, [array])
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("window", [1, 3])
def test_a_selection_by_an_operand_follows(window: int) -> None:
    emit = Emitter()
    x = emit.argument(TensorType("float32", (1, 16, 14, 14)), "x")
    mask = emit.argument(TensorType("bool", (1, 16, 14, 14)), "mask")
    y = convolve(emit, x, 16, window)
    chosen = emit(ops.Tanh(), emit(ops.Select(), mask, y, emit(ops.Neg(), y)))
    chosen_at = np.random.default_rng(2).random((1, 16, 14, 14)) < 0.5
    agree(emit.graph("chosen", [x, mask], [chosen]), data((1, 16, 14, 14)), chosen_at)


@pytest.mark.parametrize("start", [0, 3, 5])
def test_part_of_another_tensor_is_added_where_it_lies(start: int) -> None:
    """As where the gradient of a concatenation's part meets that of a convolution."""
    emit = Emitter()
    x = emit.argument(TensorType("float32", (2, 7, 6, 5)), "x")
    other = emit.argument(TensorType("float32", (2, 20, 6, 5)), "other")
    part = emit(
        ops.Slice((0, start, 0, 0), (2, start + 12, 6, 5), (1, 1, 1, 1)),
        other,
    )
    graph = emit.graph("g", [x, other], [emit(ops.Add(), convolve(emit, x, 12, 3), part)])
    assert uses_template(graph)
    agree(graph, data((2, 7, 6, 5)), data((2, 20, 6, 5)))


def test_a_part_of_the_convolution_itself_is_no_epilogue() -> None:
    emit = Emitter()
    x = emit.argument(TensorType("float32", (1, 7, 6, 5)), "x")
    y = convolve(emit, x, 8, 3)
    first = emit(ops.Slice((0, 0, 0, 0), (1, 4, 6, 5), (1, 1, 1, 1)), y)
    last = emit(ops.Slice((0, 4, 0, 0), (1, 8, 6, 5), (1, 1, 1, 1)), y)
    both = emit(ops.Concat(1), emit(ops.Neg(), last), first)
    graph = emit.graph("g", [x], [emit(ops.Add(), y, both)])
    agree(graph, data((1, 7, 6, 5)))
