# SPDX-License-Identifier: MIT
"""Instance and group norms by moments of slabs against float64, and how they are fused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ranvier.compiler import run_canonical
from ranvier.ir import Array, Emitter, Graph, TensorType, ops
from ranvier.ir.ops.moments import slabs_of
from template_kernel import TemplateKernel, close

SHAPES = st.builds(
    lambda n, c, spatial: (n, c, *spatial),
    st.integers(1, 2),
    st.sampled_from([2, 3, 8, 12, 16, 20, 33]),
    st.lists(st.integers(1, 7), min_size=1, max_size=3),
)


def random(*shape: int, seed: int = 0) -> Array:
    """Return normal float32 numbers."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def normalised(x: Array, groups: int, scale: Array, bias: Array) -> Array:
    """Return the group norm of float32 data in float64."""
    n, c, *spatial = x.shape
    rows = x.astype(np.float64).reshape(n, groups, -1)
    centred = rows - rows.mean(-1, keepdims=True)
    normal = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
    per_channel = (c, *(1 for _ in spatial))
    return np.asarray(
        normal.reshape(x.shape) * scale.reshape(per_channel) + bias.reshape(per_channel)
    )


def moments(x: Array) -> Array:
    """Return the moments of slabs in float64."""
    n, c, *_ = x.shape
    rows = x.astype(np.float64).reshape(n, c, slabs_of(x.shape), -1)
    squares = ((rows - rows.mean(-1, keepdims=True)) ** 2).sum(-1)
    return np.asarray(np.stack([rows.mean(-1), squares], 2).transpose(0, 3, 2, 1))


@settings(max_examples=12, deadline=None)
@given(SHAPES, st.integers(1, 3), st.integers(0, 1))
def test_moments(shape: tuple[int, ...], threads: int, extra: int) -> None:
    """Moments of any shape are exact to rounding."""
    emit = Emitter()
    x = emit.argument(TensorType("float32", shape), "x")
    graph = emit.graph("moments", [x], [emit(ops.SlabMoments(), x)])
    data = random(*shape)
    close(TemplateKernel(graph, "Moments").run([data], threads, extra), moments(data))


@settings(max_examples=12, deadline=None)
@given(SHAPES, st.booleans(), st.integers(1, 3), st.integers(0, 1))
def test_normalisation(shape: tuple[int, ...], grouped: bool, threads: int, extra: int) -> None:
    """Any shape is normalised, with an activation and a residual on the way."""
    channels = shape[1]
    groups = 1 if grouped else channels
    emit = Emitter()
    x, r = (emit.argument(TensorType("float32", shape), name) for name in "xr")
    given_moments = emit(ops.SlabMoments(), x)
    m = emit.argument(given_moments.type, "m")
    s, b = (emit.constant(random(channels, seed=k)) for k in (1, 2))
    y = emit(ops.Relu(), emit(ops.NormaliseByMoments(groups, 1e-5), x, m, s, b))
    emit.nodes[:] = [n for n in emit.nodes if n.output != given_moments]
    graph = emit.graph("norm", [x, m, r], [emit(ops.Add(), y, r)])
    data, added = random(*shape), random(*shape, seed=3)
    found = TemplateKernel(graph, "Normalisation").run(
        [data, moments(data).astype(np.float32), added], threads, extra
    )
    scale, bias = random(channels, seed=1), random(channels, seed=2)
    close(found, np.maximum(normalised(data, groups, scale, bias), 0) + added, 1e-5)


def test_parametric_relu() -> None:
    """A selection by a comparison is computed on registers, too."""
    emit = Emitter()
    x = emit.argument(TensorType("float32", (1, 16, 5, 6)), "x")
    scale, bias = (emit.constant(random(16, seed=k)) for k in (1, 2))
    y = emit(ops.PRelu(), emit(ops.InstanceNorm(), x, scale, bias), emit.constant(random(1)))
    data = random(1, 16, 5, 6)
    (found,) = run_canonical(emit.graph("norm", [x], [y]), [data])
    expected = normalised(data, 16, random(16, seed=1), random(16, seed=2))
    close(found, np.where(expected < 0, expected * random(1), expected), 1e-5)


def norm_graph(shape: tuple[int, ...], groups: int) -> Graph:
    """Return a convolution by 1 with a norm after it."""
    emit = Emitter()
    x = emit.argument(TensorType("float32", shape), "x")
    scale, bias = random(shape[1], seed=1), random(shape[1], seed=2)
    op = ops.GroupNorm(groups) if groups else ops.InstanceNorm()
    return emit.graph("norm", [x], [emit(op, x, emit.constant(scale), emit.constant(bias))])


@pytest.mark.parametrize("groups", [0, 2])
@pytest.mark.parametrize("mean", [0.0, 1e3])
def test_large_mean(mean: float, groups: int) -> None:
    """A mean a thousand times the deviation costs what its rounding costs, no more."""
    shape = (1, 8, 12, 24, 24)
    data = random(*shape) + np.float32(mean)
    (found,) = run_canonical(norm_graph(shape, groups), [data])
    expected = normalised(data, groups or 8, random(8, seed=1), random(8, seed=2))
    # Half a unit in the last place of the mean, twice: when stored, and in the sum before.
    close(found, expected, 2e-6 if mean == 0 else 3e-5)
