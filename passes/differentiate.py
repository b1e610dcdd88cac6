# SPDX-License-Identifier: MIT
"""Adds the gradients of a scalar: one more output per parameter that it is differentiated by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from ..errors import PassError
from ..ir import Emitter, Graph, Node, TensorType, Value, type_of
from ..ir.gradient import is_float, reverse, zeros_like
from .registry import graph_pass

GRADIENT = "gradient."
"""What the name of a gradient starts with; the name of the value differentiated by follows."""


@graph_pass("differentiate")
def differentiate(graph: Graph, *, loss: str = "", wrt: tuple[str, ...] = ()) -> Graph:
    """Append the gradients of a scalar output to the outputs.

    The gradient for ``w`` is the output ``gradient.w``, of the type of ``w``; it is zeros where
    the scalar does not depend on ``w``. What the gradients need of the forward computation is
    kept by being read later: no op runs twice.

    Args:
        graph: computes the scalar.
        loss: name of the scalar, by default the first output.
        wrt: inputs and parameters to differentiate by, by default all float parameters.

    Raises:
        PassError: there is no such output or value, or the output is no scalar of floats.
        OpError: an op on the way has no gradient; the message names op and model node.

    References:
        Griewank and Walther, Evaluating Derivatives, SIAM 2008, chapter 3.
    """
    scalar = _scalar(graph, loss)
    values = _values(graph)
    names = wrt or tuple(k for k in graph.parameters if is_float(values[k]))
    chosen = [_differentiable(values, name) for name in names]
    emit = Emitter.continuing(graph)
    emit.nodes.extend(graph.nodes)
    found = reverse(emit, graph.nodes, chosen, {scalar: emit.scalar_like(1, scalar)})
    gradients = [
        zeros_like(emit, v) if c is None else c for v, c in zip(chosen, found, strict=True)
    ]
    outputs = (*graph.outputs, *gradients)
    joint = emit.graph(graph.name, graph.inputs, outputs, graph.parameters)
    return _named(joint, len(graph.outputs), [GRADIENT + name for name in names])


def parameters_as_inputs(graph: Graph, names: Iterable[str]) -> Graph:
    """Return the graph with these parameters among its inputs, after those it has.

    Raises:
        PassError: there is no such parameter.
    """
    added: list[Value] = []
    for name in names:
        if name not in graph.parameters:
            raise PassError(f"graph '{graph.name}' has no parameter '{name}'")
        added.append(Value(name, type_of(graph.parameters[name])))
    kept = {k: a for k, a in graph.parameters.items() if k not in {v.name for v in added}}
    return replace(graph, inputs=(*graph.inputs, *added), parameters=kept)


def _values(graph: Graph) -> Mapping[str, Value]:
    """What a graph can be differentiated by."""
    values = {name: Value(name, type_of(array)) for name, array in graph.parameters.items()}
    return {**values, **{v.name: v for v in graph.inputs}}


def _scalar(graph: Graph, name: str) -> Value:
    by_name = {v.name: v for v in graph.outputs}
    if not name and graph.outputs:
        name = graph.outputs[0].name
    if name not in by_name:
        raise PassError(
            f"differentiate: graph '{graph.name}' has no output '{name}'; it has: "
            f"{', '.join(by_name) or 'none'}"
        )
    value = by_name[name]
    if not is_float(value) or not isinstance(value.type, TensorType) or value.type.dims:
        raise PassError(
            f"differentiate: '{name}' is {value.type}, expected a float of shape []; reduce it "
            "to a sum or a mean first"
        )
    return value


def _differentiable(values: Mapping[str, Value], name: str) -> Value:
    if name not in values:
        raise PassError(f"differentiate: no input or parameter '{name}'")
    if not is_float(values[name]):
        raise PassError(
            f"differentiate: '{name}' is {values[name].type}; only floats have gradients"
        )
    return values[name]


def _named(graph: Graph, first: int, names: list[str]) -> Graph:
    """Give the outputs from ``first`` on their names; one that has a name already is copied."""
    from ..ir.ops import Reshape

    producers = graph.producers()
    renamed: dict[Value, Value] = {}
    copies: list[Node] = []
    outputs = list(graph.outputs[:first])
    for value, name in zip(graph.outputs[first:], names, strict=True):
        named = Value(name, value.type)
        if value in producers and value not in renamed and value not in outputs:
            renamed[value] = named
        else:
            assert isinstance(value.type, TensorType)
            source = renamed.get(value, value)
            copies.append(Node(Reshape(value.type.dims), (source,), (named,)))
        outputs.append(named)
    nodes = [_with_names(node, renamed) for node in graph.nodes]
    return replace(graph, nodes=(*nodes, *copies), outputs=tuple(outputs))


def _with_names(node: Node, names: Mapping[Value, Value]) -> Node:
    if not any(v in names for v in (*node.inputs, *node.outputs)):
        return node
    return replace(
        node,
        inputs=tuple(names.get(v, v) for v in node.inputs),
        outputs=tuple(names.get(v, v) for v in node.outputs),
    )
