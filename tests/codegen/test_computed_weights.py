# SPDX-License-Identifier: MIT
"""Products and convolutions by weights that a run gives or computes, as in training."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ranvier.codegen.targets import parse_target
from ranvier.compiler import build_canonical, run_canonical
from ranvier.ir import Array, Emitter, Graph, TensorType, Value, interpret, ops
from ranvier.ir.gradient import reverse

Shape = tuple[int, ...]


def arrays_of(graph: Graph) -> list[Array]:
    """Return normal numbers for the inputs of a graph."""
    rng = np.random.default_rng(len(graph.nodes))
    types = [v.type for v in graph.inputs]
    return [
        rng.standard_normal(t.dims).astype(np.float32) for t in types if isinstance(t, TensorType)
    ]


def agree(graph: Graph) -> None:
    """Compare compiled code with the interpreter."""
    arrays = arrays_of(graph)
    pairs = zip(run_canonical(graph, arrays), interpret(graph, arrays), strict=True)
    for found, expected in pairs:
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def labels(graph: Graph) -> list[str]:
    """Return what the steps of a compiled graph are, in order."""
    program = build_canonical(graph, parse_target("cpu")).program
    known = {k.name: k.label for k in program.kernels}
    return [known[getattr(s, "kernel", "")] for s in program.steps if hasattr(s, "kernel")]


def conv(rank: int, window: Shape, stride: int = 1, groups: int = 1) -> ops.Conv:
    """Return a convolution that keeps the size, or divides it by the stride."""
    low = tuple(k // 2 for k in window)
    return ops.Conv((stride,) * rank, low, low, (1,) * rank, (1,) * rank, groups)


def with_data_gradient(shape: Shape, weights: Shape, op: ops.Conv) -> Graph:
    """Return a convolution and the gradient of its data; weights are an input."""
    emit = Emitter()
    x = emit.argument(TensorType("float32", shape), "x")
    w = emit.argument(TensorType("float32", weights), "w")
    z = emit(op, x, w)
    nodes = emit.nodes[-1:]
    dz = emit(ops.Relu(), emit.argument(z.type, "dz"))
    [dx] = reverse(emit, nodes, [x], {z: dz})
    assert dx is not None
    return emit.graph("step", [x, w, emit_input(emit, dz)], [z, dx])


def emit_input(emit: Emitter, value: Value) -> Value:
    """Return the argument that ``value`` is computed from."""
    (node,) = (n for n in emit.nodes if value in n.outputs)
    return node.inputs[0]


CASES = {
    "minimal filtering": ((2, 16, 40, 40), (24, 16, 3, 3), conv(2, (3, 3))),
    "minimal filtering at once": ((2, 16, 9, 10), (24, 16, 3, 3), conv(2, (3, 3))),
    "three dimensions": ((1, 16, 5, 6, 7), (16, 16, 3, 3, 3), conv(3, (3, 3, 3))),
    "pointwise": ((2, 8, 9, 10), (24, 8, 1, 1), conv(2, (1, 1))),
    "strided": ((2, 16, 9, 10), (24, 16, 3, 3), conv(2, (3, 3), 2)),
    "from an image": ((2, 3, 12, 13), (16, 3, 7, 7), conv(2, (7, 7), 2)),
    "to an image": ((1, 16, 12, 13), (2, 16, 3, 3), conv(2, (3, 3))),
    "few to few": ((1, 2, 12, 13), (2, 2, 3, 3), conv(2, (3, 3))),
    "depthwise, strided": ((2, 20, 9, 10), (20, 1, 3, 3), conv(2, (3, 3), 2, groups=20)),
    "groups, strided": ((2, 24, 9, 10), (24, 4, 5, 2), conv(2, (5, 2), 2, groups=6)),
    "depthwise": ((2, 16, 9, 10), (16, 1, 3, 3), conv(2, (3, 3), groups=16)),
}
AT_ONCE = ("minimal filtering at once", "three dimensions")


@pytest.mark.parametrize("case", CASES)
def test_convolutions_and_their_data_gradients(case: str) -> None:
    """Both are written by templates that read weights packed before, from where they lie."""
    graph = with_data_gradient(*CASES[case])
    agree(graph)
    found = labels(graph)
    assert sum(" by " in label and "conv" in label for label in found) == 2
    # Filters that meet all data at once are transformed where they are used.
    packed = 0 if case in AT_ONCE else 2
    assert sum(label.startswith("pack ") for label in found) == packed
    assert not any(label.startswith(("transpose", "reverse")) for label in found)


@settings(max_examples=15, deadline=None)
@given(
    channels=st.integers(1, 20),
    outputs=st.integers(1, 40),
    window=st.integers(1, 4),
    stride=st.integers(1, 2),
    size=st.integers(4, 12),
)
def test_convolutions_of_any_size(
    channels: int, outputs: int, window: int, stride: int, size: int
) -> None:
    """Weights with tails in both channels."""
    shape, weights = (2, channels, size, size + 1), (outputs, channels, window, window)
    agree(with_data_gradient(shape, weights, conv(2, (window, window), stride)))


def test_weights_are_packed_once() -> None:
    """Two convolutions of one kind by the same weights share what is packed."""
    emit = Emitter()
    x = emit.argument(TensorType("float32", (1, 16, 8, 8)), "x")
    w = emit.argument(TensorType("float32", (16, 16, 1, 1)), "w")
    y = x
    for _ in range(3):
        y = emit(ops.Relu(), emit(conv(2, (1, 1)), y, w))
    graph = emit.graph("recurrent", [x, w], [y])
    agree(graph)
    assert sum(label.startswith("pack ") for label in labels(graph)) == 1


def test_weights_that_a_kernel_computes() -> None:
    """Weights need not be inputs: here they are normalised first."""
    emit = Emitter()
    x = emit.argument(TensorType("float32", (1, 16, 8, 8)), "x")
    w = emit.argument(TensorType("float32", (24, 16, 3, 3)), "w")
    mean = emit(ops.ReduceMean((1, 2, 3)), w)
    centred = emit(ops.Sub(), w, emit(ops.Reshape((24, 1, 1, 1)), mean))
    y = emit(conv(2, (3, 3)), x, centred)
    agree(emit.graph("standardised", [x, w], [y, centred]))


def test_weights_of_a_loop() -> None:
    """A loop reads weights from outside, turned around, and packs them in its body."""
    shape, weights = (1, 16, 6, 6), (16, 16, 3, 3)
    inner = Emitter()
    state = inner.argument(TensorType("float32", shape), "state")
    w = inner.argument(TensorType("float32", weights), "w")
    turned = inner(ops.Reverse((2, 3)), inner(ops.Transpose((1, 0, 2, 3)), w))
    after = inner(ops.Tanh(), inner(conv(2, (3, 3)), state, turned))
    body = inner.graph("body", [state, w], [after])
    emit = Emitter()
    x = emit.argument(TensorType("float32", shape), "x")
    outer = emit.argument(TensorType("float32", weights), "w")
    y = emit(ops.Scan(body, 3, 1, 0), x, emit(ops.Mul(), outer, emit.scalar_like(0.1, outer)))
    agree(emit.graph("loop", [x, outer], [y]))


def linear(rows: Shape, depth: int, columns: int) -> Graph:
    """Return a linear layer and its gradients; weights are an input."""
    emit = Emitter()
    x = emit.argument(TensorType("float32", (*rows, depth)), "x")
    w = emit.argument(TensorType("float32", (depth, columns)), "w")
    z = emit(ops.MatMul(), x, w)
    nodes = emit.nodes[-1:]
    dz = emit.argument(z.type, "dz")
    gradients = reverse(emit, nodes, [x, w], {z: emit(ops.Relu(), dz)})
    return emit.graph("linear", [x, w, dz], [z, *(g for g in gradients if g is not None)])


@pytest.mark.parametrize("rows", [(16,), (5,), (2, 9), (1, 1, 7)], ids=str)
def test_linear_layers_and_their_gradients(rows: Shape) -> None:
    """Three products, none of whose operands is transposed in memory."""
    graph = linear(rows, 24, 40)
    agree(graph)
    found = labels(graph)
    assert sum(" by " in label and "mat_mul" in label for label in found) == 3
    assert not any("transpose" in label for label in found)


def test_one_row() -> None:
    """A row by a computed matrix, which is packed before."""
    graph = linear((1,), 24, 40)
    agree(graph)
    assert any("by product" in label for label in labels(graph))
