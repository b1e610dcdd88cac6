# SPDX-License-Identifier: MIT
"""Makes a graph drop elements where training does, by random numbers of each sample's own."""

from __future__ import annotations

from dataclasses import replace

from ..errors import PassError
from ..ir import Emitter, Graph, Node, TensorType, Value
from ..ir.ops import Dropout, DropoutSite, Reshape, RowUniform
from .registry import graph_pass

KEY = "key"
"""Name of the input that holds one random key per sample."""
_STREAM = 1 << 31
"""Streams from here on are for dropout; those below are free for augmentations."""


@graph_pass("use-dropout")
def use_dropout(graph: Graph, *, samples: int = 0) -> Graph:
    """Drop elements at every dropout site; append the input ``key``, uint32 (samples, 4).

    What is dropped of a sample depends on its key and on the site alone: it is the same in any
    batch and on any number of ranks.

    Args:
        graph: its sites hold samples one after another, along the first axis.
        samples: of a batch; by default the first size of the first input.

    Raises:
        PassError: a site does not hold equally many elements of each sample.
    """
    if not any(isinstance(node.op, DropoutSite) for node in graph.nodes):
        return graph
    samples = samples or _dims(graph.inputs[0])[0]
    emit = Emitter.continuing(graph)
    key = emit.argument(TensorType("uint32", (samples, 4)), KEY)
    site = 0
    for node in graph.nodes:
        if isinstance(node.op, DropoutSite):
            _drop(emit, node, key, _STREAM + site)
            site += 1
        else:
            emit.nodes.append(node)
    return emit.graph(graph.name, (*graph.inputs, key), graph.outputs, graph.parameters)


def _drop(emit: Emitter, node: Node, key: Value, stream: int) -> None:
    """Append the ops of a site; the last of them has the site's result."""
    assert isinstance(node.op, DropoutSite)
    x, dims = node.inputs[0], _dims(node.inputs[0])
    rows, rest = divmod(_size(dims), _dims(key)[0])
    if rest:
        raise PassError(
            f"use-dropout: site '{node.source or node.output.name}' of shape {list(dims)} does "
            f"not hold as many elements of each of {_dims(key)[0]} samples"
        )
    with emit.source(node.source):
        whole = dims[:1] == _dims(key)[:1]
        uniform = emit(RowUniform(dims[1:] if whole else (rows,), stream=stream), key)
        if not whole:
            uniform = emit(Reshape(dims), uniform)
        dropped, _ = emit.multi(Dropout(), x, uniform, emit.constant(node.op.ratio, "float32"))
    last = emit.nodes[-1]
    emit.nodes[-1] = replace(last, outputs=(node.output, *last.outputs[1:]))
    assert dropped.type == node.output.type


def _dims(value: Value) -> tuple[int, ...]:
    assert isinstance(value.type, TensorType)
    return value.type.dims


def _size(dims: tuple[int, ...]) -> int:
    return TensorType("float32", dims).size
