# SPDX-License-Identifier: MIT
"""The textual form of a graph; what is printed parses back to an equal graph."""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import MISSING, fields
from typing import Any

from .attributes import ArrayAttribute
from .graph import Graph, Node, Value
from .op import Op
from .types import Array, OptionalType, SequenceType, TensorType, Type, dtype_name

INLINE_ELEMENTS = 64
"""Parameters of at most this many elements are printed in full, larger ones as a digest."""

_PLAIN = re.compile(r"[A-Za-z_][\w.]*\Z", re.ASCII)


def print_graph(graph: Graph, inline: int = INLINE_ELEMENTS) -> str:
    """Render ``graph`` as text that :func:`~ranvier.ir.parser.parse_graph` reads back.

    Args:
        graph: the graph.
        inline: parameters with more elements than this print as ``sha256:...``; the parser
            then needs the arrays beside the text.
    """
    return "\n".join(_graph_lines(graph, inline, "")) + "\n"


def digest(array: Array) -> str:
    """Return the hexadecimal SHA-256 of an array's type, shape and contents."""
    state = hashlib.sha256(f"{dtype_name(array.dtype)}{array.shape}".encode())
    state.update(json.dumps(array.tolist()).encode() if array.dtype == object else array.tobytes())
    return state.hexdigest()


def quote(name: str) -> str:
    """Return ``name`` as an identifier of the textual form, in quotes where needed."""
    return name if _PLAIN.match(name) else json.dumps(name)


def format_node(node: Node, inline: int = INLINE_ELEMENTS, indent: str = "  ") -> str:
    """Return the line (or lines, with regions) of one node."""
    results = ", ".join(_declare(v) for v in node.outputs)
    arguments = ", ".join(_use(v) for v in node.inputs)
    head = f"{indent}{results} = " if results else indent
    return f"{head}{node.op.name}({arguments}){_attributes(node.op, inline, indent)}"


def _graph_lines(graph: Graph, inline: int, indent: str) -> list[str]:
    arguments = ", ".join(_declare(v) for v in graph.inputs)
    lines = [f"graph @{quote(graph.name)}({arguments}) {{"]
    lines += [f"{indent}  {_parameter(k, a, inline)}" for k, a in graph.parameters.items()]
    lines += [format_node(node, inline, f"{indent}  ") for node in graph.nodes]
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


def _parameter(name: str, array: Array, inline: int) -> str:
    shape = ", ".join(map(str, array.shape))
    body = _elements(array) if array.size <= inline else f"sha256:{digest(array)}"
    return f"param %{quote(name)}: {dtype_name(array.dtype)}[{shape}] = {body}"


def _elements(array: Array) -> str:
    if (array.dtype.kind == "f" and array.dtype.itemsize <= 8) or array.dtype.kind in "biu?":
        return format_literal(tuple(array.ravel().tolist()), 0, "")
    if array.dtype == object:
        return format_literal(tuple(map(str, array.ravel().tolist())), 0, "")
    return f"0x{array.tobytes().hex()}"


def _attributes(op: Op, inline: int, indent: str) -> str:
    items = [
        f"{f.name}={format_literal(getattr(op, f.name), inline, indent)}"
        for f in fields(op)  # type: ignore[arg-type]
        if f.default is MISSING or not _equal(getattr(op, f.name), f.default)
    ]
    return f" {{{', '.join(items)}}}" if items else ""


def _equal(a: Any, b: Any) -> bool:
    return type(a) is type(b) and bool(a == b) and str(a) == str(b)


def format_literal(value: Any, inline: int, indent: str) -> str:
    """Return an attribute's value as text: numbers, strings, tuples, arrays, regions."""
    if isinstance(value, Graph):
        return "\n".join(_graph_lines(value, inline, indent + "  "))
    if isinstance(value, ArrayAttribute):
        array = value.array
        shape = ", ".join(map(str, array.shape))
        return f"array {dtype_name(array.dtype)}[{shape}] {_elements(array)}"
    if isinstance(value, tuple):
        inner = ", ".join(format_literal(v, inline, indent) for v in value)
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else ("inf" if value > 0 else "-inf")
    if isinstance(value, str):
        return json.dumps(value)
    if value is None or isinstance(value, bool | int | float):
        return repr(value)
    raise TypeError(f"attribute value {value!r} has no textual form")
