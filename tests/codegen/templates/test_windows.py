# SPDX-License-Identifier: MIT
"""Pooling, averaging and resampling, kernel by kernel, on any vector unit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ranvier.codegen.unit import VectorUnit
from ranvier.compiler import run_canonical
from ranvier.ir import Emitter, Graph, TensorType, interpret, ops
from ranvier.ir.op import Op
from ranvier.ir.types import Array
from template_kernel import UNITS, check_kernel

units = st.sampled_from(UNITS)
threads = st.integers(1, 3)


def numbers(shape: tuple[int, ...], missing: bool = False) -> Array:
    rng = np.random.default_rng(sum(shape))
    data = rng.standard_normal(shape).astype(np.float32)
    if missing:
        data.flat[rng.integers(0, data.size, max(1, data.size // 50))] = np.nan
    return data


def single(shape: tuple[int, ...], op: Op, *tables: Array) -> Graph:
    emit = Emitter()
    x = emit.argument(TensorType("float32", shape), "x")
    y = emit(op, x, *map(emit.constant, tables))
    return emit.graph("group", [x], [emit(ops.Neg(), y)])


@settings(max_examples=16, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 2), st.integers(16, 40), st.integers(3, 7), st.integers(3, 40)),
    window=st.integers(1, 3),
    stride=st.integers(1, 3),
    low=st.integers(-1, 4),
    high=st.integers(-1, 4),
    step=st.integers(1, 2),
    missing=st.booleans(),
    unit=units,
    threads=threads,
)
def test_largest_of_windows(
    shape: tuple[int, ...],
    window: int,
    stride: int,
    low: int,
    high: int,
    step: int,
    missing: bool,
    unit: VectorUnit,
    threads: int,
) -> None:
    window = 1 if low + high + 3 < 1 + (window - 1) * step else window
    op = ops.MaxPool((window,) * 2, (stride,) * 2, (low,) * 2, (high,) * 2, (step,) * 2)
    check_kernel(single(shape, op), [numbers(shape, missing)], unit, threads)


@settings(max_examples=10, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 2), st.integers(16, 40), st.integers(3, 7), st.integers(3, 40)),
    window=st.integers(1, 3),
    stride=st.integers(1, 3),
    low=st.integers(0, 4),
    high=st.integers(0, 4),
    missing=st.booleans(),
    unit=units,
    threads=threads,
)
def test_sums_of_windows(
    shape: tuple[int, ...],
    window: int,
    stride: int,
    low: int,
    high: int,
    missing: bool,
    unit: VectorUnit,
    threads: int,
) -> None:
    twos = (1, 1)
    op = ops.WindowSum((window,) * 2, (stride,) * 2, (low,) * 2, (high,) * 2, twos, twos)
    check_kernel(single(shape, op), [numbers(shape, missing)], unit, threads)


@pytest.mark.parametrize("spatial", [(21,), (3, 4, 21)])
def test_windows_over_any_number_of_axes(spatial: tuple[int, ...]) -> None:
    shape, rank = (1, 19, *spatial), len(spatial)
    op = ops.MaxPool((3,) * rank, (2,) * rank, (1,) * rank, (1,) * rank, (1,) * rank)
    check_kernel(single(shape, op), [numbers(shape)], UNITS[0], 3)


@settings(max_examples=8, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(16, 80), st.integers(1, 5), st.integers(1, 9)),
    missing=st.booleans(),
    unit=units,
    threads=threads,
)
def test_average_of_channels(
    shape: tuple[int, ...], missing: bool, unit: VectorUnit, threads: int
) -> None:
    check_kernel(single(shape, ops.ReduceMean((2, 3))), [numbers(shape, missing)], unit, threads)


def test_long_averages_keep_their_digits() -> None:
    shape = (1, 16, 64, 64, 64)
    data = numbers(shape) + np.float32(100)
    graph = single(shape, ops.ReduceMean((2, 3, 4)))
    check_kernel(graph, [data], UNITS[0])


@settings(max_examples=10, deadline=None)
@given(
    channels=st.integers(16, 40),
    size=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    axis=st.integers(2, 3),
    rows=st.integers(2, 14),
    taps=st.integers(1, 4),
    unit=units,
    threads=threads,
)
def test_resampling_by_a_table(
    channels: int,
    size: tuple[int, ...],
    axis: int,
    rows: int,
    taps: int,
    unit: VectorUnit,
    threads: int,
) -> None:
    rng = np.random.default_rng(rows)
    shape = (2, channels, *size)
    indices = rng.integers(0, shape[axis], (rows, taps))
    weights = rng.standard_normal((rows, taps)).astype(np.float32)
    graph = single(shape, ops.Resample(axis), indices, weights)
    plan = check_kernel(graph, [numbers(shape)], unit, threads)
    assert plan.startswith("resampling")


@pytest.mark.parametrize("mode", ["linear", "cubic", "nearest"])
def test_resized_maps_feed_convolutions(mode: str) -> None:
    emit = Emitter()
    x = emit.argument(TensorType("float32", (1, 16, 5, 6)), "x")
    w = numbers((16, 16, 1, 1))
    op = ops.Conv((1, 1), (0, 0), (0, 0), (1, 1), (1, 1))
    y = emit(ops.Resize((2, 3), (10, 12), (2.0, 2.0), mode), emit(op, x, emit.constant(w)))
    skip = emit(ops.MaxPool((1, 1), (1, 1), (0, 0), (0, 0), (1, 1)), y)
    graph = emit.graph("up", [x], [emit(op, emit(ops.Add(), y, skip), emit.constant(w))])
    data = numbers((1, 16, 5, 6))
    [found], [expected] = run_canonical(graph, [data]), interpret(graph, [data])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)
