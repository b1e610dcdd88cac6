# SPDX-License-Identifier: MIT
"""Slices of channels that kernels read where they come from, as gradients of concatenations are."""

from __future__ import annotations

import numpy as np
import pytest

from ranvier.compiler import Session
from ranvier.ir import Array, Emitter, Graph, TensorType, Value, interpret, ops


def random(*shape: int, seed: int = 0) -> Array:
    """Return normal float32 numbers."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def conv(emit: Emitter, x: Value, channels: int, window: int, seed: int) -> Value:
    """Emit a convolution that keeps the size."""
    assert isinstance(x.type, TensorType)
    axes = x.type.rank - 2
    weights = random(channels, x.type.dims[1], *(window,) * axes, seed=seed)
    around, ones = (window // 2,) * axes, (1,) * axes
    op = ops.Conv(ones, around, around, ones, ones)
    return emit(op, x, emit.constant(weights / np.float32(window**axes)))


def apart(spatial: tuple[int, ...], window: int, middle: str) -> Graph:
    """Return a convolution, two slices of its channels, and what is made of either."""
    emit = Emitter()
    x = emit.argument(TensorType("float32", (2, 8, *spatial)), "x")
    both = conv(emit, x, 24, 1, 1)
    parts = []
    for start, stop in ((0, 16), (16, 24)):
        starts, stops = (0, start, *(0 for _ in spatial)), (2, stop, *spatial)
        parts.append(emit(ops.Slice(starts, stops, (1,) * len(starts)), both))
    added = emit(ops.Add(), parts[0], conv(emit, x, 16, window, 2))
    if middle == "conv":
        other = conv(emit, parts[1], 8, window, 3)
    elif middle == "relu":
        other = emit(ops.Relu(), parts[1])
    else:
        other = emit(ops.SlabSums(), parts[1])
    return emit.graph("apart", [x], [conv(emit, added, 8, window, 4), other])


@pytest.mark.parametrize("middle", ["conv", "relu", "sums"])
@pytest.mark.parametrize(("spatial", "window"), [((9, 11), 3), ((12, 12), 1), ((5, 6, 7), 3)])
def test_values(spatial: tuple[int, ...], window: int, middle: str) -> None:
    """Epilogues, loops, sums and convolutions read the slices right."""
    graph = apart(spatial, window, middle)
    data = random(2, 8, *spatial)
    found = Session(graph, threads=2).run(None, {"x": data})
    for one, other in zip(found, interpret(graph, [data]), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def test_nothing_is_copied() -> None:
    """No step of its own takes the channels apart."""
    graph = apart((16, 16), 1, "relu")
    steps = Session(graph, threads=1).profile({"x": random(2, 8, 16, 16)}).steps
    assert not [info.label for info, _ in steps if info.label.startswith("slice ")]
