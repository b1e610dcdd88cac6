# SPDX-License-Identifier: MIT
"""The graph: an immutable list of nodes in static single assignment form."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from .op import Op
from .types import Array, Type


@dataclass(frozen=True)
class Value:
    """A graph input, a parameter or a node's result; its name is unique in its graph."""

    name: str
    type: Type

    def __str__(self) -> str:
        return f"%{self.name}: {self.type}"


@dataclass(frozen=True)
class Node:
    """``outputs = op(inputs)``; ``source`` names the model's node it came from, for messages."""

    op: Op
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    source: str = field(default="", compare=False)

    @property
    def output(self) -> Value:
        """The only result of a node that has one."""
        (value,) = self.outputs
        return value


@dataclass(frozen=True, eq=False)
class Graph:
    """Inputs, nodes in topological order, outputs, and the parameters that nodes refer to.

    A parameter is a named array kept beside the nodes; a pass that does not change it hands
    on the same array. Equality is structural: names, ops, types and parameter contents.
    """

    name: str
    inputs: tuple[Value, ...]
    nodes: tuple[Node, ...]
    outputs: tuple[Value, ...]
    parameters: Mapping[str, Array] = field(default_factory=dict)

    def __str__(self) -> str:
        from .printer import print_graph

        return print_graph(self)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Graph):
            return NotImplemented
        return (
            (self.name, self.inputs, self.nodes, self.outputs)
            == (other.name, other.inputs, other.nodes, other.outputs)
            and self.parameters.keys() == other.parameters.keys()
            and all(_same(a, other.parameters[k]) for k, a in self.parameters.items())
        )

    def __hash__(self) -> int:
        return hash((self.name, self.inputs, self.nodes, self.outputs))

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    def uses(self) -> Counter[Value]:
        """How often each value is read, as an operand or as a graph output."""
        counts = Counter(v for node in self.nodes for v in node.inputs)
        counts.update(self.outputs)
        return counts

    def producers(self) -> dict[Value, Node]:
        """The node that defines each node result."""
        return {v: node for node in self.nodes for v in node.outputs}

    def walk(self) -> Iterator[Node]:
        """Nodes in topological order, those of regions after the node that holds them."""
        for node in self.nodes:
            yield node
            for region in node.op.regions():
                yield from region.walk()


def _same(a: Array, b: Array) -> bool:
    if a is b:
        return True
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    if a.dtype == object:
        return bool(np.array_equal(a, b))
    # Bytes, not values: NaN must equal itself and -0.0 must differ from 0.0.
    return a.tobytes() == b.tobytes()
