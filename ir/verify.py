# SPDX-License-Identifier: MIT
"""Named predicates over graphs; passes state which they require and ensure."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ..errors import OpError, VerificationError
from .graph import Graph, Node, Value
from .op import Composite
from .printer import format_node
from .types import TensorType, UnknownType, dtype_name

Predicate = Callable[[Graph], None]
PREDICATES: dict[str, Predicate] = {}


def predicate(check: Predicate) -> Predicate:
    """Register a check under its function's name."""
    PREDICATES[check.__name__] = check
    return check


def verify(graph: Graph, names: Iterable[str] = ("ssa", "typed")) -> Graph:
    """Check the named predicates, of regions too, and return ``graph``.

    Raises:
        VerificationError: a predicate does not hold; the message shows the nodes around.
    """
    for name in names:
        PREDICATES[name](graph)
        for node in graph.nodes:
            for region in node.op.regions():
                verify(region, (name,))
    return graph


def holds(graph: Graph, name: str) -> bool:
    """Whether the named predicate holds."""
    try:
        verify(graph, (name,))
    except VerificationError:
        return False
    return True


@predicate
def ssa(graph: Graph) -> None:
    """Every value is defined once, before its uses; parameters match their arrays."""
    defined: dict[str, Value] = {}
    for value in graph.inputs:
        _define(graph, defined, value, None)
    for name, array in graph.parameters.items():
        type = TensorType(dtype_name(array.dtype), tuple(map(int, array.shape)))
        _define(graph, defined, Value(name, type), None)
    for node in graph.nodes:
        for value in node.inputs:
            _used(graph, defined, value, node)
        for value in node.outputs:
            _define(graph, defined, value, node)
    for value in graph.outputs:
        _used(graph, defined, value, None)


def _define(graph: Graph, defined: dict[str, Value], value: Value, node: Node | None) -> None:
    if value.name in defined:
        raise failure(graph, node, f"%{value.name} is defined twice")
    defined[value.name] = value


def _used(graph: Graph, defined: dict[str, Value], value: Value, node: Node | None) -> None:
    known = defined.get(value.name)
    if known is None:
        raise failure(graph, node, f"%{value.name} is used but not defined before")
    if known.type != value.type:
        raise failure(graph, node, f"%{value.name} is {known.type}, used as {value.type}")


@predicate
def typed(graph: Graph) -> None:
    """The types of every node's results are those that its op infers."""
    for node in graph.nodes:
        if any(isinstance(v.type, UnknownType) for v in (*node.inputs, *node.outputs)):
            continue
        try:
            expected = node.op.infer(*(v.type for v in node.inputs))
        except OpError as error:
            raise failure(graph, node, str(error)) from error
        found = tuple(v.type for v in node.outputs)
        if expected != found:
            raise failure(
                graph,
                node,
                f"{node.op.name} infers ({', '.join(map(str, expected))}), "
                f"the node declares ({', '.join(map(str, found))})",
            )


@predicate
def static(graph: Graph) -> None:
    """Every tensor has a known element type and known sizes."""
    for node in graph.nodes:
        for value in (*node.inputs, *node.outputs):
            if isinstance(value.type, UnknownType) or (
                isinstance(value.type, TensorType) and not value.type.is_static
            ):
                raise failure(graph, node, f"%{value.name} is {value.type}, not static")


@predicate
def canonical(graph: Graph) -> None:
    """No imported op remains: every node is an op of our own."""
    for node in graph.nodes:
        if node.op.name == "onnx":
            raise failure(graph, node, "an imported op remains")


@predicate
def primitive(graph: Graph) -> None:
    """No composite op remains."""
    for node in graph.nodes:
        if isinstance(node.op, Composite):
            raise failure(graph, node, f"composite op {node.op.name} remains")


def failure(graph: Graph, node: Node | None, message: str) -> VerificationError:
    """Return the error for ``node`` with the lines around it, as a compiler shows them."""
    if node is None:
        return VerificationError(f"graph '{graph.name}': {message}")
    at = next(k for k, n in enumerate(graph.nodes) if n is node)
    lines = [
        f"{'>' if k == at else ' '} {k:4d} {format_node(n, indent='')[:160]}"
        for k, n in enumerate(graph.nodes[max(0, at - 2) : at + 3], max(0, at - 2))
    ]
    source = f" (from '{node.source}')" if node.source else ""
    return VerificationError(
        f"graph '{graph.name}', node {at}{source}: {message}\n" + "\n".join(lines)
    )
