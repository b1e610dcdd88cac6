# SPDX-License-Identifier: MIT
"""Slices move above products: random networks with cuts at their ends keep their values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agreement import assert_agree
from arrays import inputs_for
from ranvier.ir import Emitter, Graph, TensorType, Value, interpret, ops, parse_graph, verify
from ranvier.ir import print_graph as text
from ranvier.passes import push_slices_up, run_passes
from ranvier.passes.parts import part_of, sizes, whole

Draw = Callable[[st.SearchStrategy[Any]], Any]
Step = Callable[["Network"], Value]

CLASSIFIER = """graph @g(%x: float32[1, 8, 4], %w: float32[4, 4], %s: float32[4]) {
  %q: float32[1, 8, 4] = mat_mul(%x, %w)
  %a: float32[1, 8, 4] = add(%x, %q)
  %n: float32[1, 8, 4] = layer_norm(%a, %s, %s) {axis=2}
  %f: float32[1, 8, 4] = mat_mul(%n, %w)
  %g: float32[1, 8, 4] = gelu(%f)
  %h: float32[1, 8, 4] = mat_mul(%g, %w)
  %r: float32[1, 8, 4] = add(%a, %h)
  %y: float32[1, 1, 4] = slice(%r) {starts=(0, 0, 0), stops=(1, 1, 4), steps=(1, 1, 1)}
  return %y
}"""


class Network:
    """A network under construction, of tensors (2, 4 or 6, 6) for the most part."""

    def __init__(self, draw: Draw) -> None:
        self.draw = draw
        self.emit = Emitter()
        self.inputs = [self.emit.argument(TensorType("float32", (2, n, 6))) for n in (4, 6)]
        self.pool = [*self.inputs]

    def value(self) -> Value:
        """Draw a value."""
        value: Value = self.draw(st.sampled_from(self.pool))
        return value

    def like(self, x: Value) -> Value:
        """Draw a value of the type of ``x``."""
        value: Value = self.draw(st.sampled_from([v for v in self.pool if v.type == x.type]))
        return value

    def weight(self, *shape: int) -> Value:
        """Return a parameter of numbers below one."""
        count = int(np.prod(shape))
        return self.emit.constant(np.sin(np.arange(count, dtype=np.float32)).reshape(shape))


def dims(x: Value) -> tuple[int, ...]:
    """Return the sizes of a value."""
    assert isinstance(x.type, TensorType)
    return x.type.dims


def project(net: Network) -> Value:
    """Multiply by weights."""
    x = net.value()
    return net.emit(ops.MatMul(), x, net.weight(6, 6))


def mix(net: Network) -> Value:
    """Multiply by weights from the left: rows depend on all rows, columns do not."""
    x = net.value()
    return net.emit(ops.MatMul(), net.weight(dims(x)[1], dims(x)[1]), x)


def bias(net: Network) -> Value:
    """Add a vector or one number per row."""
    x = net.value()
    shape = net.draw(st.sampled_from(((6,), (dims(x)[1], 1), (1, 1, 1))))
    return net.emit(ops.Add(), net.weight(*shape), x)


def join(net: Network) -> Value:
    """Add two values, or apply a function to one."""
    x = net.value()
    if net.draw(st.booleans()):
        return net.emit(ops.Tanh(), x)
    return net.emit(ops.Add(), x, net.like(x))


def normalise(net: Network) -> Value:
    """Apply a norm or softmax of rows or columns."""
    x = net.value()
    kind = net.draw(st.integers(0, 3))
    if kind < 2:
        return net.emit(ops.Softmax(1 + kind), x)
    if kind == 2:
        return net.emit(ops.LayerNorm(-1), x, net.weight(6), net.weight(6))
    return net.emit(ops.RmsNorm(2), x, net.weight(6))


def heads(net: Network) -> Value:
    """Attend in heads, which reshapes and transposes make, by the op or its decomposition."""
    x = net.value()
    split = [_split(net, v) for v in (x, net.value(), x)]
    causal, offset = net.draw(st.booleans()), net.draw(st.integers(-2, 2))
    if dims(split[1])[2] != dims(split[2])[2] or net.draw(st.booleans()):
        y = net.emit(ops.Attention(causal=causal, offset=offset), split[0], split[1], split[1])
    else:
        turned = net.emit(ops.Transpose((0, 1, 3, 2)), split[1])
        scores = net.emit(ops.Softmax(3), net.emit(ops.MatMul(), split[0], turned))
        y = net.emit(ops.MatMul(), scores, split[2])
    y = net.emit(ops.Transpose((0, 2, 1, 3)), y)
    return net.emit(ops.Reshape(dims(x)), y)


def _split(net: Network, x: Value) -> Value:
    y = net.emit(ops.Reshape((*dims(x)[:2], 2, 3)), x)
    return net.emit(ops.Transpose((0, 2, 1, 3)), y)


def lengthen(net: Network) -> Value:
    """Join halves of two values along the rows."""
    x, y = net.value(), net.value()
    rows = dims(x)[1] // 2
    low = net.emit(ops.Slice((0, 0, 0), (2, rows, 6), (1, 1, 1)), x)
    high = net.emit(ops.Slice((0, dims(y)[1] - rows, 0), (2, dims(y)[1], 6), (1, 1, 1)), y)
    return net.emit(ops.Concat(1), low, high)


def spread(net: Network) -> Value:
    """Repeat the sum of the rows."""
    x = net.value()
    total = net.emit(ops.Reshape((2, 1, 6)), net.emit(ops.ReduceSum((1,)), x))
    return net.emit(ops.BroadcastTo(dims(x)), total)


STEPS: tuple[Step, ...] = (project, project, mix, bias, join, normalise, heads, lengthen, spread)


def cut(net: Network) -> Value:
    """Take some positions of the result of a product, perhaps after reshaping."""
    x = net.value()
    if net.draw(st.booleans()):
        x = net.emit(ops.Reshape((2 * dims(x)[1], 3, 2)), x)
    taken = []
    for n in dims(x):
        first = net.draw(st.integers(0, n - 1))
        last = net.draw(st.integers(first, n - 1))
        step = net.draw(st.sampled_from((1, 1, 2)))
        ranges = ((first, last + 1, step), (last, first - 1, -step), (0, n, 1), (0, n, 1))
        taken.append(net.draw(st.sampled_from(ranges)))
    starts, stops, steps = zip(*taken, strict=True)
    return net.emit(ops.Slice(starts, stops, steps), x)


@st.composite
def networks(draw: Draw) -> Graph:
    """Draw a network all of whose results are cuts."""
    net = Network(draw)
    for _ in range(draw(st.integers(1, 8))):
        net.pool.append(draw(st.sampled_from(STEPS))(net))
    net.pool = net.pool[-2:]
    return net.emit.graph("net", net.inputs, [cut(net) for _ in range(draw(st.integers(1, 2)))])


def work(graph: Graph) -> int:
    """Return the operations of all products."""
    return sum(
        node.op.flops(*(v.type for v in node.inputs))
        for node in graph.nodes
        if isinstance(node.op, ops.MatMul | ops.Attention)
    )


@settings(max_examples=300)
@given(graph=networks())
def test_values_stay_and_work_does_not_grow(graph: Graph) -> None:
    after = verify(push_slices_up(graph), ("ssa", "typed"))
    assert work(after) <= work(graph)
    inputs = inputs_for(graph)
    for actual, expected in zip(interpret(after, inputs), interpret(graph, inputs), strict=True):
        assert_agree(actual, expected, 1e-4, 1e-5)


@settings(max_examples=100)
@given(graph=networks())
def test_twice_is_once(graph: Graph) -> None:
    once = push_slices_up(graph)
    assert text(push_slices_up(once)) == text(once)


def test_classifier_of_one_token_computes_one_token() -> None:
    graph = parse_graph(CLASSIFIER)
    after = run_passes(graph, ("push-slices-up", "canonicalise"))
    assert work(after) * 8 == work(graph)
    assert [node.op.name for node in after.nodes].count("slice") == 1


def test_cuts_of_nothing_stay() -> None:
    graph = parse_graph("""graph @g(%x: float32[4, 2], %w: float32[2, 2]) {
      %p: float32[4, 2] = mat_mul(%x, %w)
      %y: float32[0, 2] = slice(%p) {starts=(2, 0), stops=(2, 2), steps=(1, 1)}
      return %y
    }""")
    assert push_slices_up(graph) is graph


@pytest.mark.parametrize(
    ("before", "after", "box", "expected"),
    [
        ((2, 12), (2, 3, 4), (range(2), range(1, 3), range(4)), (range(2), range(4, 12))),
        ((2, 12), (2, 3, 4), (range(2), range(3), range(1)), None),
        ((6, 4), (2, 12), (range(1, 2), range(4, 12)), (range(4, 6), range(4))),
        ((6, 4), (2, 12), (range(1), range(4, 10)), None),
        ((1, 5), (5, 1, 1), (range(2, 3), range(1), range(1)), (range(1), range(2, 3))),
        ((1, 1), (), (), (range(1), range(1))),
    ],
)
def test_part_of_reshape(before: Any, after: Any, box: Any, expected: Any) -> None:
    emit = Emitter()
    y = emit(ops.Reshape(after), emit.argument(TensorType("float32", before)))
    part = part_of(emit.nodes[0], box)
    assert (part and part.operands) == (expected and (expected,))
    assert part is None or part.op == ops.Reshape(sizes(box))
    assert part_of(emit.nodes[0], whole(y)) is not None
