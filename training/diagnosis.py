# SPDX-License-Identifier: MIT
"""Finds where numbers stop being finite: a batch once more, op by op."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..ir import Graph, Node, interpret


@dataclass(frozen=True)
class NonFinite:
    """The first tensor with a NaN or an infinity.

    Attributes:
        value: its name in the graph.
        op: what computed it; empty for data and parameters.
        source: the layer or model node that the op came from, as far as it is known.
        count: elements that are not finite.
        size: elements.
        operands: the least and the greatest element of each operand, in order.
    """

    value: str
    op: str
    source: str
    count: int
    size: int
    operands: tuple[tuple[float, float], ...] = ()

    def __str__(self) -> str:
        whose = f"a result of {self.op}" if self.op else "the data or parameter"
        where = f" in '{self.source}'" if self.source else ""
        ranges = ", ".join(f"{low:.3g} to {high:.3g}" for low, high in self.operands)
        found = f"{whose} '{self.value}'{where}: {self.count} of {self.size} elements"
        return found + (f", from operands of {ranges}" if ranges else "")


def first_non_finite(graph: Graph, inputs: Sequence[Any]) -> NonFinite | None:
    """Evaluate a graph op by op until a result is NaN or infinite while its operands were not.

    Constants such as masks may hold infinities, and what they are used in then has some too.

    Args:
        graph: before its ops were fused, so that each is known by its name.
        inputs: one array per input.

    Returns:
        The first such tensor; ``None`` if there is none.

    >>> from ranvier.ir import parse_graph
    >>> graph = parse_graph("graph @g(%x: float32[2]) { %y: float32[2] = log(%x) return %y }")
    >>> print(first_non_finite(graph, [np.float32([0, 1])]))
    a result of log 'y': 1 of 2 elements, from operands of 0 to 1
    """
    search = _Search()
    for value, array in zip(graph.inputs, inputs, strict=True):
        if search.note(value.name, array):
            return NonFinite(value.name, "", "", _bad(array), int(np.size(array)))
    for name, array in graph.parameters.items():
        search.note(name, array)
    try:
        interpret(graph, inputs, search)
    except _FoundError as found:
        return found.finding
    return None


class _FoundError(Exception):
    """Ends the search; caught in this module."""

    def __init__(self, finding: NonFinite) -> None:
        super().__init__(str(finding))
        self.finding = finding


class _Search:
    """Observes an interpreter."""

    def __init__(self) -> None:
        self._ranges: dict[str, tuple[float, float]] = {}

    def note(self, name: str, array: Any) -> bool:
        """Note a tensor's range; return whether it has elements that are not finite."""
        if not np.size(array) or np.asarray(array).dtype.kind not in "fiuV":
            return False
        numbers = np.asarray(array).astype(np.float64, copy=False)
        self._ranges[name] = float(numbers.min()), float(numbers.max())
        return not all(map(math.isfinite, self._ranges[name]))

    def __call__(self, node: Node, results: tuple[Any, ...]) -> None:
        names = [v.name for v in node.inputs if v.name in self._ranges]
        clean = all(math.isfinite(x) for name in names for x in self._ranges[name])
        for value, array in zip(node.outputs, results, strict=True):
            if self.note(value.name, array) and clean:
                size = int(np.size(array))
                about = (value.name, node.op.name, node.source, _bad(array), size)
                raise _FoundError(NonFinite(*about, tuple(self._ranges[n] for n in names)))


def _bad(array: Any) -> int:
    numbers = np.asarray(array).astype(np.float64, copy=False)
    return int(numbers.size - np.count_nonzero(np.isfinite(numbers)))


__all__ = ["NonFinite", "first_non_finite"]
