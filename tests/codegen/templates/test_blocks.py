# SPDX-License-Identifier: MIT
"""Ops over blocks: one kernel each, for any vectors and threads, in place of their operands."""

from __future__ import annotations

import numpy as np
import pytest

from ranvier.codegen.targets import parse_target
from ranvier.codegen.unit import VectorUnit
from ranvier.compiler import build_canonical
from ranvier.errors import OpError
from ranvier.ir import Array, Graph, TensorType, interpret, ops
from ranvier.ir.emitter import Emitter
from ranvier.runtime import aligned_empty
from ranvier.runtime.executor import Executor
from ranvier.runtime.team import Workers
from samples.optimizer import SAMPLES, operands
from template_kernel import UNITS, check_kernel

STEPS = [s.op for s in SAMPLES if isinstance(s.op, ops.BlockOp)]


def graph_of(op: ops.BlockOp, blocks: int, size: int) -> Graph:
    """Return a graph that is ``op`` alone."""
    emit = Emitter()
    inputs = [
        emit.argument(TensorType(o.dtype or "float32", (blocks, size)[: o.axes]), o.name)
        for o in op.operands()
    ]
    outputs = emit.multi(op, *inputs, names=tuple(f"new_{name}" for name in op.results()))
    return emit.graph("step", inputs, outputs)


def aligned(array: Array) -> Array:
    """Return a copy that can be bound."""
    copy = aligned_empty(array.shape, array.dtype)
    copy[...] = array
    return copy


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("op", STEPS, ids=str)
def test_results_in_the_memory_of_operands(op: ops.BlockOp, threads: int) -> None:
    """A run in place gives the bits of a run into memory of its own, on any number of threads."""
    blocks, size = 34, 1024  # enough for several threads
    graph = graph_of(op, blocks, size)
    built = build_canonical(graph, parse_target("cpu"))
    assert [i.label.split(" by ")[1][:6] for i in built.program.kernels] == ["blocks"]
    executor = Executor(built.program, built.library, built.weights, Workers(threads))
    given = operands(op, blocks, size)
    apart = executor.run(given)
    arrays = {o.name: aligned(a) for o, a in zip(op.operands(), given, strict=True)}
    sums = aligned_empty((blocks,), np.float64)
    results = [arrays.get(name, sums.copy()) for name in op.results()]
    results = [aligned(r) if r.dtype == np.float64 else r for r in results]
    executor.bind(list(arrays.values()), results)()
    for found, expected in zip(results, apart, strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("unit", UNITS, ids=lambda u: f"{u.lanes}-lanes")
def test_vectors(unit: VectorUnit) -> None:
    """Vectors of every width give what the interpreter gives."""
    graph = graph_of(ops.Blend(), 3, 32)
    assert check_kernel(graph, list(operands(ops.Blend(), 3, 32)), unit).startswith("blocks")


def test_parts_of_an_arena() -> None:
    """An update of two parts is the update of the whole."""
    op = ops.AdamStep(decoupled=True)
    whole = operands(op, 4, 16)
    (expected, *_) = interpret(graph_of(op, 4, 16), whole)
    parts = []
    for half in (slice(0, 2), slice(2, 4)):
        given = [a[half] if o.axes else a for o, a in zip(op.operands(), whole, strict=True)]
        parts.append(interpret(graph_of(op, 2, 16), given)[0])
    np.testing.assert_array_equal(np.concatenate(parts), expected)


def test_operands_are_checked() -> None:
    """The message says which operand is wrong, what it must be and what it is."""
    op = ops.Blend()
    types = [TensorType("float32", ()), TensorType("float32", ())]
    blocks = TensorType("float32", (2, 4))
    with pytest.raises(OpError, match=r"blend: operand 'x' must be float32\[2, 4\], found"):
        op.infer(*types, blocks, TensorType("float32", (2, 3)))
    with pytest.raises(OpError, match=r"blend: operand 'y' must be float32 or float64"):
        op.infer(*types, TensorType("float32", (4,)), blocks)
