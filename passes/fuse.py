# SPDX-License-Identifier: MIT
"""Groups nodes into kernels: each group becomes one ``fused`` node with a body of its own.

A group grows from the node whose result leaves it (its *sink*) backwards over producers all
of whose readers are inside, so that diamonds such as ``x * sigmoid(x)`` close and exactly one
result is written. What may join depends on how the group reads it.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from ..ir import Graph, Kind, Node, Op, TensorType, Type, Value, ops
from .kernel_body import is_inline, kernel_body
from .reading import READ_ONCE, REPEATED, Reads, operand_reads, size_of
from .recomputing import Recomputing
from .regions import map_node_regions
from .registry import graph_pass

Supports = Callable[[Op, tuple[Type, ...]], bool]

MAX_NODES = 64
MAX_OPERANDS = 24

# Index arithmetic and nothing else: repeating it costs less than a trip through memory.
_FREE = (ops.Reshape, ops.BroadcastTo, ops.Transpose, ops.Slice, ops.Reverse, ops.Iota)
# Results larger than their operands: every reader gets a copy of the node rather than memory.
_COPIED = (ops.BroadcastTo, ops.Iota)


@graph_pass("fuse")
def fuse(graph: Graph, *, supports: Supports | None = None, join_in_place: bool = False) -> Graph:
    """Group the nodes that are compiled into ``fused`` nodes, one kernel each.

    Every node that can be compiled ends in a group, alone if need be. Host ops and what
    ``supports`` refuses stay as they are; so do control nodes that hold any such node,
    which then run on the host as a whole.

    Args:
        graph: a graph of canonical ops, composites expanded where the target wants it.
        supports: whether the target has a kernel for an op on operands of these types;
            without it, for every op on static tensors that are not strings.
        join_in_place: concatenations of feature maps (rank 3 and more) stay alone, because
            the target lets their operands be written where the result is.
    """
    return _Fusion(graph, supports, join_in_place).run()


def is_compilable(node: Node, supports: Supports | None = None) -> bool:
    """Whether a kernel can hold ``node``: static tensors, not strings, op supported."""
    if node.op.kind in (Kind.HOST, Kind.CONTROL) or isinstance(node.op, ops.Fused):
        return False
    return _is_static(node) and (
        supports is None or supports(node.op, tuple(v.type for v in node.inputs))
    )


def is_runnable(node: Node, supports: Supports | None = None) -> bool:
    """Whether compiled code can run ``node``: in a kernel, or as a loop or branch of kernels."""
    if node.op.kind is not Kind.CONTROL:
        return is_compilable(node, supports) or isinstance(node.op, ops.Fused)
    return _is_static(node) and all(
        is_runnable(n, supports) for region in node.op.regions() for n in region.nodes
    )


def _is_static(node: Node) -> bool:
    return all(
        isinstance(v.type, TensorType) and v.type.is_static and v.type.dtype != "string"
        for v in (*node.inputs, *node.outputs)
    )


@dataclass
class _Group:
    """A sink and what has joined it.

    ``reads`` has, per node, how its result is read by way of the group; ``copies`` are
    nodes that other groups hold, too.
    """

    sink: int
    reads: dict[int, Reads]
    anchor: int | None = None
    copies: set[int] = field(default_factory=set)


class _Fusion:
    def __init__(self, graph: Graph, supports: Supports | None, join_in_place: bool) -> None:
        self.graph = graph
        self.supports = supports
        self.join_in_place = join_in_place
        self.nodes = graph.nodes
        self.index = {v: k for k, n in enumerate(graph.nodes) for v in n.outputs}
        self.compilable = [is_compilable(n, supports) for n in graph.nodes]
        self.uses = graph.uses()
        self.readers: dict[int, set[int]] = {}
        for k, node in enumerate(graph.nodes):
            for v in node.inputs:
                if v in self.index:
                    self.readers.setdefault(self.index[v], set()).add(k)

        self.epilogues: dict[int, int] = {}
        self.recomputing = Recomputing(
            graph.nodes,
            self.index,
            self.readers,
            lambda k: not self.compilable[k] or k in self.epilogues,
            graph.outputs,
        )
        # Ascending, because what may join a group depends on this of earlier nodes.
        for k, node in enumerate(graph.nodes):
            if self.compilable[k] and node.op.kind in (Kind.ELEMENTWISE, Kind.INJECTIVE):
                anchor = self.grow(k).anchor
                self.epilogues |= {} if anchor is None else {k: anchor}

    def run(self) -> Graph:
        demanded = set(self.graph.outputs)
        result: list[Node] = []
        # Backwards: when a node is reached, all its readers are in their groups.
        for k in reversed(range(len(self.nodes))):
            node = self.nodes[k]
            if not self.compilable[k]:
                node = self.uncompiled(node)
            elif demanded.isdisjoint(node.outputs):
                continue
            else:
                node = self.fused(self.grow(k))
            result.append(node)
            demanded.update(node.inputs)
        result.reverse()
        if len(result) == len(self.nodes) and all(map(_is, result, self.nodes)):
            return self.graph
        live = {v.name for n in result for v in n.inputs} | {v.name for v in self.graph.outputs}
        parameters = {k: a for k, a in self.graph.parameters.items() if k in live}
        return replace(self.graph, nodes=tuple(result), parameters=parameters)

    def uncompiled(self, node: Node) -> Node:
        if node.op.kind is Kind.CONTROL and is_runnable(node, self.supports):
            return map_node_regions(
                node,
                lambda g: fuse(g, supports=self.supports, join_in_place=self.join_in_place),
            )
        return node

    def grow(self, sink: int) -> _Group:
        node = self.nodes[sink]
        group = _Group(sink, {sink: {(): size_of(node.outputs[0])}})
        if node.op.kind is Kind.REDUCTION:
            group.anchor = sink
        queue = [-k for k in self.producers(sink)]
        heapq.heapify(queue)
        seen, again, declined = set(queue), set[int](), list[int]()
        while queue:
            k = -heapq.heappop(queue)
            if self.join(group, k):
                for p in self.producers(k):
                    if -p not in seen:
                        seen.add(-p)
                        heapq.heappush(queue, -p)
            else:
                declined.append(k)
            if not queue:
                # What the group reads by now may be all that one of these is made of.
                queue = sorted({-k for k in declined if self.recomputes(group, k)} - again)
                again.update(queue)
        return group

    def producers(self, k: int) -> Iterator[int]:
        """The compilable producers of the operands of node ``k``."""
        if self.nodes[k].op.kind is Kind.OPAQUE or self.alone(k):
            return
        for v in self.nodes[k].inputs:
            if v in self.index and self.compilable[self.index[v]]:
                yield self.index[v]

    def join(self, group: _Group, k: int) -> bool:
        """Add node ``k`` to the group if it may; return whether it did."""
        node = self.nodes[k]
        if sum(self.uses[v] > 0 for v in node.outputs) != 1 or len(group.reads) >= MAX_NODES:
            return False
        inside = self.readers[k] & group.reads.keys()
        escapes = any(v in self.graph.outputs for v in node.outputs)
        shared = escapes or inside != self.readers[k] or not inside.isdisjoint(group.copies)
        if shared and not isinstance(node.op, _COPIED) and not self.recomputes(group, k):
            return False
        reads = self.reads(group, k)
        if not self.joins(group, k, reads):
            return False
        group.reads[k] = reads
        if self.operands(group) > MAX_OPERANDS:
            del group.reads[k]
            return False
        if shared:
            group.copies.add(k)
        if node.op.kind is Kind.REDUCTION:
            group.anchor = k
        return True

    def recomputes(self, group: _Group, k: int) -> bool:
        """Whether the group computes node ``k``, which others read too, instead of loading it."""
        if self.recomputing.everywhere(k) or self.recomputing.within(k, group.reads):
            return True
        leaves = self.recomputing.leaves(k)
        return leaves is not None and leaves <= self.operand_values(group, k)

    def reads(self, group: _Group, k: int) -> Reads:
        """How the group reads the result of node ``k``, over all its readers inside."""
        merged: Reads = {}
        for reader in self.readers[k] & group.reads.keys():
            user = self.nodes[reader]
            for position, v in enumerate(user.inputs):
                if self.index.get(v) == k:
                    merged.update(operand_reads(user, position, group.reads[reader]))
        return merged

    def joins(self, group: _Group, k: int, reads: Reads) -> bool:
        """Whether producer ``k`` may be computed where the group reads it.

        - An op alone never, nor a concatenation in place, nor what takes one apart where a
          convolution or product adds to it; a second anchor never.
        - Into the operand of an anchor that reads elements more than once (convolution,
          matrix product, softmax): a pure broadcast, which costs nothing to repeat.
        - An anchor, or what is its epilogue: if the sink has its elements in its order, so
          that the rest is epilogue, too. Otherwise the epilogue stays with its anchor.
        - Anything else: if no element is computed more often than it would be on its own.
        """
        node = self.nodes[k]
        size = sum(size_of(v) for v in node.outputs if self.uses[v])
        if node.op.kind is Kind.OPAQUE or self.alone(k) or self.taken_apart(k):
            return False
        if any(REPEATED in path for path in reads):
            return isinstance(node.op, ops.BroadcastTo)
        if node.op.kind is Kind.REDUCTION or k in self.epilogues:
            at_sink = size_of(self.nodes[group.sink].outputs[0])
            return group.anchor is None and set(reads) == {()} and size == at_sink
        return isinstance(node.op, _FREE) or sum(reads.values()) <= size

    def alone(self, k: int) -> bool:
        """Whether node ``k`` is a concatenation whose operands are written in place."""
        node = self.nodes[k]
        if not self.join_in_place or not isinstance(node.op, ops.Concat):
            return False
        type = node.outputs[0].type
        return isinstance(type, TensorType) and type.rank >= 3 and len(set(node.inputs)) > 1

    def taken_apart(self, k: int) -> bool:
        """Whether node ``k`` is a slice that the epilogue of a kernel with a template reads.

        Templates read operands where the result is; the slice is a view of its operand's memory.
        """
        if not self.join_in_place or not isinstance(self.nodes[k].op, ops.Slice):
            return False
        anchors = [self.nodes[self.epilogues[r]] for r in self.readers[k] if r in self.epilogues]
        return any(not isinstance(n.op, READ_ONCE) for n in anchors)

    def operands(self, group: _Group) -> int:
        read = self.operand_values(group)
        return sum(not is_inline(self.graph.parameters.get(v.name)) for v in read)

    def operand_values(self, group: _Group, but: int | None = None) -> set[Value]:
        """What the group reads, apart from the results of one node."""
        inside = {v for k in group.reads for v in self.nodes[k].outputs}
        read = {v for k in group.reads for v in self.nodes[k].inputs} - inside
        return read - set(self.nodes[but].outputs) if but is not None else read

    def fused(self, group: _Group) -> Node:
        sink = self.nodes[group.sink]
        outputs = tuple(v for v in sink.outputs if self.uses[v])
        members = [self.nodes[k] for k in sorted(group.reads)]
        return kernel_body(members, outputs, self.graph.parameters, sink.source)


def _is(a: Node, b: Node) -> bool:
    return a is b
