# SPDX-License-Identifier: MIT
"""The same graph in float64, for references whose rounding does not matter."""

from __future__ import annotations

import re

from ranvier.ir import Graph, parse_graph, print_graph


def in_float64(graph: Graph) -> Graph:
    """Return a graph with every tensor, constant and cast of narrower floats made float64."""
    text = print_graph(graph, inline=1 << 40)
    return parse_graph(re.sub(r"\b(float32|bfloat16|float16)\b", "float64", text))
