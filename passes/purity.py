# SPDX-License-Identifier: MIT
"""Which ops give the same results whenever they are given the same operands."""

from __future__ import annotations

from ..ir import Op


def is_pure(op: Op) -> bool:
    """Whether equal operands give equal results: false for random ops that draw a new seed.

    >>> from ranvier.ir import ops
    >>> is_pure(ops.Add())
    True
    """
    attributes = op.attributes()
    own = "seed" not in attributes or attributes["seed"] is not None
    return own and all(is_pure(node.op) for region in op.regions() for node in region.nodes)
