# SPDX-License-Identifier: MIT
"""Which values are computed again where they are read, because loading them costs as much."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from ..ir import Kind, Node, Value, ops
from .reading import size_of

_CHEAP = (
    *(ops.Add, ops.Sub, ops.Mul, ops.Neg, ops.Abs, ops.Maximum, ops.Minimum, ops.Relu),
    *(ops.Select, ops.Greater, ops.GreaterEqual, ops.Less, ops.LessEqual, ops.Equal),
    *(ops.And, ops.Or, ops.Not, ops.Reshape, ops.BroadcastTo),
)
_READ_ONCE = (ops.ReduceSum, ops.ReduceMean, ops.SlabSums)
_LEAST_ELEMENTS = 1024
"""What is smaller stays in the first cache, and a trip there costs nothing."""
_MOST_NODES = 16
_MOST_READERS = 4
_SMALL = 8
"""An operand so many times smaller than the result is read from the first cache as well."""


class Recomputing:
    """Tells which nodes may be copied into the groups that read them.

    A chain of cheap elementwise ops whose large operands are no more than two need not be
    written: a normalisation or the mask of a rectifier is computed from what its reader loads
    anyway. With more operands or readers, loading the result is less.

    Args:
        nodes: of the graph.
        index: the node that defines a value.
        readers: by node, which nodes read its results.
        fixed: whether a node stays where it is: not compiled, or what follows an anchor.
        outputs: values that are written in any case.
    """

    def __init__(
        self,
        nodes: Sequence[Node],
        index: Mapping[Value, int],
        readers: Mapping[int, Collection[int]],
        fixed: Callable[[int], bool],
        outputs: Collection[Value],
    ) -> None:
        self.nodes = nodes
        self.index = index
        self.readers = readers
        self.fixed = fixed
        self.outputs = set(outputs)
        self._leaves: dict[int, frozenset[Value] | None] = {}
        self._free: dict[int, bool] = {}

    def everywhere(self, k: int) -> bool:
        """Whether all that reads node ``k`` computes it again, so that it is never written."""
        if k not in self._free:
            leaves = self.leaves(k)
            self._free[k] = (
                leaves is not None
                and len(leaves) <= 2
                and len(self.readers.get(k, ())) <= _MOST_READERS
                and self.outputs.isdisjoint(self.nodes[k].outputs)
                and all(self._takes(self.nodes[r]) for r in self.readers.get(k, ()))
            )
        return self._free[k]

    def within(self, k: int, chain: Collection[int]) -> bool:
        """Whether node ``k`` belongs to what is computed again where ``chain`` is."""
        return self.leaves(k) is not None and set(self.readers.get(k, ())) <= set(chain)

    def leaves(self, k: int) -> frozenset[Value] | None:
        """Return the large values that node ``k`` is made of, ``None`` if it is not cheap."""
        if k not in self._leaves:
            found: set[Value] = set()
            cheap = self._collect(k, found, [0]) and size_of(self.nodes[k].outputs[0]) > 0
            big = size_of(self.nodes[k].outputs[0]) >= _LEAST_ELEMENTS
            self._leaves[k] = frozenset(found) if cheap and big else None
        return self._leaves[k]

    def _collect(self, k: int, found: set[Value], count: list[int]) -> bool:
        """Add the large operands of the chain that ends in node ``k``; count its nodes."""
        node = self.nodes[k]
        count[0] += 1
        if not isinstance(node.op, _CHEAP) or self.fixed(k) or count[0] > _MOST_NODES:
            return False
        size = size_of(node.outputs[0])
        for value in node.inputs:
            if size_of(value) * _SMALL <= size:
                continue
            producer = self.index.get(value)
            if producer is None or not self._inline(producer):
                found.add(value)
            elif not self._collect(producer, found, count):
                return False
        return True

    def _inline(self, k: int) -> bool:
        """Whether node ``k`` is part of the chains that read it."""
        if not isinstance(self.nodes[k].op, _CHEAP) or self.fixed(k):
            return False
        return len(self.readers.get(k, ())) == 1 or self.everywhere(k)

    def _takes(self, node: Node) -> bool:
        """Whether a node can hold what it reads: each element once."""
        return node.op.kind is Kind.ELEMENTWISE or isinstance(node.op, _READ_ONCE)
