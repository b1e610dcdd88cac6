# SPDX-License-Identifier: MIT
"""Gradients through normalisations, compiled, against the interpreter in float64."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ranvier.compiler import Session
from ranvier.ir import Array, Emitter, Graph, TensorType, Value, interpret, ops
from ranvier.ir.gradient import reverse

SHAPES = st.builds(
    lambda n, c, spatial: (n, c, *spatial),
    st.integers(1, 3),
    st.sampled_from([4, 8, 12, 36]),
    st.lists(st.integers(2, 9), min_size=1, max_size=3),
)
NORMS = ("batch", "instance", "group")
ACTIVATIONS = ("none", "relu", "prelu")


def random(*shape: int, seed: int = 0) -> Array:
    """Return normal float32 numbers."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def step_graph(dtype: str, shape: tuple[int, ...], norm: str, activation: str) -> Graph:
    """Return loss, results and gradients of a norm between two products, with a residual."""
    emit = Emitter()
    channels = shape[1]
    x = emit.argument(TensorType(dtype, shape), "x")
    factor = emit.argument(TensorType(dtype, shape), "factor")
    scale, bias, slope, mean, variance = (
        emit.argument(TensorType(dtype, (channels,)), name)
        for name in ("scale", "bias", "slope", "mean", "variance")
    )
    more: list[Value] = []
    if norm == "batch":
        y, *more = emit.multi(ops.BatchNormTraining(), x, scale, bias, mean, variance)
    else:
        op = ops.InstanceNorm() if norm == "instance" else ops.GroupNorm(2)
        y = emit(op, x, scale, bias)
    if activation == "relu":
        y = emit(ops.Relu(), y)
    if activation == "prelu":
        rows = emit(ops.Reshape((channels, *(1 for _ in shape[2:]))), slope)
        y = emit(ops.PRelu(), y, rows)
    z = emit(ops.Mul(), emit(ops.Add(), y, x), factor)
    loss = emit(ops.ReduceMean(tuple(range(len(shape)))), emit(ops.Mul(), z, z))
    wrt = (x, scale, bias, *((slope,) if activation == "prelu" else ()))
    gradients = reverse(emit, list(emit.nodes), wrt, {loss: emit.scalar_like(1, loss)})
    found = [v for v in gradients if v is not None]
    inputs = (x, factor, scale, bias, slope, mean, variance)
    return emit.graph("step", inputs, (loss, y, *more, *found))


@settings(max_examples=10, deadline=None, derandomize=True)  # no rectifier's decision flips
@given(SHAPES, st.sampled_from(NORMS), st.sampled_from(ACTIVATIONS), st.integers(1, 3))
def test_gradients(shape: tuple[int, ...], norm: str, activation: str, threads: int) -> None:
    """Loss, running statistics and all gradients are those of the interpreter in float64."""
    arrays = [random(*shape), random(*shape, seed=1)]
    arrays += [random(shape[1], seed=2 + k) for k in range(5)]
    graph = step_graph("float32", shape, norm, activation)
    session = Session(graph, threads=threads)
    found = session.run(None, dict(zip((v.name for v in graph.inputs), arrays, strict=True)))
    wide = step_graph("float64", shape, norm, activation)
    expected = interpret(wide, [a.astype(np.float64) for a in arrays])
    for value, one, other in zip(graph.outputs, found, expected, strict=True):
        error = np.linalg.norm(one - other) / max(np.linalg.norm(other), 1e-6)
        assert error < 1e-4, value


@pytest.mark.parametrize("norm", NORMS)
def test_passes_over_memory(norm: str) -> None:
    """Statistics, loss, sums of the gradient: a pass each, whatever the rectifier masks."""
    shape = (2, 16, 24, 24)
    graph = step_graph("float32", shape, norm, "relu")
    arrays = [random(*shape), random(*shape, seed=1)]
    arrays += [random(shape[1], seed=2 + k) for k in range(5)]
    feed = dict(zip((v.name for v in graph.inputs), arrays, strict=True))
    steps = Session(graph, threads=1).profile(feed).steps
    large = [info.label for info, _ in steps if info.bytes > 4 * np.prod(shape)]
    reductions = [label for label in large if "slab" in label or "reduce" in label]
    assert [label.rpartition(" by ")[2].partition("(")[0] for label in reductions] == [
        "moments",
        "channel_sums",
        "channel_sums",
    ]
