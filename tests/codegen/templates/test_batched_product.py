# SPDX-License-Identifier: MIT
"""Products of computed matrices against NumPy in float64: tails, batches, strides, threads."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ranvier.ir import Array, Emitter, Graph, TensorType, ops
from template_kernel import TemplateKernel, close

BATCHES = st.sampled_from(
    [((), ()), ((3,), (3,)), ((2, 3), (2, 3)), ((2, 1), (1, 3)), ((3,), ()), ((), (2, 2))]
)


def random(*shape: int, seed: int = 0) -> Array:
    """Return normal float32 numbers."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def product_graph(left: Array, right: Array, scaled: bool = False) -> Graph:
    """Return ``left @ right``, or ``left @ right * 0.125 + mask`` with one mask for all rows."""
    emit = Emitter()
    x = emit.argument(TensorType("float32", left.shape), "x")
    y = emit.argument(TensorType("float32", right.shape), "y")
    z = emit(ops.MatMul(), x, y)
    if not scaled:
        return emit.graph("product", [x, y], [z])
    mask = emit.argument(TensorType("float32", (right.shape[-1],)), "mask")
    factor = emit.constant(np.float32(0.125))
    z = emit(ops.Add(), emit(ops.Mul(), z, factor), mask)
    return emit.graph("product", [x, y, mask], [z])


@settings(max_examples=20, deadline=None)
@given(
    BATCHES,
    st.integers(4, 15),
    st.integers(1, 20),
    st.integers(8, 70),
    st.booleans(),
    st.integers(1, 3),
)
def test_product(
    batches: tuple[tuple[int, ...], tuple[int, ...]],
    rows: int,
    depth: int,
    columns: int,
    scaled: bool,
    threads: int,
) -> None:
    """Any sizes and repeated batches give the product, whichever threads share the blocks."""
    x = random(*batches[0], rows, depth)
    y = random(*batches[1], depth, columns, seed=1)
    mask = random(columns, seed=2)
    kernel = TemplateKernel(product_graph(x, y, scaled), "BatchedProduct")
    expected = x.astype(np.float64) @ y
    if scaled:
        expected = expected * 0.125 + mask
    close(kernel.run([x, y, mask] if scaled else [x, y], threads), expected)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_attention_sizes(threads: int) -> None:
    """The sizes of a vision transformer: a number of columns that no vector divides."""
    x, y = random(1, 3, 197, 64), random(1, 3, 64, 197, seed=1)
    close(
        TemplateKernel(product_graph(x, y, True), "BatchedProduct").run(
            [x, y, random(197, seed=2)], threads
        ),
        (x.astype(np.float64) @ y) * 0.125 + random(197, seed=2),
    )
    p, v = random(1, 3, 197, 197), random(1, 3, 197, 64, seed=1)
    kernel = TemplateKernel(product_graph(p, v), "BatchedProduct")
    close(kernel.run([p, v], threads), p.astype(np.float64) @ v)


def test_fewer_blocks_than_threads() -> None:
    """Threads without a block do nothing."""
    x, y = random(5, 7), random(7, 9, seed=1)
    kernel = TemplateKernel(product_graph(x, y), "BatchedProduct")
    close(kernel.run([x, y], 5), x.astype(np.float64) @ y)
