# SPDX-License-Identifier: MIT
"""The graph IR: types, ops, graph, emitter, verifier, printer, parser, interpreter."""

from . import ops
from .attributes import ArrayAttribute
from .emitter import Emitter
from .graph import Graph, Node, Value
from .interpreter import interpret
from .op import Composite, Kind, Op, op_named
from .parser import parse_graph
from .printer import print_graph
from .types import (
    Array,
    Dim,
    OptionalType,
    SequenceType,
    TensorType,
    Type,
    UnknownType,
    dtype_name,
    numpy_dtype,
    type_of,
)
from .verify import verify

__all__ = [
    "Array",
    "ArrayAttribute",
    "Composite",
    "Dim",
    "Emitter",
    "Graph",
    "Kind",
    "Node",
    "Op",
    "OptionalType",
    "SequenceType",
    "TensorType",
    "Type",
    "UnknownType",
    "Value",
    "dtype_name",
    "interpret",
    "numpy_dtype",
    "op_named",
    "ops",
    "parse_graph",
    "print_graph",
    "type_of",
    "verify",
]
