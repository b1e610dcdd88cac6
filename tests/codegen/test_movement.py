# SPDX-License-Identifier: MIT
"""Results that lie in their operand's memory hold the elements that NumPy gives."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ranvier.codegen.assemble import assemble
from ranvier.codegen.movement import regrouped, seen
from ranvier.codegen.targets import parse_target
from ranvier.codegen.views import View, row_major
from ranvier.compiler import arena_plan, run_canonical, target_ready
from ranvier.ir import Array, Emitter, Graph, Node, TensorType, Value, interpret, ops
from ranvier.ir.ops.fused import Fused


def random(*shape: int, seed: int = 0) -> Array:
    """Return normal float32 numbers."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def elements(view: View, first: int, memory: Array) -> Array:
    """Return the tensor that lies in ``memory`` like ``view``."""
    steps = tuple(s * memory.itemsize for s in view.strides)
    found: Array = np.lib.stride_tricks.as_strided(memory[first:], view.shape, steps)
    return found


def kernel(graph: Graph) -> Node:
    """Return a graph as one kernel."""
    return Node(Fused(graph, "movement"), graph.inputs, graph.outputs)


def dims(value: Value) -> tuple[int, ...]:
    """Return the shape of a tensor."""
    assert isinstance(value.type, TensorType)
    return value.type.dims


@given(st.data())
def test_chains_of_movements(data: st.DataObject) -> None:
    """A slice, a turn, a transposition and a reshape, where strides can express it."""
    shape = tuple(data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=4)))
    emit = Emitter()
    x = emit.argument(TensorType("float32", shape), "x")
    starts = tuple(data.draw(st.integers(0, n - 1)) for n in shape)
    steps = tuple(data.draw(st.integers(1, 2)) for _ in shape)
    y = emit(ops.Slice(starts, shape, steps), x)
    turned = data.draw(st.sets(st.integers(0, len(shape) - 1), min_size=1))
    y = emit(ops.Reverse(tuple(sorted(turned))), y)
    y = emit(ops.Transpose(tuple(data.draw(st.permutations(range(len(shape)))))), y)
    y = emit(ops.Reshape((math.prod(dims(y)[:2]), *dims(y)[2:], 1)), y)
    graph = emit.graph("movement", [x], [y])
    found = seen(kernel(graph), row_major(shape))
    array = np.arange(math.prod(shape), dtype=np.float32)
    [expected] = interpret(graph, [array.reshape(shape)])
    if found is not None:
        np.testing.assert_array_equal(elements(found[1], found[0], array), expected)


@given(st.permutations(range(3)), st.sampled_from([(24,), (2, 12), (6, 4), (4, 1, 6), (3, 8)]))
def test_regrouped(order: list[int], shape: tuple[int, ...]) -> None:
    """Axes are joined where NumPy joins them without a copy, and only there."""
    array = np.arange(24, dtype=np.float32).reshape(2, 3, 4).transpose(order)
    view = View(array.shape, tuple(s // 4 for s in array.strides))
    found = regrouped(view, shape)
    assert (found is not None) == np.shares_memory(array.reshape(shape), array)
    if found is not None:
        memory = np.arange(24, dtype=np.float32)
        np.testing.assert_array_equal(elements(found, 0, memory), array.reshape(shape))


def test_computing_kernels_move_nothing() -> None:
    """A kernel that computes has memory of its own."""
    emit = Emitter()
    x = emit.argument(TensorType("float32", (2, 3)), "x")
    y = emit(ops.Neg(), emit(ops.Transpose((1, 0)), x))
    assert seen(kernel(emit.graph("g", [x], [y])), row_major((2, 3))) is None


def attention(batch: int, queries: int, heads: int, size: int) -> Graph:
    """Return attention of projected rows, as exporters write it, and its keys read once more."""
    emit = Emitter()
    width = heads * size
    x = emit.argument(TensorType("float32", (batch, queries, width)), "x")
    weights = random(width, 3 * width, seed=1) / math.sqrt(width)
    rows = emit(ops.MatMul(), x, emit.constant(weights.astype(np.float32)))
    rows = emit(ops.Reshape((batch, queries, 3, heads, size)), rows)
    parts = []
    for n in range(3):
        low, high = (0, 0, n, 0, 0), (batch, queries, n + 1, heads, size)
        part = emit(ops.Transpose((2, 0, 3, 1, 4)), emit(ops.Slice(low, high, (1,) * 5), rows))
        parts.append(emit(ops.Reshape((batch, heads, queries, size)), part))
    q, k, v = parts
    scores = emit(ops.MatMul(), q, emit(ops.Transpose((0, 1, 3, 2)), k))
    y = emit(ops.MatMul(), emit(ops.Softmax(3), scores), v)
    y = emit(ops.Reshape((batch, queries, width)), emit(ops.Transpose((0, 2, 1, 3)), y))
    return emit.graph("attention", [x], [y])


@settings(max_examples=6, deadline=None)
@given(st.integers(1, 2), st.integers(8, 30), st.integers(1, 3), st.integers(8, 20))
def test_attention(batch: int, queries: int, heads: int, size: int) -> None:
    """Products read queries, keys and values where the projection left them."""
    graph = attention(batch, queries, heads, size)
    x = random(batch, queries, heads * size)
    [found], [expected] = run_canonical(graph, [x]), interpret(graph, [x])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_moved_operands_take_no_step() -> None:
    """Slices and transpositions before products are no steps of the program."""
    target = parse_target("cpu")
    ready = target_ready(attention(1, 20, 2, 16), target)
    program = assemble(ready, target, arena_plan).program
    moved = [n for n in ready.nodes if isinstance(n.op, Fused) and seen(n, _view(n)) is not None]
    assert len(moved) >= 3
    assert len(program.steps) <= len(ready.nodes) - 3


def _view(node: Node) -> View:
    return row_major(dims(node.inputs[0]))


@pytest.mark.parametrize("rows", [0, 8])
def test_an_input_is_read_transposed(rows: int) -> None:
    """Inputs lie as the runtime has them; a product reads them so, empty ones are no trouble."""
    emit = Emitter()
    x = emit.argument(TensorType("float32", (16, rows)), "x")
    y = emit.argument(TensorType("float32", (24, 16)), "y")
    moved = emit(ops.Reverse((0,)), emit(ops.Transpose((1, 0)), x))
    z = emit(ops.MatMul(), emit(ops.Reshape((rows, 16)), moved), emit(ops.Transpose((1, 0)), y))
    graph = emit.graph("gram", [x, y], [z])
    arrays = [random(16, rows), random(24, 16)]
    [found], [expected] = run_canonical(graph, arrays), interpret(graph, arrays)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    ready = target_ready(graph, parse_target("cpu"))
    assert len(assemble(ready, parse_target("cpu"), arena_plan).program.steps) == 1
