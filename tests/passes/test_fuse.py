# SPDX-License-Identifier: MIT
"""What fusion promises: one anchor a group, nothing computed twice, equal kernels equal."""

from __future__ import annotations

from collections import Counter

from hypothesis import given

from random_graphs import graphs
from ranvier.ir import Emitter, Graph, Kind, Node, Op, TensorType, Type, Value, ops
from ranvier.passes import fuse
from ranvier.passes.fuse import MAX_NODES, MAX_OPERANDS, is_runnable


def groups(graph: Graph) -> list[Graph]:
    """Return the bodies of the fused nodes at the top level."""
    return [n.op.body for n in graph.nodes if isinstance(n.op, ops.Fused)]


def labels(graph: Graph) -> list[str]:
    """Return what each node of a fused graph is."""
    return [n.op.label if isinstance(n.op, ops.Fused) else n.op.name for n in graph.nodes]


def argument(emit: Emitter, *shape: int, dtype: str = "float32") -> Value:
    """Return a graph input."""
    return emit.argument(TensorType(dtype, shape))


@given(graphs())
def test_every_node_ends_in_a_group(graph: Graph) -> None:
    for node in fuse(graph).nodes:
        assert ops.is_compiled(node)
        assert isinstance(node.op, ops.Fused) or node.op.kind is Kind.CONTROL


@given(graphs())
def test_groups_have_one_anchor_and_one_result(graph: Graph) -> None:
    for body in groups(fuse(graph)):
        assert sum(n.op.kind is Kind.REDUCTION for n in body.nodes) <= 1
        assert len(body.outputs) == 1
        assert body.outputs[0] == body.nodes[-1].output


@given(graphs())
def test_nothing_but_free_ops_is_in_two_groups(graph: Graph) -> None:
    free = (ops.BroadcastTo, ops.Iota)
    before = Counter(type(n.op) for n in graph.nodes)
    after = Counter(type(n.op) for body in groups(fuse(graph)) for n in body.nodes)
    assert all(after[op] <= before[op] for op in after if op not in free)


@given(graphs())
def test_bodies_are_closed_and_constants_small(graph: Graph) -> None:
    for body in groups(fuse(graph)):
        assert len(body.nodes) <= MAX_NODES
        assert len(body.inputs) <= MAX_OPERANDS
        assert all(array.size == 1 for array in body.parameters.values())
        names = [v.name for v in body.inputs]
        assert names == [f"a{k}" for k in range(len(names))]


def test_equal_groups_have_equal_bodies() -> None:
    """Two layers, written down in another order, are one kernel."""
    emit = Emitter()
    x, y = argument(emit, 4, 8), argument(emit, 8)
    a = emit(ops.Exp(), x)
    b = emit(ops.Neg(), y)
    first = emit(ops.Reshape((4, 8)), emit(ops.Add(), a, b))
    d = emit(ops.Neg(), emit.constant([1.0] * 8, "float32"))
    c = emit(ops.Exp(), first)
    second = emit(ops.Reshape((4, 8)), emit(ops.Add(), c, d))
    fused = fuse(emit.graph("g", [x, y], [first, second]))
    assert labels(fused) == ["neg", "exp_add_reshape", "neg", "exp_add_reshape"]
    bodies = groups(fused)
    assert bodies[0] == bodies[2]
    assert bodies[1] == bodies[3]


def test_long_chains_are_cut() -> None:
    emit = Emitter()
    x = argument(emit, 8)
    y = x
    for _ in range(3 * MAX_NODES):
        y = emit(ops.Neg(), y)
    assert [len(b.nodes) for b in groups(fuse(emit.graph("g", [x], [y])))] == [MAX_NODES] * 3


def test_many_operands_are_split() -> None:
    emit = Emitter()
    inputs = [argument(emit, 8) for _ in range(MAX_OPERANDS + 10)]
    total = inputs[0]
    for x in inputs[1:]:
        total = emit(ops.Add(), total, x)
    fused = fuse(emit.graph("g", inputs, [total]))
    assert all(len(b.inputs) <= MAX_OPERANDS for b in groups(fused))
    assert len(fused.nodes) == 2


def test_inline_constants_do_not_count_as_operands() -> None:
    emit = Emitter()
    x = argument(emit, 8)
    y = x
    for k in range(MAX_OPERANDS + 4):
        y = emit(ops.Add(), y, emit.constant(float(k), "float32"))
    (body,) = groups(fuse(emit.graph("g", [x], [y])))
    assert len(body.inputs) == 1


def test_deep_diamonds_stay_one_group() -> None:
    """Each step reads the last twice: what is shared is stated once, not 2**20 times."""
    emit = Emitter()
    x = argument(emit, 8)
    y = x
    for _ in range(20):
        y = emit(ops.Mul(), y, emit(ops.Sigmoid(), y))
    (body,) = groups(fuse(emit.graph("g", [x], [y])))
    assert len(body.nodes) == 40


def test_a_residual_takes_the_later_anchor() -> None:
    emit = Emitter()
    x, w = argument(emit, 1, 2, 8), argument(emit, 2, 2, 1)
    conv = ops.Conv((1,), (0,), (0,), (1,), (1,))
    first = emit(ops.Relu(), emit(conv, x, w))
    second = emit(conv, first, w)
    y = emit(ops.Relu(), emit(ops.Add(), first, second))
    assert labels(fuse(emit.graph("g", [x, w], [y]))) == ["conv_relu", "conv_add_relu"]


def test_a_small_anchor_is_not_recomputed() -> None:
    """The mean of each row, subtracted from its elements, is computed before."""
    emit = Emitter()
    x = argument(emit, 4, 8)
    mean = emit(ops.Reshape((4, 1)), emit(ops.ReduceMean((1,)), x))
    y = emit(ops.Sub(), x, mean)
    assert labels(fuse(emit.graph("g", [x], [y]))) == ["reduce_mean_reshape", "sub"]


def test_order_of_unit_axes_does_not_hide_an_anchor() -> None:
    emit = Emitter()
    x, w = argument(emit, 4, 8), argument(emit, 8, 6)
    y = emit(ops.Reshape((1, 4, 6)), emit(ops.MatMul(), x, w))
    y = emit(ops.Neg(), emit(ops.Transpose((1, 0, 2)), y))
    assert labels(fuse(emit.graph("g", [x, w], [y]))) == ["mat_mul_reshape_transpose_neg"]


def test_rows_read_in_another_order_are_materialised() -> None:
    emit = Emitter()
    x, w = argument(emit, 4, 8), argument(emit, 8, 6)
    y = emit(ops.Neg(), emit(ops.Transpose((1, 0)), emit(ops.MatMul(), x, w)))
    assert labels(fuse(emit.graph("g", [x, w], [y]))) == ["mat_mul", "transpose_neg"]


def test_an_output_that_is_read_inside_is_its_own_kernel() -> None:
    emit = Emitter()
    x = argument(emit, 8)
    a = emit(ops.Exp(), x)
    y = emit(ops.Neg(), a)
    assert labels(fuse(emit.graph("g", [x], [a, y]))) == ["exp", "neg"]


def test_unsupported_ops_stay_out() -> None:
    def supports(op: Op, types: tuple[Type, ...]) -> bool:
        return not isinstance(op, ops.Erf)

    emit = Emitter()
    x = argument(emit, 8)
    y = emit(ops.Neg(), emit(ops.Erf(), emit(ops.Exp(), x)))
    fused = fuse(emit.graph("g", [x], [y]), supports=supports)
    assert labels(fused) == ["exp", "erf", "neg"]
    assert [ops.is_compiled(n) for n in fused.nodes] == [True, False, True]


def scan_of(op: Op) -> Graph:
    """Return a graph with a loop whose body is ``op``."""
    inner = Emitter()
    state = argument(inner, 2)
    body = inner.graph("body", [state], [inner(op, state)])
    emit = Emitter()
    x = argument(emit, 2)
    return emit.graph("g", [x], [emit(ops.Scan(body, 3, 1, 0), x)])


def test_a_loop_with_an_unsupported_op_runs_on_the_host_as_a_whole() -> None:
    def supports(op: Op, types: tuple[Type, ...]) -> bool:
        return not isinstance(op, ops.Erf)

    graph = scan_of(ops.Erf())
    assert fuse(graph, supports=supports) is graph
    assert not is_runnable(graph.nodes[0], supports)
    assert not ops.is_compiled(graph.nodes[0])
    assert ops.is_compiled(fuse(scan_of(ops.Exp()), supports=supports).nodes[0])


def test_values_without_sizes_are_not_compiled() -> None:
    emit = Emitter()
    x = argument(emit, 8)
    at = emit(ops.NonZero(), x)
    y = emit(ops.Neg(), at)
    assert labels(fuse(emit.graph("g", [x], [y]))) == ["nonzero", "neg"]


def test_sources_stay_in_the_body() -> None:
    emit = Emitter()
    x = argument(emit, 8)
    with emit.source("layer1"):
        a = emit(ops.Exp(), x)
    with emit.source("layer2"):
        y = emit(ops.Neg(), a)
    (node,) = fuse(emit.graph("g", [x], [y])).nodes
    assert node.source == "layer2"
    assert [n.source for n in body_nodes(node)] == ["layer1", "layer2"]


def body_nodes(node: Node) -> tuple[Node, ...]:
    """Return the nodes of a fused node's body."""
    assert isinstance(node.op, ops.Fused)
    return node.op.body.nodes


def test_an_epilogue_stays_with_its_anchor() -> None:
    """A pooling or concatenation that could take it reads the finished result."""
    emit = Emitter()
    x, w, b = argument(emit, 4, 8), argument(emit, 8, 6), argument(emit, 6)
    y = emit(ops.Relu(), emit(ops.Add(), emit(ops.MatMul(), x, w), b))
    total = emit(ops.ReduceSum((1,)), emit(ops.Neg(), y))
    assert labels(fuse(emit.graph("g", [x, w, b], [total]))) == [
        "mat_mul_add_relu_neg",
        "reduce_sum",
    ]
