# SPDX-License-Identifier: MIT
"""The same graph in float64, for references whose rounding does not matter."""

from __future__ import annotations

from ranvier.ir import Graph, parse_graph, print_graph


def in_float64(graph: Graph) -> Graph:
    """Return a graph of float32 with every float32 tensor, constant and cast made float64."""
    return parse_graph(print_graph(graph, inline=1 << 40).replace("float32", "float64"))
