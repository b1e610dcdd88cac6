# SPDX-License-Identifier: MIT
"""Decides how intermediate values lie in memory: order, zero halos, parts of concatenations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from ..ir.graph import Graph, Node, Value
from ..ir.ops import Concat, Reshape, Transpose
from ..ir.ops.fused import Fused
from .movement import seen
from .templates.base import Plan
from .values import dims, in_buffer, nbytes, rank
from .views import Halo, Order, Request, View, is_channels_last, laid_out, merged


@dataclass(frozen=True)
class Home:
    """Where a value lies: a view that starts ``first`` elements into a buffer.

    Attributes:
        buffer: name of the buffer; parts of a concatenation share one.
        first: elements before the value's first.
        view: how the value lies.
        whole: the view of the whole buffer's tensor.
        whole_first: elements before the first of the whole.
        size: elements of the buffer, halo included.
    """

    buffer: str
    first: int
    view: View
    whole: View
    whole_first: int
    size: int


def homes_of(graph: Graph, plans: Mapping[Value, Plan]) -> dict[Value, Home]:
    """Return the homes of the values that kernels of ``graph`` make and other kernels read.

    Inputs, outputs and what nodes other than kernels touch lie as the runtime has them.
    """
    return _Placer(graph, plans).run()


class _Placer:
    def __init__(self, graph: Graph, plans: Mapping[Value, Plan]) -> None:
        self.graph = graph
        self.plans = plans
        self.loose = self._loose_values()
        self.free = {v: node for v, node in self.loose.items() if rank(v) >= 3}
        self.orders: dict[Value, Order] = {}
        self.halos: dict[Value, Halo] = {}
        self.homes: dict[Value, Home] = {}

    def run(self) -> dict[Value, Home]:
        self._orders()
        self._halos()
        # Larger concatenations come later and hold the parts of smaller ones.
        for node in reversed(self.graph.nodes):
            if is_concatenation(node) and node.output in self.free:
                self._concatenation(node)
        for value in self.loose:
            if value not in self.homes and not self._sees(value) and value in self.free:
                self._own(value)
        return self.homes

    def _loose_values(self) -> dict[Value, Node]:
        """Values that are made by a kernel and read by kernels only, so that we place them."""
        fixed = set(self.graph.outputs)
        fixed |= {v for n in self.graph.nodes if not isinstance(n.op, Fused) for v in n.inputs}
        return {
            v: node
            for node in self.graph.nodes
            if isinstance(node.op, Fused)
            for v in node.outputs
            if v not in fixed
        }

    # Order of axes

    def _orders(self) -> None:
        """Channels last where a template asks for it, and where neighbours are like that."""
        for requests in self._requests():
            for value, request in requests:
                if value in self.free and request.order != "any":
                    self.orders.setdefault(value, request.order)
        for _ in range(2):
            for node in (*self.graph.nodes, *reversed(self.graph.nodes)):
                self._spread(node)

    def _spread(self, node: Node) -> None:
        """Give values of one rank around a kernel without wishes one order."""
        if not isinstance(node.op, Fused) or self.plans.get(node.outputs[0]) is not None:
            return
        if any(isinstance(n.op, Transpose | Reshape) for n in node.op.body.nodes):
            return
        values = [v for v in (*node.inputs, *node.outputs) if rank(v) == rank(node.outputs[0])]
        known = [self.orders[v] for v in values if v in self.orders]
        if not known:
            return
        for value in values:
            if value in self.free:
                self.orders.setdefault(value, known[0])

    def _requests(self) -> Iterator[list[tuple[Value, Request]]]:
        for node in self.graph.nodes:
            plan = self.plans.get(node.outputs[0])
            if plan is not None:
                pairs = list(zip(node.inputs, plan.operands, strict=True))
                yield [*pairs, (node.outputs[0], plan.result)]

    # Halos

    def _halos(self) -> None:
        for requests in self._requests():
            for value, request in requests:
                if value in self.free and request.halo:
                    self.halos[value] = merged(self.halos.get(value, ()), request.halo)
        # A buffer that holds parts has one halo for all of them.
        for node in reversed(self.graph.nodes):
            if is_concatenation(node) and node.output in self.free:
                for part in node.inputs:
                    if part in self.free:
                        wanted = merged(self.halos.get(part, ()), self.halos.get(node.output, ()))
                        if wanted:
                            self.halos[node.output] = wanted

    # Buffers

    def _concatenation(self, node: Node) -> None:
        result = node.output
        axis = concatenation_axis(node)
        if result not in self.homes and not self._adopt(node, axis):
            self._own(result)
        home = self.homes[result]
        start = 0
        for part in node.inputs:
            if part in self.free and part not in self.homes and self._fits(part, result):
                self.homes[part] = _part(home, dims(part), axis, start)
            start += dims(part)[axis]

    def _fits(self, part: Value, result: Value) -> bool:
        return self.orders.get(part, "any") in ("any", self.orders.get(result, "row_major"))

    def _adopt(self, node: Node, axis: int) -> bool:
        """Take the concatenation for a part of a larger one if its operands lie like that."""
        homes = [self.homes.get(v) for v in node.inputs]
        first = homes[0]
        if first is None:
            return False
        start = first.first
        for part, home in zip(node.inputs, homes, strict=True):
            if home is None or home.buffer != first.buffer or home.first != start:
                return False
            start += dims(part)[axis] * first.view.strides[axis]
        shape = dims(node.output)
        self.homes[node.output] = Home(
            first.buffer,
            first.first,
            View(shape, first.view.strides, first.view.halo),
            first.whole,
            first.whole_first,
            first.size,
        )
        return True

    def _sees(self, value: Value) -> bool:
        """Let a value that is moved only lie where it comes from, if readers can read it there."""
        home = home_in_operand(self.loose[value], self.homes)
        if home is None or not self._readable(value, home.view):
            return False
        self.homes[value] = home
        return True

    def _readable(self, value: Value, view: View) -> bool:
        return all(
            self._reads(node, k, view)
            for node in self.graph.nodes
            for k, operand in enumerate(node.inputs)
            if operand == value
        )

    def _reads(self, node: Node, number: int, view: View) -> bool:
        """Whether a kernel reads an operand that lies like ``view`` without loss."""
        plan = self.plans.get(node.outputs[0])
        if plan is None:
            return is_channels_last(view)
        if number in plan.strided or number in plan.packings:
            return True
        request = plan.operands[number]
        return request.order == "channels_last" and request.accepts(view)

    def _own(self, value: Value) -> None:
        order = self.orders.get(value, "row_major")
        view, first, size = laid_out(dims(value), order, self.halos.get(value, ()))
        self.homes[value] = Home(value.name, first, view, view, first, size)


def _part(home: Home, shape: tuple[int, ...], axis: int, start: int) -> Home:
    halo = home.view.halo
    if halo:
        halo = tuple((0, 0) if k == axis else h for k, h in enumerate(halo))
    view = View(shape, home.view.strides, halo)
    first = home.first + start * home.view.strides[axis]
    return Home(home.buffer, first, view, home.whole, home.whole_first, home.size)


def home_in_operand(node: Node, homes: Mapping[Value, Home]) -> Home | None:
    """Return where the result of a kernel that only moves elements lies in its operand.

    An operand without a home, such as an input of the graph, lies as the runtime has it.
    """
    if len(node.inputs) != 1 or not in_buffer(node.inputs[0]) or not nbytes(node.outputs[0]):
        return None
    (value,) = node.inputs
    source = homes.get(value) or _as_it_is(value)
    found = seen(node, source.view)
    if found is None:
        return None
    first, view = found
    return replace(source, first=source.first + first, view=view)


def _as_it_is(value: Value) -> Home:
    view, first, size = laid_out(dims(value), "row_major")
    return Home(value.name, first, view, view, first, size)


def is_concatenation(node: Node) -> bool:
    """Whether a kernel does nothing but put its operands side by side, each of them once."""
    if not isinstance(node.op, Fused):
        return False
    body = node.op.body
    return (
        len(body.nodes) == 1
        and isinstance(body.nodes[0].op, Concat)
        and body.nodes[0].inputs == body.inputs
        and rank(node.outputs[0]) >= 3
    )


def concatenation_axis(node: Node) -> int:
    """Return the axis along which a concatenation joins."""
    assert isinstance(node.op, Fused)
    op = node.op.body.nodes[0].op
    assert isinstance(op, Concat)
    return op.axis


__all__ = ["Home", "concatenation_axis", "home_in_operand", "homes_of", "is_concatenation"]
