# SPDX-License-Identifier: MIT
"""Gradients of convolution weights against float64, over shapes, vector widths and threads."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ranvier.codegen.targets import parse_target
from ranvier.codegen.templates import Plan, choose
from ranvier.codegen.templates.weight_gradient import plan_of, weight_gradient
from ranvier.codegen.templates.winograd_gradient import WinogradGradient
from ranvier.codegen.unit import VectorUnit
from ranvier.codegen.values import dims
from ranvier.compiler import build_canonical
from ranvier.ir import Array, Emitter, Graph, TensorType, interpret, ops
from ranvier.ir.gradient import differentiate
from ranvier.runtime.executor import Executor
from template_kernel import UNITS, TemplateKernel, close


def gradient_of(
    data: Sequence[int], outputs: int, window: Sequence[int], *, spread: int = 1, **fields: int
) -> tuple[ops.ConvWeightGradient, Graph]:
    """Return the op, and the graph of it alone, for data of this shape."""
    rank = len(window)
    given = {"strides": 1, "low": 0, "high": 0, "dilation": 1} | fields
    groups = given.pop("groups", 1)
    op = ops.ConvWeightGradient(
        tuple(window),
        **{k: (n,) * rank for k, n in given.items()},
        input_dilation=(spread,) * rank,
        groups=groups,
    )
    emit = Emitter()
    x = emit.argument(TensorType("float32", tuple(data)), "x")
    positions = op.sliding.positions(tuple(data[2:]))
    dz = emit.argument(TensorType("float32", (data[0], outputs, *positions)), "dz")
    return op, emit.graph("gradient", (x, dz), [emit(op, x, dz)])


def operands(graph: Graph) -> list[Array]:
    rng = np.random.default_rng(5)
    return [rng.standard_normal(dims(v)).astype(np.float32) for v in graph.inputs]


def check(
    op: ops.ConvWeightGradient, graph: Graph, unit: VectorUnit, m: int = 0, threads: int = 1
) -> Plan:
    """Compare the kernel with float64: by definition, or by minimal filtering with m not 0."""
    kernel = kernel_of(graph, unit, m)
    arrays = operands(graph)
    (expected,) = op.evaluate(*(a.astype(np.float64) for a in arrays))
    close(kernel.run(arrays, threads), expected, {0: 1e-6, 2: 3e-6, 4: 1e-5}[m])
    return kernel.plan


def kernel_of(graph: Graph, unit: VectorUnit, m: int = 0) -> TemplateKernel:
    """Return the kernel by definition, or by minimal filtering with m not 0."""
    kernel = TemplateKernel(graph, unit=unit)
    if m:
        direct = plan_of(kernel.node, unit, rows_are_data=True)
        assert direct is not None
        kernel.plan = WinogradGradient(direct, m)
    else:
        plan = weight_gradient(kernel.node, {}, unit)
        assert plan is not None
        kernel.plan = plan
    return kernel


CASES = {
    "plain": ((2, 16, 6, 7), 24, (3, 3), {"low": 1, "high": 1}),
    "tails": ((3, 7, 5, 6), 19, (3, 3), {"low": 1, "high": 1}),
    "strided": ((2, 12, 9, 11), 16, (3, 3), {"strides": 2, "low": 1, "high": 1}),
    "strided-dilated": ((1, 9, 17, 19), 10, (3, 2), {"strides": 3, "dilation": 2, "low": 2}),
    "pointwise": ((2, 20, 5, 7), 33, (1, 1), {}),
    "pointwise-strided": ((2, 20, 6, 7), 33, (1, 1), {"strides": 2}),
    "one-channel": ((2, 1, 9, 8), 16, (3, 3), {"low": 1, "high": 1}),
    "stem": ((2, 3, 21, 22), 40, (7, 7), {"strides": 2, "low": 3, "high": 3}),
    "few-outputs": ((2, 24, 7, 8), 2, (3, 3), {"low": 1, "high": 1}),
    "few-outputs-strided": ((2, 24, 7, 8), 2, (3, 3), {"low": 1, "high": 1, "strides": 2}),
    "few-both": ((1, 2, 5, 5), 3, (3, 2), {"low": 1, "high": 0}),
    "volume": ((2, 6, 5, 6, 7), 10, (3, 3, 3), {"low": 1, "high": 1}),
    "volume-one-channel": ((1, 1, 6, 6, 9), 16, (3, 3, 3), {"low": 1, "high": 1}),
    "signal": ((4, 8, 50), 12, (5,), {"strides": 2, "low": 3, "high": 1}),
    "small-images": ((16, 24, 2, 2), 16, (3, 3), {"low": 1, "high": 1}),
    "vectors-in-place": ((2, 12, 9, 40), 16, (3, 3), {"low": 1, "high": 1, "strides": 1}),
    "patches": ((2, 3, 28, 30), 20, (7, 7), {"strides": 7}),
    "patches-of-many": ((2, 8, 16, 17), 20, (4, 5), {"strides": 4, "high": 1}),
    "whole-image": ((3, 8, 6, 7), 20, (6, 7), {}),
    "one-pixel": ((40, 24, 1, 1), 20, (3, 3), {"low": 1, "high": 1}),
    "many-blocks": ((2, 8, 40, 30), 16, (3, 3), {"low": 1, "high": 1}),
    "cropped": ((1, 8, 9, 9), 8, (3, 3), {"low": -1, "high": -2}),
    "far-outside": ((1, 8, 3, 3), 8, (2, 2), {"low": 5, "high": 4}),
    "transposed": ((2, 12, 4, 5), 16, (2, 2), {"spread": 2, "low": 1, "high": 1}),
    "transposed-wide": ((2, 16, 4, 5), 6, (3, 3), {"spread": 2, "low": 1, "high": 2}),
    "transposed-to-few": ((1, 16, 4, 5), 2, (3, 3), {"spread": 2, "low": 1, "high": 2}),
    "groups": ((2, 16, 6, 5), 24, (3, 3), {"groups": 4, "low": 1, "high": 1}),
}


@st.composite
def problems(draw: st.DrawFn) -> tuple[ops.ConvWeightGradient, Graph]:
    """Gradients of any windows over any data, a position at least."""
    rank = draw(st.integers(1, 3))
    several = st.lists(st.integers(1, 9), min_size=rank, max_size=rank)
    size, window = draw(several), draw(st.lists(st.integers(1, 4), min_size=rank, max_size=rank))
    spread = draw(st.sampled_from([1, 1, 2, 3]))
    strides = draw(st.sampled_from([1, 1, 2, 3])) if spread == 1 else 1
    dilation = draw(st.integers(1, 3))
    low, high = draw(st.integers(-1, 4)), draw(st.integers(-1, 4))
    least = min((n - 1) * spread + 1 for n in size) + low + high
    assume(least >= (max(window) - 1) * dilation + 1 and min(size) > 2)
    groups = draw(st.sampled_from([1, 1, 1, 2, 3]))
    channels, outputs = (groups * draw(st.integers(1, 21)) for _ in range(2))
    data = (draw(st.integers(1, 5)), channels, *size)
    fields = {"strides": strides, "dilation": dilation, "low": low, "high": high, "groups": groups}
    return gradient_of(data, outputs, window, spread=spread, **fields)


@given(problems(), st.sampled_from(UNITS), st.sampled_from([1, 3]))
@settings(max_examples=10, deadline=None)
def test_any_shape_agrees_with_float64(
    problem: tuple[ops.ConvWeightGradient, Graph], unit: VectorUnit, threads: int
) -> None:
    check(*problem, unit, threads=threads)


FILTERED = {
    "even": ((2, 16, 8, 8), 16, (3, 3), {"low": 1, "high": 1}),
    "tails": ((3, 21, 5, 7), 27, (3, 3), {"low": 1, "high": 2}),
    "small-images": ((5, 16, 2, 2), 40, (3, 3), {"low": 1, "high": 1}),
    "unpadded": ((1, 18, 9, 10), 17, (3, 3), {}),
    "volume": ((2, 16, 5, 6, 7), 24, (3, 3, 3), {"low": 1, "high": 1}),
    "flat-volume": ((1, 19, 1, 4, 5), 16, (3, 3, 3), {"low": 1, "high": 1}),
    "slices": ((2, 16, 4, 6, 5), 16, (1, 3, 3), {"low": 0, "high": 0}),
}


@pytest.mark.parametrize("case", CASES)
def test_agrees_with_float64(case: str) -> None:
    data, outputs, window, fields = CASES[case]
    check(*gradient_of(data, outputs, window, **fields), UNITS[0])


@pytest.mark.parametrize("unit", UNITS[1:], ids=lambda u: f"{u.lanes}-lanes")
@pytest.mark.parametrize("case", ["tails", "stem", "few-outputs", "strided", "transposed"])
def test_vectors_of_other_widths(case: str, unit: VectorUnit) -> None:
    data, outputs, window, fields = CASES[case]
    check(*gradient_of(data, outputs, window, **fields), unit)


@pytest.mark.parametrize("m", [2, 4])
@pytest.mark.parametrize("case", FILTERED)
def test_minimal_filtering_agrees_with_float64(case: str, m: int) -> None:
    data, outputs, window, fields = FILTERED[case]
    check(*gradient_of(data, outputs, window, **fields), UNITS[0], m)


@pytest.mark.parametrize("unit", UNITS[1:], ids=lambda u: f"{u.lanes}-lanes")
@pytest.mark.parametrize("case", ["tails", "volume"])
def test_minimal_filtering_by_vectors_of_other_widths(case: str, unit: VectorUnit) -> None:
    data, outputs, window, fields = FILTERED[case]
    check(*gradient_of(data, outputs, window, **fields), unit, 4)


@pytest.mark.parametrize("case", ["tails", "volume", "unpadded"])
def test_minimal_filtering_in_small_blocks(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data, outputs, window, fields = FILTERED[case]
    module = import_module("ranvier.codegen.templates.winograd_gradient")
    monkeypatch.setattr(module, "_HELD", 1)
    plan = check(*gradient_of(data, outputs, window, **fields), UNITS[0], 2)
    assert isinstance(plan, WinogradGradient)
    assert plan.slices == plan.lines == 1


@pytest.mark.parametrize("case", ["tails", "stem", "many-blocks"])
def test_is_the_same_on_any_number_of_threads(case: str) -> None:
    data, outputs, window, fields = CASES[case]
    _, graph = gradient_of(data, outputs, window, **fields)
    same_on_threads(kernel_of(graph, UNITS[0]), operands(graph))


@pytest.mark.parametrize("case", ["tails"])
def test_minimal_filtering_is_the_same_on_any_number_of_threads(case: str) -> None:
    data, outputs, window, fields = FILTERED[case]
    _, graph = gradient_of(data, outputs, window, **fields)
    same_on_threads(kernel_of(graph, UNITS[0], 4), operands(graph))


DEPTHWISE = {
    "single": ((2, 24, 6, 7), 24, (3, 3), {"groups": 24, "low": 1, "high": 1}),
    "tails": ((3, 21, 5, 6), 21, (3, 3), {"groups": 21, "low": 1, "high": 1, "strides": 2}),
    "wide": ((1, 19, 9, 8), 19, (5, 5), {"groups": 19, "low": 2, "high": 2}),
    "dilated": ((1, 16, 9, 9), 16, (3, 2), {"groups": 16, "low": 2, "dilation": 2}),
    "pairs": ((2, 20, 6, 5), 20, (3, 3), {"groups": 10, "low": 1, "high": 1}),
    "fours": ((2, 28, 6, 5), 28, (3, 3), {"groups": 7, "low": 1, "high": 1}),
    "volume": ((1, 16, 4, 5, 6), 16, (3, 3, 3), {"groups": 16, "low": 1, "high": 1}),
    "signal": ((2, 16, 30), 16, (7,), {"groups": 16, "low": 3, "high": 3}),
}


@pytest.mark.parametrize("case", DEPTHWISE)
def test_groups_of_few_channels_agree_with_float64(case: str) -> None:
    data, outputs, window, fields = DEPTHWISE[case]
    op, graph = gradient_of(data, outputs, window, **fields)
    kernel = TemplateKernel(graph, "DepthwiseGradient")
    arrays = operands(graph)
    (expected,) = op.evaluate(*(a.astype(np.float64) for a in arrays))
    close(kernel.run(arrays), expected, 1e-6)


@pytest.mark.parametrize("unit", UNITS[1:], ids=lambda u: f"{u.lanes}-lanes")
def test_groups_of_few_channels_by_vectors_of_other_widths(unit: VectorUnit) -> None:
    data, outputs, window, fields = DEPTHWISE["fours"]
    op, graph = gradient_of(data, outputs, window, **fields)
    kernel = TemplateKernel(graph, "DepthwiseGradient", unit)
    arrays = operands(graph)
    (expected,) = op.evaluate(*(a.astype(np.float64) for a in arrays))
    close(kernel.run(arrays, 3), expected, 1e-6)


def same_on_threads(kernel: TemplateKernel, arrays: list[Array]) -> None:
    # More threads than there are parts, of which some thus have nothing to do.
    np.testing.assert_array_equal(kernel.run(arrays, 3), kernel.run(arrays, 70))


def test_many_channels_are_filtered_unless_accuracy_is_strict() -> None:
    data, outputs, window, fields = (2, 64, 16, 16), 64, (3, 3), {"low": 1, "high": 1}
    _, graph = gradient_of(data, outputs, window, **fields)
    node = TemplateKernel(graph, "WinogradGradient").node
    assert type(choose(node, {}, UNITS[0], "strict")).__name__ == "WeightGradient"


def test_tiny_images_are_not_filtered() -> None:
    data, outputs, window, fields = (16, 64, 2, 2), 64, (3, 3), {"low": 1, "high": 1}
    _, graph = gradient_of(data, outputs, window, **fields)
    TemplateKernel(graph, "WeightGradient")


@pytest.mark.parametrize("case", ["plain", "few-outputs", "stem"])
def test_what_follows_is_computed_with_it(case: str) -> None:
    data, outputs, window, fields = CASES[case]
    op, _ = gradient_of(data, outputs, window, **fields)
    emit = Emitter()
    x = emit.argument(TensorType("float32", data), "x")
    positions = op.sliding.positions(data[2:])
    dz = emit.argument(TensorType("float32", (data[0], outputs, *positions)), "dz")
    w = emit.argument(TensorType("float32", (outputs, data[1], *window)), "w")
    graph = emit.graph("decayed", (x, dz, w), [emit(ops.Add(), emit(op, x, dz), w)])
    kernel = kernel_of(graph, UNITS[0])
    arrays = operands(graph)
    (expected,) = interpret(graph, arrays)
    close(kernel.run(arrays), expected)


def test_long_sums_keep_their_accuracy() -> None:
    op, graph = gradient_of((1, 8, 160, 160), 8, (1, 1))
    x, dz = operands(graph)
    # All of one sign: the sum grows far beyond its terms.
    x, dz = np.abs(x), np.abs(dz)
    (expected,) = op.evaluate(x.astype(np.float64), dz.astype(np.float64))
    close(kernel_of(graph, UNITS[0]).run([x, dz]), expected, 1e-6)


def test_compiled_network_runs_in_its_layouts() -> None:
    emit = Emitter()
    x = emit.argument(TensorType("float32", (2, 3, 12, 12)), "x")
    arguments, y = [x], x
    for k, (channels, stride) in enumerate([(16, 1), (16, 1), (32, 2)]):
        shape = (channels, dims(y)[1], 3, 3)
        arguments.append(emit.argument(TensorType("float32", shape), f"w{k}"))
        conv = ops.Conv((stride,) * 2, (1, 1), (1, 1), (1, 1), (1, 1))
        y = emit(ops.Tanh(), emit(conv, y, arguments[-1]))
    graph = differentiate(emit.graph("network", arguments, [y]))
    arrays = [np.float32(0.2) * a for a in operands(graph)]
    expected = interpret(graph, arrays)
    built = build_canonical(graph, parse_target("cpu"))
    labels = [k.label for k in built.program.kernels]
    assert sum("gradient(" in label for label in labels) == 3, labels
    executor = Executor(built.program, built.library, built.weights, None)
    for f, e in zip(executor.run(arrays), expected, strict=True):
        close(f, e, 3e-5)
