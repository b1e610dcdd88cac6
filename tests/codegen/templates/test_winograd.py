# SPDX-License-Identifier: MIT
"""Convolutions by minimal filtering against float64, over shapes, blockings and threads."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ranvier.codegen import templates
from ranvier.codegen.build import Built
from ranvier.codegen.cache import cache_folder
from ranvier.codegen.filtering import (
    ROOTS,
    filter_matrix,
    filter_transform,
    output_matrix,
    samples,
    signal_matrix,
)
from ranvier.codegen.packing import winograd
from ranvier.codegen.targets import parse_target
from ranvier.codegen.templates import Plan, VectorUnit, choose
from ranvier.codegen.templates.direct import direct_convolution
from ranvier.codegen.templates.winograd import WinogradConvolution, problem_of
from ranvier.codegen.templates.winograd_blocking import Filtered, best_blocking, candidates
from ranvier.compiler import build_canonical, target_ready
from ranvier.ir import Array, Emitter, Graph, Node, TensorType, interpret, ops
from ranvier.runtime.executor import Executor
from ranvier.runtime.team import Workers
from template_kernel import UNITS, TemplateKernel, close

# Largest error relative to the largest result, of one convolution; the definition in float32 has
# 1e-6. Whole networks stay within 1e-4.
BOUND = {2: 3e-6, 4: 1e-5}


def network(
    shape: Sequence[int],
    filters: Sequence[int],
    *,
    window: Sequence[int] | None = None,
    pad: int = 1,
    residual: bool = False,
    dtype: str = "float32",
    stride: int = 1,
    dilation: int = 1,
) -> Graph:
    """Convolutions one after the other, each with a bias, a residual if asked for, and ReLU."""
    rank = len(shape) - 2
    taps = tuple(window or (3,) * rank)
    rng = np.random.default_rng(len(filters))
    emit = Emitter()
    y = emit.argument(TensorType(dtype, tuple(shape)), "x")
    arguments = [y]
    low = tuple(pad if k == 3 else 0 for k in taps)
    for number, count in enumerate(filters):
        assert isinstance(y.type, TensorType)
        channels = y.type.dims[1]
        scale = np.sqrt(2 / (channels * np.prod(taps)))
        w = (rng.standard_normal((count, channels, *taps)) * scale).astype(np.float32)
        b = rng.standard_normal((1, count, *[1] * rank)).astype(np.float32)
        op = ops.Conv((stride,) * rank, low, low, (dilation,) * rank, (1,) * rank)
        y = emit(op, y, emit.constant(w.astype(dtype)))
        y = emit(ops.Add(), y, emit.constant(b.astype(dtype)))
        if residual:
            arguments.append(emit.argument(y.type, f"r{number}"))
            y = emit(ops.Add(), y, arguments[-1])
        y = emit(ops.Relu(), y)
    return emit.graph("network", arguments, [y])


def data(graph: Graph) -> list[Array]:
    rng = np.random.default_rng(7)
    return [
        rng.standard_normal(v.type.dims).astype(np.float32)
        for v in graph.inputs
        if isinstance(v.type, TensorType)
    ]


def built(graph: Graph, m: int, pick: int | None = None) -> tuple[Built, list[WinogradConvolution]]:
    """Compile with minimal filtering wherever it can be, by candidate ``pick`` or the best."""
    used: list[WinogradConvolution] = []

    def template(node: Node, arrays: Mapping[str, Array], unit: VectorUnit) -> Plan | None:
        direct = direct_convolution(node, arrays, unit)
        problem = None if direct is None else problem_of(direct)
        if direct is None or problem is None:
            return direct
        every = list(candidates(problem, m, unit))
        best = best_blocking(problem, m, unit)
        used.append(WinogradConvolution(direct, best if pick is None else every[pick % len(every)]))
        return used[-1]

    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    # A folder for each, because programs are found by their graphs and libraries by their paths.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(templates, "TEMPLATES", (template,))
        patch.setenv("RANVIER_CACHE", tempfile.mkdtemp(dir=cache))
        return build_canonical(graph, parse_target("cpu")), used


def run(program: Built, arrays: Sequence[Array], threads: int = 1) -> Array:
    workers = Workers(threads) if threads > 1 else None
    executor = Executor(program.program, program.library, program.weights, workers)
    (result,) = executor.run(arrays)
    assert isinstance(result, np.ndarray)
    return result


def error(found: Array, graph: Graph, arrays: Sequence[Array]) -> float:
    """Return the largest difference from a float64 graph, relative to its largest result."""
    (expected,) = interpret(graph, [a.astype(np.float64) for a in arrays])
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max() / np.abs(expected).max())


# The algorithm


@pytest.mark.parametrize("m", ROOTS)
def test_minimal_filtering_is_a_filter(m: int) -> None:
    rng = np.random.default_rng(0)
    signal, taps = rng.standard_normal(samples(m)), rng.standard_normal(3)
    products = (filter_matrix(m) @ taps) * (signal_matrix(m) @ signal)
    np.testing.assert_allclose(output_matrix(m) @ products, np.correlate(signal, taps), atol=1e-13)


@pytest.mark.parametrize("m", ROOTS)
def test_constants_of_transforms_of_data_and_products_are_exact(m: int) -> None:
    for matrix in (signal_matrix(m), output_matrix(m)):
        assert (matrix.astype(np.float32) == matrix).all()


def test_packed_filters_are_values_at_points() -> None:
    weights = np.random.default_rng(0).standard_normal((5, 3, 2, 3, 3)).astype(np.float32)
    packed = winograd(weights, 4, 2, 3).reshape(1, 36, 3, 2, 3, 2)
    values = weights[4, 1, 1].reshape(9).astype(np.float64)
    np.testing.assert_allclose(packed[0, :, 2, 1, 1, 0], filter_transform(4) @ values, rtol=1e-6)
    assert not packed[0, :, 2, :, :, 1].any()


# Kernels


@settings(max_examples=16, deadline=None)
@given(
    batch=st.integers(1, 3),
    channels=st.integers(1, 20),
    filters=st.integers(1, 50),
    size=st.tuples(st.integers(3, 21), st.integers(3, 21)),
    pad=st.integers(0, 2),
    m=st.sampled_from(sorted(ROOTS)),
    pick=st.integers(0, 1 << 20),
    residual=st.booleans(),
)
def test_2d(
    batch: int,
    channels: int,
    filters: int,
    size: tuple[int, int],
    pad: int,
    m: int,
    pick: int,
    residual: bool,
) -> None:
    graphs = [
        network((batch, channels, *size), [filters], pad=pad, residual=residual, dtype=d)
        for d in ("float32", "float64")
    ]
    program, used = built(graphs[0], m, pick)
    arrays = data(graphs[0])
    assert len(used) == 1
    assert error(run(program, arrays), graphs[1], arrays) < BOUND[m], used[0]


@settings(max_examples=12, deadline=None)
@given(
    batch=st.integers(1, 2),
    channels=st.integers(1, 17),
    filters=st.integers(1, 34),
    size=st.tuples(st.integers(3, 7), st.integers(3, 13), st.integers(3, 13)),
    depth=st.sampled_from((1, 3)),
    pad=st.integers(0, 1),
    m=st.sampled_from(sorted(ROOTS)),
    pick=st.integers(0, 1 << 20),
    residual=st.booleans(),
)
def test_3d(
    batch: int,
    channels: int,
    filters: int,
    size: tuple[int, int, int],
    depth: int,
    pad: int,
    m: int,
    pick: int,
    residual: bool,
) -> None:
    graphs = [
        network(
            (batch, channels, *size), [filters], window=(depth, 3, 3), pad=pad,
            residual=residual, dtype=d,
        )
        for d in ("float32", "float64")
    ]  # fmt: skip
    program, used = built(graphs[0], m, pick)
    arrays = data(graphs[0])
    assert len(used) == 1
    assert error(run(program, arrays), graphs[1], arrays) < BOUND[m], used[0]


@pytest.mark.parametrize("shape", [(2, 16, 21, 18), (1, 64, 40, 36), (1, 8, 9, 12, 11)])
@pytest.mark.parametrize("pick", [None, 0, 9])
def test_any_number_of_threads_gives_the_same_bits(
    shape: tuple[int, ...], pick: int | None
) -> None:
    graph = network(shape, [40, 24], residual=True)
    program, _ = built(graph, 4, pick)
    arrays = data(graph)
    alone = run(program, arrays)
    for threads in (2, 3, 7):
        assert (run(program, arrays, threads) == alone).all()


# The choice


def plans(graph: Graph, accuracy: str = "default", march: str = "x86-64-v3") -> list[str]:
    target = parse_target(f"cpu{{march={march}}}")
    ready = target_ready(graph, target)
    assert target.unit is not None
    chosen = [choose(n, ready.parameters, target.unit, accuracy) for n in ready.nodes]
    return [str(p).partition(",")[0] for p in chosen if p is not None]


@pytest.mark.parametrize(
    ("shape", "filters", "expected"),
    [
        ((1, 64, 56, 56), 64, "winograd(m=4"),
        ((1, 256, 14, 14), 256, "winograd(m=4"),
        ((1, 512, 7, 7), 512, "winograd(m=2"),
        ((1, 32, 48, 48, 48), 32, "winograd(m=4"),
        ((1, 3, 32, 32), 64, "direct("),
    ],
)
def test_the_cheapest_way_is_chosen(shape: tuple[int, ...], filters: int, expected: str) -> None:
    (plan,) = plans(network(shape, [filters]))
    assert plan.startswith(expected)


def test_other_windows_are_convolved_by_definition() -> None:
    for options in ({"stride": 2}, {"dilation": 2}, {"window": (1, 1)}, {"window": (3, 1)}):
        (plan,) = plans(network((1, 64, 28, 28), [64], **options))
        assert plan.startswith("direct"), options


def test_strict_accuracy_convolves_by_definition() -> None:
    (plan,) = plans(network((1, 64, 56, 56), [64]), accuracy="strict")
    assert plan.startswith("direct")


def test_scratch_is_of_moderate_size() -> None:
    unit = VectorUnit(8, 16)
    for channels, size in ((16, 256), (64, 224), (128, 112), (512, 28), (512, 14)):
        b = best_blocking(Filtered(1, 1, 1, size, size, channels, channels), 4, unit)
        tensors = 4 * 2 * channels * size**2
        assert b.data_bytes + b.product_bytes <= 4 * unit.l2
        assert b.threads * (b.data_bytes + b.product_bytes) <= max(4 << 20, tensors // 8)


@pytest.mark.parametrize("shape", [(1, 16, 30, 30), (1, 16, 10, 14, 14)])
def test_networks_keep_their_accuracy(shape: tuple[int, ...]) -> None:
    wide = network(shape, [32, 32, 48, 48, 32, 32, 16, 16], dtype="float64")
    graph = network(shape, [32, 32, 48, 48, 32, 32, 16, 16])
    arrays = data(graph)
    program, used = built(graph, 4)
    assert len(used) == 8
    assert error(run(program, arrays), wide, arrays) < 1e-5


@pytest.mark.parametrize("unit", UNITS, ids=str)
@pytest.mark.parametrize("window", [(3, 3), (2, 3, 3)], ids=str)
def test_filters_transformed_inside(unit: VectorUnit, window: tuple[int, ...]) -> None:
    """A kernel that meets each computed filter once transforms it, for any threads."""
    emit = Emitter()
    batch = 8 if len(window) == 2 else 1
    x = emit.argument(TensorType("float32", (batch, 32, *[4] * len(window))), "x")
    w = emit.argument(TensorType("float32", (70, 32, *window)), "w")
    low = (*[0] * (len(window) - 2), 1, 1)
    ones = (1,) * len(window)
    graph = emit.graph("g", [x, w], [emit(ops.Conv(ones, low, low, ones, ones), x, w)])
    kernel = TemplateKernel(graph, "WinogradConvolution", unit)
    assert isinstance(kernel.plan, WinogradConvolution)
    assert kernel.plan.blocking.filters_inside
    assert not kernel.plan.packings
    arrays = data(graph)
    (expected,) = interpret(graph, arrays)
    for threads in (1, 2, 3):
        close(kernel.run(arrays, threads), expected, BOUND[4])
