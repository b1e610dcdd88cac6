# SPDX-License-Identifier: MIT
"""The oracle: runs a graph node by node with each op's NumPy ``evaluate``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import InputError, RanvierError
from .graph import Graph, Node, Value
from .types import TensorType, type_of

Observer = Callable[[Node, tuple[Any, ...]], None]


def interpret(graph: Graph, inputs: Sequence[Any], observe: Observer | None = None) -> list[Any]:
    """Return the outputs of ``graph`` on ``inputs`` (arrays, lists or ``None``).

    Args:
        graph: any graph whose ops can be evaluated.
        inputs: one value per graph input, of the declared element type and rank.
        observe: called with each node and its results, for layer-by-layer comparison.

    Raises:
        InputError: the inputs do not fit the graph.
        RanvierError: an op refused its operands; the message names the node.
    """
    if len(inputs) != len(graph.inputs):
        raise InputError(
            f"graph '{graph.name}' has {len(graph.inputs)} inputs, {len(inputs)} were given"
        )
    env: dict[str, Any] = dict(graph.parameters)
    for value, array in zip(graph.inputs, inputs, strict=True):
        env[value.name] = _checked(value, array)
    for node in graph.nodes:
        results = _evaluate(node, tuple(env[v.name] for v in node.inputs))
        if observe is not None:
            observe(node, results)
        env.update(zip((v.name for v in node.outputs), results, strict=True))
    return [env[v.name] for v in graph.outputs]


def _evaluate(node: Node, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    try:
        # Overflow and invalid values follow IEEE 754 silently, as compiled code does.
        with np.errstate(all="ignore"):
            return node.op.evaluate(*arguments)
    except RanvierError as error:
        where = f" (node '{node.source}')" if node.source else ""
        raise type(error)(f"{error}{where}") from error


def _checked(value: Value, array: Any) -> Any:
    declared, found = value.type, type_of(array)
    if isinstance(declared, TensorType) and (
        not isinstance(found, TensorType)
        or found.dtype != declared.dtype
        or found.rank != declared.rank
    ):
        raise InputError(f"input '{value.name}': expected {declared}, found {found}")
    return array
