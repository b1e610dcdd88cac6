# SPDX-License-Identifier: MIT
"""Names in model files: reading them, and which values a graph takes from around it."""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from onnx import GraphProto, NodeProto

from ..errors import ModelError
from .tensors import text


def name(value: Any) -> str:
    """Return a string field of a model.

    protobuf hands out ``bytes`` where a damaged file does not hold UTF-8.

    Raises:
        ModelError: the field is not UTF-8.
    """
    if not isinstance(value, str):
        raise ModelError(f"the name {value!r} is not UTF-8")
    return value


def subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    """Yield the graphs among a node's attributes."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def captured(node: NodeProto) -> list[str]:
    """Return the outer values that a node's subgraphs read, in order of first use.

    A Gradient node captures the values that its attributes name: y, xs, zs.
    """
    found: dict[str, None] = {}
    if node.op_type == "Gradient" and node.domain == "ai.onnx.preview.training":
        stated = {a.name: [a.s, *a.strings] for a in node.attribute}
        found.update((text(n), None) for key in ("y", "xs", "zs") for n in stated.get(key, ()) if n)
    for graph in subgraphs(node):
        found.update(dict.fromkeys(_free(graph)))
    return list(found)


def _free(graph: GraphProto) -> list[str]:
    own = {name(v.name) for v in graph.input} | {name(t.name) for t in graph.initializer}
    own |= {name(t.values.name) for t in graph.sparse_initializer}
    own |= {name(output) for node in graph.node for output in node.output}
    used = [n for node in graph.node for n in reads(node)]
    used += [name(v.name) for v in graph.output]
    return [n for n in dict.fromkeys(used) if n and n not in own]


def reads(node: NodeProto) -> list[str]:
    """Return the values that a node needs: its operands and what its subgraphs capture."""
    return [n for n in map(name, node.input) if n] + captured(node)


def in_order(nodes: Sequence[NodeProto]) -> list[NodeProto]:
    """Return the nodes with producers before users; the file's order where that is one.

    Raises:
        ModelError: nodes depend on each other in a cycle.
    """
    needs = [reads(node) for node in nodes]
    producer = {name(o): k for k, node in enumerate(nodes) for o in node.output if o}
    waiting = [{producer[n] for n in names if n in producer} for names in needs]
    if all(max(before, default=-1) < k for k, before in enumerate(waiting)):
        return list(nodes)
    users: list[list[int]] = [[] for _ in nodes]
    for k, before in enumerate(waiting):
        for p in before:
            users[p].append(k)
    missing = [len(before) for before in waiting]
    ready = [k for k, count in enumerate(missing) if not count]
    order: list[NodeProto] = []
    while ready:
        at = heapq.heappop(ready)
        order.append(nodes[at])
        for k in users[at]:
            missing[k] -= 1
            if not missing[k]:
                heapq.heappush(ready, k)
    if len(order) < len(nodes):
        stuck = [label(nodes[k], k) for k, count in enumerate(missing) if count]
        raise ModelError(f"nodes depend on each other in a cycle: {', '.join(stuck[:5])}")
    return order


def label(node: NodeProto, index: int) -> str:
    """Return the name by which messages call a node: its own, else operator and position."""
    return name(node.name) or f"{name(node.op_type)}_{index}"


class Names:
    """Hands out names that are unique, in constant time each."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = set(taken)
        self._next: dict[str, int] = {}

    def unused(self, stem: str) -> str:
        """Return ``stem``, or ``stem_1`` and so on where it is taken.

        >>> names = Names()
        >>> names.unused("x"), names.unused("x")
        ('x', 'x_1')
        """
        unique, number = stem, self._next.get(stem, 1)
        while unique in self._taken:
            unique, number = f"{stem}_{number}", number + 1
        self._next[stem] = number
        self._taken.add(unique)
        return unique


class Symbols:
    """Gives the dimensions of one model names that the textual IR can hold."""

    def __init__(self) -> None:
        self._names = Names()
        self._known: dict[str, str] = {}

    def named(self, parameter: str) -> str:
        """Return the symbol of an ONNX ``dim_param``, the same for the same text."""
        if parameter not in self._known:
            stem = re.sub(r"\W+", "_", parameter, flags=re.ASCII).strip("_") or "dim"
            self._known[parameter] = self._names.unused(f"d{stem}" if stem[0].isdigit() else stem)
        return self._known[parameter]

    def fresh(self) -> str:
        """Return a symbol for a dimension without a name."""
        return self._names.unused("unknown")
