# SPDX-License-Identifier: MIT
"""Samples of fused groups."""

from __future__ import annotations

from arrays import normal
from ranvier.ir import Emitter, Graph, TensorType, ops
from samples import Sample


def _swish(*shape: int) -> Graph:
    emit = Emitter()
    x = emit.argument(TensorType("float32", shape), "a0")
    return emit.graph("kernel", [x], [emit(ops.Mul(), x, emit(ops.Sigmoid(), x))])


def _scaled_sum(*shape: int) -> Graph:
    emit = Emitter()
    x = emit.argument(TensorType("float32", shape), "a0")
    scaled = emit(ops.Mul(), x, emit.constant(0.5, "float32"))
    return emit.graph("kernel", [x], [emit(ops.ReduceSum((1,)), scaled)])


SAMPLES = [
    Sample(ops.Fused(_swish(2, 3), "sigmoid_mul"), (normal(2, 3),), gradient=False),
    Sample(ops.Fused(_scaled_sum(2, 3)), (normal(2, 3),), "constant", gradient=False),
]
