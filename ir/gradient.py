# SPDX-License-Identifier: MIT
"""Reverse-mode differentiation: accumulates the cotangents that each op's ``vjp`` emits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ..errors import OpError
from .emitter import Emitter
from .graph import Graph, Node, Value
from .op import Cotangents
from .types import FLOATS, TensorType


def reverse(
    emit: Emitter,
    nodes: Sequence[Node],
    wrt: Iterable[Value],
    seeds: Mapping[Value, Value],
) -> Cotangents:
    """Emit the cotangents of ``wrt`` given those of some results of ``nodes``.

    Only nodes on a path from ``wrt`` to a seeded value are asked for their ``vjp``, so an op
    without a gradient is harmless where no gradient flows.

    Args:
        emit: the emitter that holds (or will be joined with) ``nodes``.
        nodes: the forward computation in topological order.
        wrt: values to differentiate by; those that are not floating point get ``None``.
        seeds: cotangents of values that ``nodes`` define or read.

    Returns:
        One cotangent per value of ``wrt``, ``None`` where it does not influence a seed.

    Raises:
        OpError: an op on the way has no gradient; the message names op and model node.

    References:
        Griewank and Walther, Evaluating Derivatives, SIAM 2008, chapter 3.
    """
    wrt = tuple(wrt)
    active = _dependents(nodes, wrt)
    totals = {v: c for v, c in seeds.items() if v in active}
    for node in reversed(nodes):
        cotangents = tuple(totals.get(v) for v in node.outputs)
        if all(c is None for c in cotangents) or not active.intersection(node.inputs):
            continue
        with emit.source(node.source):
            partials = _partials(emit, node, cotangents)
            for value, partial in zip(node.inputs, partials, strict=True):
                if partial is not None and value in active:
                    totals[value] = accumulate(emit, totals.get(value), partial)
    return tuple(totals.get(v) for v in wrt)


def pullback(
    emit: Emitter, graph: Graph, arguments: Sequence[Value], cotangents: Cotangents
) -> Cotangents:
    """Emit ``graph`` applied to ``arguments`` and return the arguments' cotangents.

    An argument that is passed twice gets its whole cotangent at its first position.
    """
    start = len(emit.nodes)
    results = emit.inline(graph, arguments)
    nodes = emit.nodes[start:]
    seeds: dict[Value, Value] = {}
    for value, cotangent in zip(results, cotangents, strict=True):
        if cotangent is not None:
            seeds[value] = accumulate(emit, seeds.get(value), cotangent)
    distinct = tuple(dict.fromkeys(arguments))
    found = dict(zip(distinct, reverse(emit, nodes, distinct, seeds), strict=True))
    return tuple(found.pop(v, None) for v in arguments)


def differentiate(graph: Graph) -> Graph:
    """Return the graph of all vector-Jacobian products of ``graph``.

    Its inputs are those of ``graph`` followed by one cotangent per floating point output;
    its outputs are the cotangents of the floating point inputs, zeros where there is none.

    >>> from ranvier.ir import ops, print_graph
    >>> emit = Emitter()
    >>> x = emit.argument(TensorType("float32", (2,)), "x")
    >>> y = emit(ops.Mul(), x, x)
    >>> print(print_graph(differentiate(emit.graph("square", [x], [y]))))
    graph @square_vjp(%x: float32[2], %d0: float32[2]) {
      %v0: float32[2] = mul(%x, %x)
      %v1: float32[2] = mul(%d0, %x)
      %v2: float32[2] = mul(%d0, %x)
      %v3: float32[2] = add(%v1, %v2)
      return %v3
    }
    <BLANKLINE>
    """
    emit = Emitter()
    inputs = tuple(emit.argument(v.type, v.name) for v in graph.inputs)
    seeds = tuple(
        emit.argument(v.type, emit.fresh("d")) if is_float(v) else None for v in graph.outputs
    )
    found = pullback(emit, graph, inputs, seeds)
    outputs = [
        zeros_like(emit, v) if c is None else c
        for v, c in zip(inputs, found, strict=True)
        if is_float(v)
    ]
    arguments = [*inputs, *(s for s in seeds if s is not None)]
    return emit.graph(f"{graph.name}_vjp", arguments, outputs)


def accumulate(emit: Emitter, total: Value | None, partial: Value) -> Value:
    """Return ``total + partial``, where no total yet counts as zero."""
    from .ops.arithmetic import Add

    return partial if total is None else emit(Add(), total, partial)


def is_float(value: Value) -> bool:
    """Whether ``value`` is a floating point tensor, the only kind that carries a gradient."""
    return isinstance(value.type, TensorType) and value.type.dtype in FLOATS


def zeros_like(emit: Emitter, value: Value) -> Value:
    """Emit zeros of the type of ``value``."""
    from .ops.shape import BroadcastTo

    assert isinstance(value.type, TensorType)
    return emit(BroadcastTo(value.type.dims), emit.scalar_like(0.0, value))


def _dependents(nodes: Iterable[Node], wrt: Iterable[Value]) -> set[Value]:
    """Floating point values that depend on ``wrt``, these included."""
    found = {v for v in wrt if is_float(v)}
    for node in nodes:
        if found.intersection(node.inputs):
            found.update(v for v in node.outputs if is_float(v))
    return found


def _partials(emit: Emitter, node: Node, cotangents: Cotangents) -> Cotangents:
    try:
        return node.op.vjp(emit, node.inputs, node.outputs, cotangents)
    except OpError as error:
        where = f" (node '{node.source}')" if node.source else ""
        raise OpError(f"{error}{where}") from error
