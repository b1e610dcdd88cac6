# SPDX-License-Identifier: MIT
"""Brings graphs that mean the same into the same form."""

from __future__ import annotations

from ..ir import Graph
from .canonical_arithmetic import ARITHMETIC
from .canonical_control import CONTROL
from .canonical_movement import MOVEMENT
from .registry import graph_pass
from .rewriting import rewrite_graph

REWRITES = (*MOVEMENT, *ARITHMETIC, *CONTROL)


@graph_pass("canonicalise")
def canonicalise(graph: Graph) -> Graph:
    """Drop what does nothing, merge what merges, and write equal things in one way.

    Every rewrite keeps every bit of the results; those that only nearly do are passes of
    their own (fold-normalization, recognise-composites).
    """
    return rewrite_graph(graph, REWRITES)
