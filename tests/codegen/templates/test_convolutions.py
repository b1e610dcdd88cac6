# SPDX-License-Identifier: MIT
"""Transposed, narrow, planar and depthwise convolutions, kernel by kernel, on any vector unit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ranvier.codegen.templates.phases import axes_of
from ranvier.codegen.unit import VectorUnit
from ranvier.compiler import run_canonical
from ranvier.ir import Emitter, Graph, TensorType, Value, interpret, ops
from ranvier.ir.types import Array
from template_kernel import UNITS, check_kernel

units = st.sampled_from(UNITS)
threads = st.integers(1, 3)


def numbers(shape: tuple[int, ...]) -> Array:
    scale = 1 / np.sqrt(np.prod(shape[1:]))
    return np.asarray(np.random.default_rng(sum(shape)).standard_normal(shape) * scale, np.float32)


def finished(emit: Emitter, x: Value, y: Value) -> Graph:
    """Return the graph with a bias and an activation behind ``y``."""
    assert isinstance(y.type, TensorType)
    outputs, rank = y.type.dims[1], y.type.rank
    bias = np.linspace(-1, 1, outputs, dtype=np.float32).reshape(1, -1, *(1,) * (rank - 2))
    z = emit(ops.Relu(), emit(ops.Add(), y, emit.constant(bias)))
    return emit.graph("group", [x], [z])


def transposed(
    shape: tuple[int, ...],
    outputs: int,
    window: int,
    stride: int,
    low: int,
    high: int,
    step: int = 1,
) -> Graph:
    emit = Emitter()
    x = emit.argument(TensorType("float32", shape), "x")
    rank = len(shape) - 2
    w = numbers((shape[1], outputs, *(window,) * rank))
    op = ops.ConvTranspose((stride,) * rank, (low,) * rank, (high,) * rank, (step,) * rank)
    return finished(emit, x, emit(op, x, emit.constant(w)))


def convolution(
    shape: tuple[int, ...],
    outputs: int,
    window: int,
    stride: int = 1,
    step: int = 1,
    groups: int = 1,
) -> Graph:
    emit = Emitter()
    x = emit.argument(TensorType("float32", shape), "x")
    rank = len(shape) - 2
    w = numbers((outputs, shape[1] // groups, *(window,) * rank))
    low = (window // 2 * step,) * rank
    op = ops.Conv((stride,) * rank, low, low, (step,) * rank, (1,) * rank, groups)
    return finished(emit, x, emit(op, x, emit.constant(w)))


@settings(max_examples=8, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 2), st.integers(1, 9), st.integers(1, 6), st.integers(1, 12)),
    outputs=st.integers(5, 40),
    window=st.integers(1, 4),
    stride=st.integers(2, 3),
    low=st.integers(0, 1),
    step=st.integers(1, 2),
    unit=units,
    threads=threads,
)
def test_transposed_convolution_by_phases(
    shape: tuple[int, ...],
    outputs: int,
    window: int,
    stride: int,
    low: int,
    step: int,
    unit: VectorUnit,
    threads: int,
) -> None:
    low = min(low, (window - 1) * step)
    graph = transposed(shape, outputs, window, stride, low, low - (stride - 1), step)
    plan = check_kernel(graph, [numbers(shape)], unit, threads)
    assert plan.startswith("transposed")


@pytest.mark.parametrize("spatial", [(11,), (3, 4, 5)])
@pytest.mark.parametrize("outputs", [2, 20])
def test_transposed_convolution_over_any_number_of_axes(
    spatial: tuple[int, ...], outputs: int
) -> None:
    shape = (1, 8, *spatial)
    check_kernel(transposed(shape, outputs, 3, 2, 1, 0), [numbers(shape)], UNITS[0], 2)


def test_transposed_weights_beyond_the_cache_are_walked_by_blocks() -> None:
    unit = VectorUnit(8, 16, l2=1 << 12)
    check_kernel(transposed((1, 9, 4, 5), 70, 3, 2, 1, 0), [numbers((1, 9, 4, 5))], unit, 3)


def test_phases_without_a_tap_hold_the_bias_alone() -> None:
    check_kernel(transposed((1, 8, 4, 5), 16, 1, 3, 0, -2), [numbers((1, 8, 4, 5))], UNITS[0])


def test_phases_divide_positions_and_taps() -> None:
    op = ops.Conv((2,), (1,), (1,), (3,), (4,))
    [axis] = axes_of(op, (5,), (9,))
    assert axis.period == 2
    assert sum(p.count for p in axis.phases) == 9
    assert sum(p.taps for p in axis.phases) == 2


@settings(max_examples=8, deadline=None)
@given(
    batch=st.integers(1, 2),
    vectors=st.integers(1, 3),
    size=st.tuples(st.integers(2, 6), st.integers(2, 19)),
    outputs=st.integers(1, 4),
    window=st.integers(1, 3),
    stride=st.integers(1, 2),
    spread=st.booleans(),
    unit=units,
    threads=threads,
)
def test_few_output_channels(
    batch: int,
    vectors: int,
    size: tuple[int, ...],
    outputs: int,
    window: int,
    stride: int,
    spread: bool,
    unit: VectorUnit,
    threads: int,
) -> None:
    shape = (batch, vectors * unit.lanes, *size)
    outputs = min(outputs, unit.lanes // 2)
    if spread:
        graph = transposed(shape, outputs, window, 2, 0, 0)
    else:
        graph = convolution(shape, outputs, window, stride)
    plan = check_kernel(graph, [numbers(shape)], unit, threads)
    assert plan.startswith("narrow")


@settings(max_examples=8, deadline=None)
@given(
    batch=st.integers(1, 2),
    channels=st.integers(2, 4),
    size=st.tuples(st.integers(1, 5), st.integers(16, 75)),
    outputs=st.integers(1, 2),
    window=st.sampled_from([1, 3, 5]),
    step=st.integers(1, 2),
    unit=units,
    threads=threads,
)
def test_few_channels_row_by_row(
    batch: int,
    channels: int,
    size: tuple[int, ...],
    outputs: int,
    window: int,
    step: int,
    unit: VectorUnit,
    threads: int,
) -> None:
    shape = (batch, channels, *size)
    graph = convolution(shape, outputs, window, step=step)
    plan = check_kernel(graph, [numbers(shape)], unit, threads)
    assert plan.startswith("planar")


def test_a_single_row_is_shared_by_the_threads() -> None:
    for outputs in (1, 2):
        graph = convolution((1, 3, 203), outputs, 7)
        assert "planar" in check_kernel(graph, [numbers((1, 3, 203))], UNITS[0], 3)
        graph = convolution((1, 16, 203), outputs, 7)
        assert "narrow" in check_kernel(graph, [numbers((1, 16, 203))], UNITS[0], 3)


def test_long_windows_of_many_channels_are_not_written_out() -> None:
    graph = convolution((1, 13, 7, 70), 2, 5)
    check_kernel(graph, [numbers((1, 13, 7, 70))], UNITS[0])


@settings(max_examples=10, deadline=None)
@given(
    batch=st.integers(1, 2),
    count=st.integers(16, 40),
    depth=st.sampled_from([1, 2, 4]),
    size=st.tuples(st.integers(1, 6), st.integers(1, 23)),
    window=st.sampled_from([1, 3, 5]),
    stride=st.integers(1, 2),
    step=st.integers(1, 2),
    unit=units,
    threads=threads,
)
def test_groups_of_few_channels(
    batch: int,
    count: int,
    depth: int,
    size: tuple[int, ...],
    window: int,
    stride: int,
    step: int,
    unit: VectorUnit,
    threads: int,
) -> None:
    shape = (batch, count * depth, *size)
    graph = convolution(shape, count * depth, window, stride, step, count)
    plan = check_kernel(graph, [numbers(shape)], unit, threads)
    assert plan.startswith("depthwise")


@pytest.mark.parametrize("spatial", [(19,), (3, 4, 9)])
def test_depthwise_convolution_over_any_number_of_axes(spatial: tuple[int, ...]) -> None:
    shape = (1, 21, *spatial)
    check_kernel(convolution(shape, 21, 3, groups=21), [numbers(shape)], UNITS[0], 2)


def test_templates_follow_each_other() -> None:
    emit = Emitter()
    x = emit.argument(TensorType("float32", (1, 16, 9, 10)), "x")
    wide = emit(
        ops.ConvTranspose((2, 2), (1, 1), (0, 0), (1, 1)), x, emit.constant(numbers((16, 24, 3, 3)))
    )
    deep = emit(
        ops.Conv((1, 1), (1, 1), (1, 1), (1, 1), (1, 1), 24),
        emit(ops.Relu(), wide),
        emit.constant(numbers((24, 1, 3, 3))),
    )
    head = emit(
        ops.ConvTranspose((2, 2), (1, 1), (0, 0), (1, 1)),
        emit(ops.Relu(), deep),
        emit.constant(numbers((24, 2, 3, 3))),
    )
    last = emit(
        ops.Conv((1, 1), (1, 1), (1, 1), (1, 1), (1, 1)),
        emit(ops.Relu(), head),
        emit.constant(numbers((2, 2, 3, 3))),
    )
    graph = emit.graph("chain", [x], [emit(ops.Add(), last, head)])
    data = numbers((1, 16, 9, 10))
    [found], [expected] = run_canonical(graph, [data]), interpret(graph, [data])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
