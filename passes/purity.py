# SPDX-License-Identifier: MIT
"""Which ops give the same results whenever they are given the same operands."""

from __future__ import annotations

from ..ir import Op


def is_pure(op: Op) -> bool:
    """Whether equal operands give equal results: false for ops that draw a new random seed.

    Such an op says so by a property ``foldable``.

    >>> from ranvier.ir import ops
    >>> is_pure(ops.Add())
    True
    """
    if not getattr(op, "foldable", True):
        return False
    return all(is_pure(node.op) for region in op.regions() for node in region.nodes)
