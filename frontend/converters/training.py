# SPDX-License-Identifier: MIT
"""Operators of ai.onnx.preview.training: optimizer steps and gradients of named values."""

from __future__ import annotations

from collections.abc import Sequence

from ...ir import Graph, Value, ops
from ...ir.gradient import pullback, zeros_like
from ...ir.ops.elementwise import result_type
from ...ir.ops.shape import filled
from ...ir.ops.training import Update
from ..convert import Conversion, converter

DOMAIN = "ai.onnx.preview.training"


@converter("Adam", domain=DOMAIN)
def adam(c: Conversion) -> list[Value]:
    """Emit one step for each parameter."""
    op = ops.Adam(
        c.attr("alpha", 0.9),
        c.attr("beta", 0.999),
        c.attr("epsilon", 1e-6),
        c.attr("norm_coefficient", 0.0),
        c.attr("norm_coefficient_post", 0.0),
    )
    return _updates(c, op)


@converter("Adagrad", domain=DOMAIN)
def adagrad(c: Conversion) -> list[Value]:
    """Emit one step for each parameter."""
    op = ops.Adagrad(
        c.attr("decay_factor", 0.0), c.attr("epsilon", 1e-6), c.attr("norm_coefficient", 0.0)
    )
    return _updates(c, op)


@converter("Momentum", domain=DOMAIN)
def momentum(c: Conversion) -> list[Value]:
    """Emit one step for each parameter."""
    mode = c.attr("mode")
    if mode not in ("standard", "nesterov"):
        raise c.error(f"mode must be standard or nesterov, found {mode!r}")
    op = ops.Momentum(
        c.attr("alpha"), c.attr("beta"), c.attr("norm_coefficient"), mode == "nesterov"
    )
    return _updates(c, op)


def _updates(c: Conversion, op: Update) -> list[Value]:
    """Apply ``op`` to each parameter; operands and results are grouped by kind."""
    rate, count, *tensors = c.operands
    rate, count = (c.emit(ops.Reshape(()), v) for v in (rate, count))
    kinds = 2 + op.states
    if not tensors or len(tensors) % kinds:
        raise c.error(f"{len(tensors)} tensors are not {kinds} for each parameter")
    number = len(tensors) // kinds
    results = [c.emit.multi(op, rate, count, *tensors[k::number]) for k in range(number)]
    return [r[kind] for kind in range(1 + op.states) for r in results]


@converter("Gradient", domain=DOMAIN)
def gradient(c: Conversion) -> list[Value]:
    """Differentiate the part of the graph between the values named in xs, zs and y."""
    named = _named(c)
    xs, y = [named[n] for n in c.attr("xs")], named[c.attr("y")]
    leaves = [*xs, *(named[n] for n in c.attr("zs") or ())]
    constant = [v.name for v in xs if c.emit.known(v) is not None]
    if constant:
        raise c.unsupported(
            f"gradient by the constant '{constant[0]}', uses of which are folded; make it an input"
        )
    if len(c.entries) != len(leaves):
        raise c.error(f"{len(c.entries)} operands for {len(leaves)} names in xs and zs")
    ones = filled(c.emit, 1, result_type(y).dtype, result_type(y).dims)
    found = pullback(c.emit, _between(c, leaves, y), c.operands, (ones,))
    return [zeros_like(c.emit, x) if d is None else d for x, d in zip(xs, found, strict=False)]


def _named(c: Conversion) -> dict[str, Value]:
    """Return the values that the attributes name, which the importer captured in this order."""
    names = dict.fromkeys((c.attr("y"), *c.attr("xs"), *(c.attr("zs") or ())))
    named = dict(zip(names, c.captured, strict=True))
    tensors = {n: v for n, v in named.items() if isinstance(v, Value)}
    if len(tensors) < len(named):
        raise c.error(f"only tensors can be named, found {named.keys() - tensors.keys()}")
    return tensors


def _between(c: Conversion, leaves: Sequence[Value], y: Value) -> Graph:
    """Return the nodes that compute ``y`` from ``leaves`` as a graph."""
    needed, nodes = {y}, []
    for node in reversed(c.emit.nodes):
        if needed.intersection(node.outputs).difference(leaves):
            nodes.append(node)
            needed.update(node.inputs)
    made = {v for node in nodes for v in node.outputs}
    parameters = {v.name: c.emit.parameters[v.name] for v in needed if c.emit.known(v) is not None}
    loose = {v.name for v in needed - made.union(leaves)} - parameters.keys()
    if loose:
        raise c.error(f"'{y.name}' depends on {sorted(loose)} too; name them in zs")
    inputs = tuple(dict.fromkeys(leaves))
    if len(inputs) < len(leaves):
        raise c.error("xs and zs must name different values")
    parameters = {k: a for k, a in parameters.items() if k not in {v.name for v in inputs}}
    return Graph("differentiated", inputs, tuple(reversed(nodes)), (y,), parameters)
