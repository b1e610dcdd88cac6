# SPDX-License-Identifier: MIT
"""The matrix product template against NumPy in float64: tails, batches, epilogues, threads."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ranvier.ir import Array, Emitter, Graph, TensorType, ops
from template_kernel import TemplateKernel, close

SHAPES = st.tuples(
    st.lists(st.integers(1, 3), max_size=2),
    st.integers(1, 14),
    st.integers(2, 20),
    st.integers(2, 60),
)


def random(*shape: int, seed: int = 0) -> Array:
    """Return normal float32 numbers."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def product_graph(shape: tuple[int, ...], weights: Array, bias: Array, residual: bool) -> Graph:
    """Return ``relu(x @ weights + bias + residual)``, without the last two if not wanted."""
    emit = Emitter()
    x = emit.argument(TensorType("float32", shape), "x")
    y = emit(ops.Add(), emit(ops.MatMul(), x, emit.constant(weights)), emit.constant(bias))
    if not residual:
        return emit.graph("product", [x], [y])
    r = emit.argument(TensorType("float32", (*shape[:-1], weights.shape[1])), "r")
    return emit.graph("product", [x, r], [emit(ops.Relu(), emit(ops.Add(), y, r))])


@settings(max_examples=12, deadline=None)
@given(SHAPES, st.booleans(), st.integers(1, 3))
def test_product(sizes: tuple[list[int], int, int, int], residual: bool, threads: int) -> None:
    """Any sizes of rows and columns give the product, whichever threads share them."""
    outer, rows, depth, columns = sizes
    shape = (*outer, rows, depth)
    x, weights, bias = random(*shape), random(depth, columns, seed=1), random(columns, seed=2)
    r = random(*shape[:-1], columns, seed=3)
    kernel = TemplateKernel(product_graph(shape, weights, bias, residual), "Product")
    expected = x.astype(np.float64) @ weights + bias
    if residual:
        expected = np.maximum(expected + r, 0)
    close(kernel.run([x, r] if residual else [x], threads), expected)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("rows", [1, 2, 5, 13])
def test_many_weights(rows: int, threads: int) -> None:
    """Threads share columns where weights outgrow the cache."""
    x, weights, bias = random(rows, 300), random(300, 301, seed=1), random(301, seed=2)
    kernel = TemplateKernel(product_graph(x.shape, weights, bias, False), "Product")
    close(kernel.run([x], threads), x.astype(np.float64) @ weights + bias)


def test_bias_per_row_of_a_batch() -> None:
    """What is added may repeat over the batch."""
    emit = Emitter()
    x = emit.argument(TensorType("float32", (3, 5, 7)), "x")
    b = emit.argument(TensorType("float32", (5, 11)), "b")
    y = emit(ops.MatMul(), x, emit.constant(random(7, 11, seed=1)))
    kernel = TemplateKernel(emit.graph("product", [x, b], [emit(ops.Add(), y, b)]), "Product")
    data, added = random(3, 5, 7), random(5, 11, seed=2)
    expected = data.astype(np.float64) @ random(7, 11, seed=1) + added
    close(kernel.run([data, added], 2), expected)
