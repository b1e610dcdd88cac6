# SPDX-License-Identifier: MIT
"""Sums over positions and statistics of channels against float64."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ranvier.ir import Array, Emitter, TensorType, interpret, ops
from ranvier.ir.ops.moments import slabs_of
from template_kernel import UNITS, TemplateKernel, close

SHAPES = st.builds(
    lambda n, c, spatial: (n, c, *spatial),
    st.integers(1, 3),
    st.sampled_from([2, 3, 8, 12, 33, 70]),
    st.lists(st.integers(1, 9), min_size=1, max_size=3),
)


def random(*shape: int, seed: int = 0) -> Array:
    """Return normal float32 numbers."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def slab_sums(x: Array) -> Array:
    """Return the sums (N, slabs, C) of slabs in float64."""
    n, c = x.shape[:2]
    rows = x.astype(np.float64).reshape(n, c, slabs_of(x.shape), -1)
    return np.asarray(rows.sum(-1).transpose(0, 2, 1))


@settings(max_examples=12, deadline=None)
@given(SHAPES, st.integers(1, 3), st.integers(0, 1))
def test_masked_sums(shape: tuple[int, ...], threads: int, extra: int) -> None:
    """Two sums of any shape, of what a mask by a shift per channel leaves."""
    emit = Emitter()
    x, dy = (emit.argument(TensorType("float32", shape), name) for name in ("x", "dy"))
    per_channel = (shape[1], *(1 for _ in shape[2:]))
    m = emit.argument(TensorType("float32", per_channel), "m")
    centred, zero = emit(ops.Sub(), x, m), emit.constant(np.float32(0))
    masked = emit(ops.Select(), emit(ops.Greater(), centred, zero), dy, zero)
    sums = emit(ops.SlabSums(), masked, emit(ops.Mul(), masked, centred))
    arrays = [random(*shape), random(*shape, seed=1), random(*per_channel, seed=2)]
    kernel = TemplateKernel(emit.graph("sums", [x, dy, m], [sums]), "ChannelSums")
    found = kernel.run(arrays, threads, extra)
    off = arrays[0].astype(np.float64) - arrays[2]
    kept = np.where(off > 0, arrays[1], 0.0)
    expected = np.stack([slab_sums(kept), slab_sums(kept * off)], 2)
    close(found, expected, 1e-5)


@settings(max_examples=12, deadline=None)
@given(
    st.integers(1, 4),
    st.integers(1, 5),
    st.sampled_from([(3, 3), (12, 4), (64, 64), (70, 70), (40, 8)]),
    st.booleans(),
    st.integers(1, 3),
)
def test_pooled_moments(
    samples: int, slabs: int, channels: tuple[int, int], batch: bool, threads: int
) -> None:
    """Statistics of any number of slabs, alone or in groups, of samples or of the batch."""
    shape = (samples, slabs, 2, channels[0])
    emit = Emitter()
    moments = emit.argument(TensorType("float32", shape), "m")
    y = emit(ops.PooledMoments(7, channels[1], batch), moments)
    data = np.abs(random(*shape))
    graph = emit.graph("pooled", [moments], [y])
    (expected,) = interpret(graph, [data])
    close(TemplateKernel(graph, "Pooled").run([data], threads), expected)


@pytest.mark.parametrize("unit", UNITS, ids=str)
def test_results_do_not_depend_on_threads(unit: object) -> None:
    """Any number of threads gives the same bits."""
    emit = Emitter()
    x = emit.argument(TensorType("float32", (2, 20, 9, 30)), "x")
    graph = emit.graph("sums", [x], [emit(ops.SlabSums(), x)])
    kernel = TemplateKernel(graph, "ChannelSums", unit)  # type: ignore[arg-type]
    data = random(2, 20, 9, 30)
    alone = kernel.run([data])
    assert all((kernel.run([data], threads) == alone).all() for threads in (2, 3, 5))
