# SPDX-License-Identifier: MIT
"""Gradients of convolution weights against float64, over shapes, vector widths and threads."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from ranvier.codegen.unit import VectorUnit
from ranvier.codegen.values import dims
from ranvier.ir import Array, Emitter, Graph, TensorType, ops
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


def check(graph: Graph, op: ops.ConvWeightGradient, unit: VectorUnit, threads: int = 1) -> str:
    """Compare the kernel with float64."""
    kernel = TemplateKernel(graph, "WeightGradient", unit)
    arrays = operands(graph)
    (expected,) = op.evaluate(*(a.astype(np.float64) for a in arrays))
    found = kernel.run(arrays, threads)
    close(found, expected, 1e-6)
    return str(kernel.plan)


CASES = {
    "plain": ((2, 16, 6, 7), 24, (3, 3), {"low": 1, "high": 1}),
    "tails": ((3, 7, 5, 6), 19, (3, 3), {"low": 1, "high": 1}),
    "strided": ((2, 12, 9, 11), 16, (3, 3), {"strides": 2, "low": 1, "high": 1}),
    "strided-dilated": ((1, 9, 17, 19), 10, (3, 2), {"strides": 3, "dilation": 2, "low": 2}),
    "pointwise": ((2, 20, 5, 7), 33, (1, 1), {}),
    "pointwise-strided": ((2, 20, 6, 7), 33, (1, 1), {"strides": 2}),
    "one-channel": ((2, 1, 9, 8), 16, (3, 3), {"low": 1, "high": 1}),
    "stem": ((2, 3, 21, 22), 16, (7, 7), {"strides": 2, "low": 3, "high": 3}),
    "few-outputs": ((2, 24, 7, 8), 2, (3, 3), {"low": 1, "high": 1}),
    "few-outputs-strided": ((2, 24, 7, 8), 2, (3, 3), {"low": 1, "high": 1, "strides": 2}),
    "few-both": ((1, 2, 5, 5), 3, (3, 2), {"low": 1, "high": 0}),
    "volume": ((2, 6, 5, 6, 7), 10, (3, 3, 3), {"low": 1, "high": 1}),
    "volume-one-channel": ((1, 1, 6, 6, 9), 16, (3, 3, 3), {"low": 1, "high": 1}),
    "signal": ((4, 8, 50), 12, (5,), {"strides": 2, "low": 3, "high": 1}),
    "small-images": ((16, 24, 2, 2), 16, (3, 3), {"low": 1, "high": 1}),
    "many-blocks": ((2, 8, 40, 30), 16, (3, 3), {"low": 1, "high": 1}),
    "cropped": ((1, 8, 9, 9), 8, (3, 3), {"low": -1, "high": -2}),
    "far-outside": ((1, 8, 3, 3), 8, (2, 2), {"low": 5, "high": 4}),
    "transposed": ((2, 12, 4, 5), 16, (2, 2), {"spread": 2, "low": 1, "high": 1}),
    "transposed-wide": ((2, 16, 4, 5), 6, (3, 3), {"spread": 2, "low": 1, "high": 2}),
    "transposed-to-few": ((1, 16, 4, 5), 2, (3, 3), {"spread": 2, "low": 1, "high": 2}),
    "groups": ((2, 16, 6, 5), 24, (3, 3), {"groups": 4, "low": 1, "high": 1}),
}


@pytest.mark.parametrize("unit", UNITS, ids=lambda u: f"{u.lanes}-lanes")
@pytest.mark.parametrize("case", CASES)
def test_agrees_with_float64(case: str, unit: VectorUnit) -> None:
    data, outputs, window, fields = CASES[case]
    op, graph = gradient_of(data, outputs, window, **fields)
    check(graph, op, unit)


@pytest.mark.parametrize("case", ["plain", "tails", "stem", "volume-one-channel", "many-blocks"])
def test_is_the_same_on_any_number_of_threads(case: str) -> None:
    data, outputs, window, fields = CASES[case]
    _, graph = gradient_of(data, outputs, window, **fields)
    kernel = TemplateKernel(graph, "WeightGradient")
    arrays = operands(graph)
    alone = kernel.run(arrays)
    for threads in (2, 3, 70):
        np.testing.assert_array_equal(kernel.run(arrays, threads), alone)
