# SPDX-License-Identifier: MIT
"""Gradients of softmax and layer norm along rows: one kernel, whatever the length."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from precision import in_float64
from ranvier.ir import Emitter, Graph, TensorType, interpret, ops
from template_kernel import TemplateKernel, close


def gradient_graph(norm: bool, rows: int, length: int) -> Graph:
    """Return the graph of one gradient over rows."""
    emit = Emitter()
    x, dy = (emit.argument(TensorType("float32", (2, rows, length)), name) for name in ("x", "dy"))
    if not norm:
        return emit.graph("softmax", [x, dy], [emit(ops.SoftmaxGradient(2), x, dy)])
    scale = emit.argument(TensorType("float32", (length,)), "scale")
    y = emit(ops.LayerNormGradient(-1, 1e-5), x, scale, dy)
    return emit.graph("norm", [x, scale, dy], [y])


@pytest.mark.parametrize("norm", [False, True])
@settings(max_examples=8, deadline=None)
@given(rows=st.integers(1, 9), length=st.integers(8, 300), threads=st.integers(1, 3))
def test_gradients(norm: bool, rows: int, length: int, threads: int) -> None:
    """They are those of the interpreter in float64, with tails and on any number of threads."""
    graph = gradient_graph(norm, rows, length)
    rng = np.random.default_rng(length)
    arrays = [rng.standard_normal(v.type.dims).astype(np.float32) for v in graph.inputs]  # type: ignore[union-attr]
    (expected,) = interpret(in_float64(graph), [a.astype(np.float64) for a in arrays])
    close(TemplateKernel(graph, "RowKernel").run(arrays, threads), expected, 1e-5)
