# SPDX-License-Identifier: MIT
"""Rewrites of control ops: known conditions, and captures that need not be operands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ..ir import Array, Graph, Node, Value, ops
from .kernel_body import is_inline
from .regions import with_attributes
from .rewriting import Scope, op_of, rewrite


@rewrite(ops.Branch)
def take_known_branch(scope: Scope, node: Node) -> tuple[Value, ...] | None:
    """A branch on a known condition is the body that it selects."""
    condition = scope.array(node.inputs[0])
    if condition is None:
        return None
    branch = op_of(node, ops.Branch)
    return scope.inline(branch.then_body if condition else branch.else_body, node.inputs[1:])


@rewrite(ops.WhileLoop)
def skip_known_loop(scope: Scope, node: Node) -> tuple[Value, ...] | None:
    """A loop whose condition is known to fail at once hands its states on."""
    condition = scope.array(node.inputs[0])
    if condition is None or condition:
        return None
    return node.inputs[1 : 1 + len(node.outputs)]


@rewrite(ops.Scan, ops.Branch, ops.WhileLoop)
def settle_captures(scope: Scope, node: Node) -> tuple[Value, ...] | None:
    """Drop captured operands that no region reads, and put constants of one element inside.

    Inside, they fold into the kernels of the region.
    """
    first = _first_capture(node)
    regions = {k: g for k, g in node.op.attributes().items() if isinstance(g, Graph)}
    if not regions or first == len(node.inputs):
        return None
    captured = node.inputs[first:]
    arrays = {k: scope.array(v) for k, v in enumerate(captured)}
    constants = {k: a for k, a in arrays.items() if a is not None and is_inline(a)}
    settled = {
        name: _Settled(graph, len(graph.inputs) - len(captured), constants)
        for name, graph in regions.items()
    }
    kept = [
        k
        for k in range(len(captured))
        if k not in constants and any(k in s.used for s in settled.values())
    ]
    if len(kept) == len(captured):
        return None
    op = with_attributes(node.op, {name: s.graph(kept) for name, s in settled.items()})
    return scope.multi(op, *node.inputs[:first], *(captured[k] for k in kept))


def _first_capture(node: Node) -> int:
    """Return the position of the first captured operand."""
    if isinstance(node.op, ops.Scan):
        return node.op.num_carried + node.op.num_scanned
    return 1 if isinstance(node.op, ops.Branch) else 1 + len(node.outputs)


@dataclass
class _Settled:
    """A region about to lose captures."""

    region: Graph
    first: int
    constants: dict[int, Array]
    used: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        read = self.region.uses()
        formal = self.region.inputs[self.first :]
        self.used = {k for k, v in enumerate(formal) if read[v]}

    def graph(self, kept: Sequence[int]) -> Graph:
        formal = self.region.inputs[self.first :]
        inside = {formal[k].name: a for k, a in self.constants.items() if k in self.used}
        return replace(
            self.region,
            inputs=(*self.region.inputs[: self.first], *(formal[k] for k in kept)),
            parameters={**self.region.parameters, **inside},
        )


CONTROL = (take_known_branch, skip_known_loop, settle_captures)
