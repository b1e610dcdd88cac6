# SPDX-License-Identifier: MIT
"""The way back through max pooling against the interpreter: borders, ties, NaN, dilation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ranvier.errors import OpError
from ranvier.ir import Emitter, TensorType, interpret, ops
from template_kernel import TemplateKernel, close

AXIS = st.tuples(
    st.integers(1, 7), st.integers(1, 3), st.integers(1, 3), st.integers(0, 1), st.integers(1, 2)
)


@settings(max_examples=15, deadline=None)
@given(
    st.integers(1, 2),
    st.sampled_from([8, 12, 24, 35]),
    st.lists(AXIS, min_size=1, max_size=3),
    st.booleans(),
    st.integers(1, 3),
)
def test_gradient(
    samples: int, channels: int, axes: list[tuple[int, ...]], nan: bool, threads: int
) -> None:
    """The first of equal maxima gets the cotangent, and the first NaN before all numbers."""
    size, window, strides, pad, dilation = (tuple(a[k] for a in axes) for k in range(5))
    shape = (samples, channels, *size)
    emit = Emitter()
    x = emit.argument(TensorType("float32", shape), "x")
    try:
        (y,) = ops.MaxPool(window, strides, pad, pad, dilation).infer(x.type)
    except OpError:
        assume(False)
    assert isinstance(y, TensorType)
    assume(y.size > 0)
    dy = emit.argument(y, "dy")
    gradient = emit(ops.MaxPoolGradient(window, strides, pad, pad, dilation), x, dy)
    graph = emit.graph("gradient", [x, dy], [gradient])
    rng = np.random.default_rng(0)
    data = rng.integers(0, 4, shape).astype(np.float32)  # many are equal
    if nan:
        data[rng.random(shape) < 0.2] = np.nan
    cotangent = rng.standard_normal(y.dims).astype(np.float32)
    (expected,) = interpret(graph, [data, cotangent])
    kernel = TemplateKernel(graph, "PoolingGradient")
    close(kernel.run([data, cotangent], threads), expected)


def test_large_windows_are_left_to_loops() -> None:
    """Windows of more taps than are worth writing out have no template."""
    emit = Emitter()
    x = emit.argument(TensorType("float32", (1, 8, 12, 12)), "x")
    dy = emit.argument(TensorType("float32", (1, 8, 2, 2)), "dy")
    op = ops.MaxPoolGradient((6, 6), (6, 6), (0, 0), (0, 0), (1, 1))
    graph = emit.graph("gradient", [x, dy], [emit(op, x, dy)])
    with pytest.raises(AssertionError, match="no template"):
        TemplateKernel(graph)
