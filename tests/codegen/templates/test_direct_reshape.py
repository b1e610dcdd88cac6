# SPDX-License-Identifier: MIT
"""A convolution whose result is reshaped, as where a vision transformer cuts patches."""

from __future__ import annotations

import numpy as np

from ranvier.ir import Emitter, TensorType, ops
from ranvier.ir.interpreter import interpret
from template_kernel import TemplateKernel, close


def test_reshaped_result() -> None:
    """The result lies in the order of its own axes, not of the convolution's."""
    emit = Emitter()
    numbers = np.random.default_rng(0)
    x = emit.argument(TensorType("float32", (2, 3, 8, 8)), "x")
    weights = emit.constant(numbers.standard_normal((12, 3, 4, 4)).astype(np.float32))
    y = emit(ops.Conv((4, 4), (0, 0), (0, 0), (1, 1), (1, 1)), x, weights)
    graph = emit.graph("patches", [x], [emit(ops.Reshape((2, 12, 4)), y)])
    data = numbers.standard_normal((2, 3, 8, 8)).astype(np.float32)
    found = TemplateKernel(graph, "DirectConvolution").run([data], 2)
    close(found, interpret(graph, [data])[0])
