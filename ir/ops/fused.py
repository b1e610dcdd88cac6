# SPDX-License-Identifier: MIT
"""The op of a target-ready graph: a group of nodes that becomes one kernel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from ..graph import Graph, Node
from ..interpreter import interpret
from ..op import Arrays, Kind, Op, Types
from ..types import Type


@dataclass(frozen=True)
class Fused(Op):
    """One kernel: ``y = body(x)``.

    Operands are the body's inputs, results its outputs. The body holds primitives and the
    composites that the target lowers whole; its parameters are constants of one element,
    which a kernel states inline. Value names in a body are canonical, so that equal kernels
    have equal bodies. There is no gradient: groups are formed after differentiation.

    Attributes:
        body: the nodes of the group as a closed graph.
        label: the ops of the group, for kernel names and profiles.
    """

    name: ClassVar[str] = "fused"
    kind: ClassVar[Kind] = Kind.OPAQUE
    body: Graph
    label: str = ""

    def infer(self, *inputs: Type) -> Types:
        """Return the types of the body's outputs."""
        expected = tuple(v.type for v in self.body.inputs)
        if inputs != expected:
            raise self.error(
                f"body takes ({', '.join(map(str, expected))}), "
                f"found ({', '.join(map(str, inputs))})"
            )
        return tuple(v.type for v in self.body.outputs)

    def evaluate(self, *inputs: Any) -> Arrays:
        """Interpret the body."""
        return tuple(interpret(self.body, inputs))

    def flops(self, *inputs: Type) -> int:
        """Operations of the body."""
        return sum(n.op.flops(*(v.type for v in n.inputs)) for n in self.body.nodes)


def is_compiled(node: Node) -> bool:
    """Whether a node of a target-ready graph is compiled; the others run on the host.

    Fused groups are, and control ops all of whose nodes are compiled, regions in regions
    included.
    """
    if isinstance(node.op, Fused):
        return True
    regions = node.op.regions()
    return node.op.kind is Kind.CONTROL and all(is_compiled(n) for g in regions for n in g.nodes)


__all__ = ["Fused", "is_compiled"]
