# SPDX-License-Identifier: MIT
"""Draws small imported graphs for converters that answer with an expansion."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ..ir import Graph, Node, UnknownType, Value
from ..ir.ops import Onnx
from .convert import Entry, Expansion

INTERNAL = "ranvier"
"""Domain of operators that only expansions use; see ``converters/internal.py``."""


class Sketch:
    """Collects the nodes of an expansion.

    >>> sketch = Sketch()
    >>> sketch.node("Pack", [], results=(0,))
    (Value(name='t0', type=UnknownType()),)
    """

    def __init__(self) -> None:
        self._inputs: list[Value] = []
        self._arguments: list[Entry] = []
        self._nodes: list[Node] = []
        self._count = 0

    def enter(self, entry: Entry) -> Value:
        """Return a value that stands for an entry known to the converter."""
        value = self._value()
        self._inputs.append(value)
        self._arguments.append(entry)
        return value

    def enter_all(self, entries: Iterable[Entry]) -> list[Value]:
        """Return a value for each entry."""
        return [self.enter(entry) for entry in entries]

    def node(
        self,
        type: str,
        operands: Sequence[Value],
        results: Iterable[int],
        captured: Sequence[Value] = (),
        source: str = "",
        **settings: Any,
    ) -> tuple[Value, ...]:
        """Add a node of an internal operator and return its results.

        Args:
            type: operator name.
            operands: its operands.
            results: positions of the results that are used.
            captured: what its regions read besides.
            source: its name within the expansion; without one it has that of the whole.
            settings: its attributes.
        """
        op = Onnx(
            type=type,
            version=1,
            domain=INTERNAL,
            operands=tuple(range(len(operands))),
            results=tuple(results),
            settings=tuple(sorted(settings.items())),
        )
        outputs = tuple(self._value() for _ in op.results)
        self._nodes.append(Node(op, (*operands, *captured), outputs, source))
        return outputs

    def expansion(self, outputs: Iterable[Value]) -> Expansion:
        """Return the expansion with these results."""
        nodes = tuple(self._nodes)
        graph = Graph("expansion", tuple(self._inputs), nodes, tuple(outputs))
        return Expansion(graph, tuple(self._arguments))

    def _value(self) -> Value:
        self._count += 1
        return Value(f"t{self._count - 1}", UnknownType())
