# SPDX-License-Identifier: MIT
"""Finds composite ops in the smaller ops that exporters make of them."""

from __future__ import annotations

from ..ir import Graph
from .canonical_movement import drop_unmoved, merge_reshapes, merge_transposes
from .composite_activations import ACTIVATIONS
from .composite_attention import attention as find_attention
from .composite_attention import einsum
from .composite_rows import ROWS
from .registry import graph_pass
from .rewriting import rewrite_graph

# Of the transposes and reshapes around a summation's product most do nothing.
_BETWEEN_PRODUCTS = (drop_unmoved, merge_reshapes, merge_transposes)


@graph_pass("recognise-composites")
def recognise_composites(graph: Graph, *, attention: bool = True) -> Graph:
    """Replace decompositions of activations, softmax, normalisations and attention.

    Results are equal up to rounding; where a decomposition overflows or divides 0 by 0 and
    the composite does not, they are better. Expects a canonical form: constants second,
    squares as products.

    Args:
        graph: any typed graph.
        attention: whether to look for attention. Without a kernel for the whole it is
            better left in parts, because masked rows cost it two more passes over the scores.
    """
    rewrites = (*ACTIVATIONS, *ROWS, einsum, *_BETWEEN_PRODUCTS)
    return rewrite_graph(graph, (*rewrites, find_attention) if attention else rewrites)
