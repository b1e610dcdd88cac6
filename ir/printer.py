# SPDX-License-Identifier: MIT
"""The textual form of a graph; what is printed parses back to an equal graph."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from typing import Any

import numpy as np

from .attributes import ArrayAttribute
from .graph import Graph, Node, Value
from .op import Op
from .types import Array, OptionalType, SequenceType, TensorType, Type, dtype_name

INLINE_ELEMENTS = 64
"""Parameters of at most this many elements are printed in full, larger ones as a digest."""

_PLAIN = re.compile(r"[A-Za-z_][\w.]*\Z", re.ASCII)


def digest(array: Array) -> str:
    """Return the hexadecimal SHA-256 of an array's type, shape and contents."""
    state = hashlib.sha256(f"{dtype_name(array.dtype)}{array.shape}".encode())
    if array.dtype == object:
        state.update(json.dumps(array.tolist()).encode())
    elif array.size:
        state.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return state.hexdigest()


class Digests:
    """:func:`digest` that asks of each array once, for one who needs them more than once.

    >>> digests, ones = Digests(), np.ones(3)
    >>> digests(ones) == digests(ones) == digest(ones)
    True
    """

    def __init__(self) -> None:
        # The array is kept, so that no other one gets its identity.
        self._known: dict[int, tuple[Array, str]] = {}

    def __call__(self, array: Array) -> str:
        """Return the digest of ``array``, which must not change in between."""
        known = self._known.get(id(array))
        if known is None:
            known = self._known[id(array)] = (array, digest(array))
        return known[1]


@dataclass(frozen=True)
class _Style:
    inline: int
    digest: Callable[[Array], str] = digest


def print_graph(
    graph: Graph, inline: int = INLINE_ELEMENTS, digests: Callable[[Array], str] = digest
) -> str:
    """Render ``graph`` as text that :func:`~ranvier.ir.parser.parse_graph` reads back.

    Args:
        graph: the graph.
        inline: parameters with more elements than this print as ``sha256:...``; the parser
            then needs the arrays beside the text.
        digests: gives the digests of such parameters.
    """
    return "\n".join(_graph_lines(graph, _Style(inline, digests), "")) + "\n"


def quote(name: str) -> str:
    """Return ``name`` as an identifier of the textual form, in quotes where needed."""
    return name if _PLAIN.match(name) else json.dumps(name)


def format_node(node: Node, indent: str = "  ") -> str:
    """Return the line (or lines, with regions) of one node."""
    return _node(node, _Style(INLINE_ELEMENTS), indent)


def _node(node: Node, style: _Style, indent: str) -> str:
    results = ", ".join(_declare(v) for v in node.outputs)
    arguments = ", ".join(_use(v) for v in node.inputs)
    head = f"{indent}{results} = " if results else indent
    return f"{head}{node.op.name}({arguments}){_attributes(node.op, style, indent)}"


def _graph_lines(graph: Graph, style: _Style, indent: str) -> list[str]:
    arguments = ", ".join(_declare(v) for v in graph.inputs)
    lines = [f"graph @{quote(graph.name)}({arguments}) {{"]
    lines += [f"{indent}  {_parameter(k, a, style)}" for k, a in graph.parameters.items()]
    lines += [_node(node, style, f"{indent}  ") for node in graph.nodes]
    lines += [f"{indent}  return {', '.join(map(_use, graph.outputs))}".rstrip(), f"{indent}}}"]
    return lines


def _declare(value: Value) -> str:
    return f"%{quote(value.name)}: {_type(value.type)}"


def _type(type: Type) -> str:
    if isinstance(type, TensorType):
        sizes = (quote(d) if isinstance(d, str) else str(d) for d in type.shape)
        return f"{type.dtype}[{', '.join(sizes)}]"
    if isinstance(type, SequenceType):
        return f"sequence<{_type(type.element)}>"
    if isinstance(type, OptionalType):
        return f"optional<{_type(type.element)}>"
    return str(type)


def _use(value: Value) -> str:
    return f"%{quote(value.name)}"


def _parameter(name: str, array: Array, style: _Style) -> str:
    shape = ", ".join(map(str, array.shape))
    body = _elements(array) if array.size <= style.inline else f"sha256:{style.digest(array)}"
    return f"param %{quote(name)}: {dtype_name(array.dtype)}[{shape}] = {body}"


def _elements(array: Array) -> str:
    if (array.dtype.kind == "f" and array.dtype.itemsize <= 8) or array.dtype.kind in "biu?":
        return _literal(tuple(array.ravel().tolist()), _Style(0), "")
    if array.dtype == object:
        return _literal(tuple(map(str, array.ravel().tolist())), _Style(0), "")
    return f"0x{array.tobytes().hex()}"


def _attributes(op: Op, style: _Style, indent: str) -> str:
    items = [
        f"{f.name}={_literal(getattr(op, f.name), style, indent)}"
        for f in fields(op)  # type: ignore[arg-type]
        if f.default is MISSING or not _equal(getattr(op, f.name), f.default)
    ]
    return f" {{{', '.join(items)}}}" if items else ""


def _equal(a: Any, b: Any) -> bool:
    return type(a) is type(b) and bool(a == b) and str(a) == str(b)


def _literal(value: Any, style: _Style, indent: str) -> str:
    """Return an attribute's value as text: numbers, strings, tuples, arrays, regions."""
    if isinstance(value, Graph):
        return "\n".join(_graph_lines(value, style, indent + "  "))
    if isinstance(value, ArrayAttribute):
        array = value.array
        shape = ", ".join(map(str, array.shape))
        return f"array {dtype_name(array.dtype)}[{shape}] {_elements(array)}"
    if isinstance(value, tuple):
        inner = ", ".join(_literal(v, style, indent) for v in value)
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else ("inf" if value > 0 else "-inf")
    if isinstance(value, str):
        return json.dumps(value)
    if value is None or isinstance(value, bool | int | float):
        return repr(value)
    raise TypeError(f"attribute value {value!r} has no textual form")
