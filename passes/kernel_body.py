# SPDX-License-Identifier: MIT
"""Turns a group of nodes into one ``fused`` node whose body is in canonical form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..ir import Array, Graph, Node, Value, ops

_LABELLED = 6


def kernel_body(
    members: Sequence[Node],
    outputs: tuple[Value, ...],
    parameters: Mapping[str, Array],
    source: str = "",
) -> Node:
    """Return the ``fused`` node that computes ``outputs`` by ``members``.

    The body is numbered by a walk from its results along the operands: inputs ``a0, a1, ..``,
    constants ``c0, ..``, results ``v0, ..``. Groups that compute the same thing thus have
    equal bodies, however their graphs named and ordered them.
    """
    body = _Body(members, parameters)
    results = tuple(map(body.value, outputs))
    graph = Graph("kernel", tuple(body.inputs.values()), tuple(body.nodes), results, body.constants)
    node = ops.Fused(graph, label(body.nodes))
    return Node(node, tuple(body.inputs), outputs, source)


def label(nodes: Sequence[Node]) -> str:
    """Return the names of the ops, joined and cut to a readable length.

    >>> from ranvier.ir import Emitter
    >>> from ranvier.ir import Emitter
    >>> emit = Emitter()
    >>> x = emit.constant(1.0)
    >>> y = emit(ops.Neg(), emit(ops.Exp(), x))
    >>> label(emit.nodes)
    'exp_neg'
    """
    names = [n.op.name for n in nodes]
    if len(names) > _LABELLED:
        names = [*names[: _LABELLED - 1], f"{len(names) - _LABELLED + 1}_more"]
    return "_".join(names)


class _Body:
    def __init__(self, members: Sequence[Node], parameters: Mapping[str, Array]) -> None:
        self.producers = {v: node for node in members for v in node.outputs}
        self.parameters = parameters
        self.inputs: dict[Value, Value] = {}
        self.constants: dict[str, Array] = {}
        self.nodes: list[Node] = []
        self.known: dict[Value, Value] = {}
        self.results = 0

    def value(self, outer: Value) -> Value:
        """Return the body's counterpart of a value, adding what it needs."""
        if outer not in self.known:
            if outer in self.producers:
                self.node(self.producers[outer])
            elif is_inline(self.parameters.get(outer.name)):
                self.known[outer] = Value(f"c{len(self.constants)}", outer.type)
                self.constants[self.known[outer].name] = self.parameters[outer.name]
            else:
                self.known[outer] = Value(f"a{len(self.inputs)}", outer.type)
                self.inputs[outer] = self.known[outer]
        return self.known[outer]

    def node(self, node: Node) -> None:
        inputs = tuple(map(self.value, node.inputs))
        outputs = tuple(Value(f"v{self.results + k}", v.type) for k, v in enumerate(node.outputs))
        self.results += len(outputs)
        self.known.update(zip(node.outputs, outputs, strict=True))
        self.nodes.append(replace(node, inputs=inputs, outputs=outputs))


def is_inline(array: Array | None) -> bool:
    """Whether a kernel states this parameter as a constant: it has one element.

    >>> import numpy as np
    >>> is_inline(np.ones((1, 1))), is_inline(np.ones(2)), is_inline(None)
    (True, False, False)
    """
    return array is not None and array.size == 1 and array.dtype != object
