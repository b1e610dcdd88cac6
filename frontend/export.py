# SPDX-License-Identifier: MIT
"""Canonical graphs to ONNX at a chosen opset: the counterpart of the converters.

An exporter writes one op as ONNX nodes. An op without one, or whose operator is newer than the
opset, is written as its expansion; what remains is refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from ..errors import UnsupportedError
from ..ir import (
    Array,
    Composite,
    Graph,
    Node,
    OptionalType,
    SequenceType,
    TensorType,
    Type,
    Value,
    dtype_name,
    numpy_dtype,
    ops,
)
from ..ir.op import Op
from ..ir.types import FLOATS, INTEGERS
from ..runtime.atomic import atomic_file
from .operators import ML_VERSION, result_types

Exporting: TypeAlias = "Callable[[Exporter, Any, Node, Names, Names], None]"
Names: TypeAlias = Sequence[str]

OLDEST, NEWEST = 13, 28
"""Opsets that can be written."""

_FLOATS = dict.fromkeys(FLOATS - {"float64"}, "float32")
_WIDER = (
    _FLOATS,
    _FLOATS | dict.fromkeys(INTEGERS - {"int64", "uint64"}, "int64"),
)
"""What to compute in where an operator lacks an element type, in the order of trying.

Whole numbers wrap around when they are cast back, as they would have in their own type.
"""

_EXPORTERS: dict[type[Op], tuple[int, Exporting]] = {}


class ElementTypeError(Exception):
    """An operator does not take an element type; caught in this module."""


def exporter(*kinds: type[Op], since: int = OLDEST) -> Callable[[Exporting], Exporting]:
    """Register ``f(e, op, node, inputs, outputs)`` as what writes these ops from an opset on."""

    def register(function: Exporting) -> Exporting:
        for kind in kinds:
            if kind in _EXPORTERS:
                raise ValueError(f"op {kind.name!r} has two exporters")
            _EXPORTERS[kind] = (since, function)
        return function

    return register


def export(
    graph: Graph,
    opset: int = 20,
    hidden: Sequence[int] = (),
    output_names: Sequence[str] = (),
) -> ModelProto:
    """Return a canonical graph as an ONNX model.

    Args:
        graph: a graph of our own ops.
        opset: version of ai.onnx, 13 to 28.
        hidden: numbers of outputs that are left out, such as flags of run-time checks.
        output_names: of the outputs that are left; those of their values if it is empty.

    Raises:
        UnsupportedError: the opset is out of range, or has no form for an op.
    """
    from . import exporters  # noqa: F401 - fills the registry

    if not OLDEST <= opset <= NEWEST:
        raise UnsupportedError(f"opset {opset} cannot be written; choose {OLDEST} to {NEWEST}")
    e = Exporter(opset)
    names = {v: e.reserve(v.name) for v in graph.inputs}
    wanted = [e.reserve(name) for name in output_names]
    e.declare(graph.inputs, names)
    e.graph(_visible(graph, hidden), names)
    outputs = [v for k, v in enumerate(graph.outputs) if k not in hidden]
    written = wanted or [e.output(names[v]) for v in outputs]
    for value, name in zip(outputs, wanted, strict=bool(wanted)):
        e.node("Identity", [names[value]], [name])
    body = helper.make_graph(
        e.nodes,
        graph.name,
        [value_info(names[v], v.type) for v in graph.inputs],
        [value_info(name, v.type) for name, v in zip(written, outputs, strict=True)],
        e.initializers,
    )
    imports = [helper.make_opsetid(*item) for item in e.domains.items()]
    model = helper.make_model(body, opset_imports=imports, producer_name="ranvier")
    model.ir_version = helper.find_min_ir_version_for(imports)
    return model


def save_onnx(model: ModelProto, path: str | Path) -> None:
    """Write an ONNX file, which appears whole or not at all.

    Raises:
        UnsupportedError: the model is larger than a protobuf file can be.
    """
    if model.ByteSize() >= onnx.checker.MAXIMUM_PROTOBUF:
        raise UnsupportedError(f"{path}: the model exceeds the 2 GB limit of one ONNX file")
    with atomic_file(Path(path)) as file:
        file.write(model.SerializeToString())


class Exporter:
    """Collects ONNX nodes and initialisers; exporters write through it.

    Attributes:
        opset: version of ai.onnx that is written.
        dtypes: element types of values by name, where they are known.
        domains: versions of the operator sets in use.
    """

    def __init__(self, opset: int) -> None:
        self.opset = opset
        self.nodes: list[NodeProto] = []
        self.initializers: list[TensorProto] = []
        self.dtypes: dict[str, str] = {}
        self.domains = {"": opset}
        self._taken: set[str] = set()
        self._outputs: set[str] = set()

    # For exporters

    def node(
        self, type: str, inputs: Names, outputs: Names, domain: str = "", **attributes: Any
    ) -> None:
        """Append a node; attributes that are ``None`` are left out.

        Raises:
            ElementTypeError: the operator does not take an operand's element type.
        """
        given = {k: v for k, v in attributes.items() if v is not None}
        version = self.domains.setdefault(domain, ML_VERSION)
        dtypes = [self.dtypes.get(name) for name in inputs]
        results, problem = result_types(type, version, domain, dtypes, given)
        if problem:
            raise ElementTypeError(problem)
        for output, dtype in zip(outputs, results, strict=False):
            if dtype is not None:
                self.dtypes[output] = dtype
        name = self.reserve(f"{type}_{len(self.nodes)}")
        made = helper.make_node(type, list(inputs), list(outputs), name, domain=domain, **given)
        self.nodes.append(made)

    def then(self, type: str, *inputs: str, **attributes: Any) -> str:
        """Append a node with one result and return its name."""
        name = self.fresh(type.lower())
        self.node(type, inputs, [name], **attributes)
        return name

    def constant(self, array: Array) -> str:
        """Add an initialiser and return its name."""
        name = self.fresh("constant")
        self.initializers.append(tensor(array, name))
        self.dtypes[name] = dtype_name(array.dtype)
        return name

    def ints(self, values: Sequence[int]) -> str:
        """Add a vector of int64 and return its name."""
        return self.constant(np.asarray(values, np.int64))

    def scalar(self, number: float, dtype: str) -> str:
        """Add a scalar and return its name."""
        return self.constant(np.asarray(number, numpy_dtype(dtype)))

    def cast(self, name: str, dtype: str) -> str:
        """Append a cast and return its result."""
        return self.then("Cast", name, to=onnx_dtype(dtype))

    def reshape(self, x: str, shape: Sequence[int], output: str) -> None:
        """Append a reshape to exactly ``shape``: a size of 0 is no "as in the operand"."""
        if 0 not in shape or self.opset >= 14:
            literal = 1 if 0 in shape else None
            self.node("Reshape", [x, self.ints(shape)], [output], allowzero=literal)
        else:
            dtype = self.dtypes[x]
            empty = np.zeros(shape, object if dtype == "string" else numpy_dtype(dtype))
            self.node("Identity", [self.constant(empty)], [output])

    def expand(self, node: Node, inputs: Names, outputs: Names) -> None:
        """Write a composite op as its expansion."""
        assert isinstance(node.op, Composite)
        body = node.op.expansion(*(v.type for v in node.inputs))
        self.inline(body, inputs, outputs)

    def inline(self, body: Graph, inputs: Names, outputs: Names) -> None:
        """Write the nodes of ``body`` applied to ``inputs``."""
        names = dict(zip(body.inputs, inputs, strict=True))
        self.graph(body, names)
        for value, name in zip(body.outputs, outputs, strict=True):
            self.node("Identity", [names[value]], [name])

    def fresh(self, stem: str) -> str:
        """Return an unused name."""
        return self.reserve(stem)

    def reserve(self, name: str) -> str:
        """Return ``name``, changed if it is taken, and mark it as taken."""
        unique, number = name, 0
        while unique in self._taken:
            number += 1
            unique = f"{name}_{number}"
        self._taken.add(unique)
        return unique

    # The whole

    def declare(self, values: Sequence[Value], names: Mapping[Value, str]) -> None:
        """Note the element types of values."""
        for value in values:
            if isinstance(value.type, TensorType):
                self.dtypes[names[value]] = value.type.dtype

    def graph(self, graph: Graph, names: dict[Value, str]) -> None:
        """Append parameters and nodes of ``graph``; ``names`` has its inputs and gets the rest."""
        for key, array in graph.parameters.items():
            value = next((v for v in _values(graph) if v.name == key), None)
            if value is not None:
                names[value] = self.reserve(key)
                self.initializers.append(tensor(array, names[value]))
                self.dtypes[names[value]] = dtype_name(array.dtype)
        for node in graph.nodes:
            names.update((v, self.reserve(v.name)) for v in node.outputs)
            self.write(node, [names[v] for v in node.inputs], [names[v] for v in node.outputs])

    def write(self, node: Node, inputs: Names, outputs: Names) -> None:
        """Append the nodes of one op.

        Raises:
            UnsupportedError: ONNX at this opset has no form for it.
        """
        since, function = _EXPORTERS.get(type(node.op), (NEWEST + 1, None))
        if function is not None and since <= self.opset:
            self._write_as(function, node, inputs, outputs)
        elif isinstance(node.op, Composite):
            self.expand(node, inputs, outputs)
        elif isinstance(node.op, ops.Fused):
            self.inline(node.op.body, inputs, outputs)
        else:
            needs = f"needs opset {since}" if function else "has no ONNX form"
            raise UnsupportedError(
                f"export: op {node.op.name} {needs} (writing opset {self.opset})"
            )

    def _write_as(self, function: Exporting, node: Node, inputs: Names, outputs: Names) -> None:
        """Call an exporter; where its operator lacks the element type, find a way around.

        A composite is expanded; narrow numbers are computed in wider ones and rounded.
        """
        nodes, initializers = len(self.nodes), len(self.initializers)
        try:
            function(self, node.op, node, inputs, outputs)
        except ElementTypeError as error:
            del self.nodes[nodes:], self.initializers[initializers:]
            if isinstance(node.op, Composite):
                self.expand(node, inputs, outputs)
            elif not self._write_widened(function, node, inputs, outputs):
                raise UnsupportedError(f"export: op {node.op.name}: {error}") from error

    def _write_widened(
        self, function: Exporting, node: Node, inputs: Names, outputs: Names
    ) -> bool:
        """Write an op on narrow numbers in wider ones; return whether that is possible."""
        if isinstance(node.op, ops.Cast | ops.Bitcast) or node.op.regions():
            return False
        nodes, initializers = len(self.nodes), len(self.initializers)
        for wider in _WIDER:
            try:
                self._write_in(wider, function, node, inputs, outputs)
                return True
            except ElementTypeError:
                del self.nodes[nodes:], self.initializers[initializers:]
        return False

    def _write_in(
        self, wider: dict[str, str], function: Exporting, node: Node, inputs: Names, outputs: Names
    ) -> None:
        """Write an op with the element types ``wider`` has for its own; round the results."""
        values = dict.fromkeys((*node.inputs, *node.outputs))
        wide = {v: Value(v.name, _widened(v.type, wider)) for v in values}
        operands = [
            n if wide[v].type == v.type else self.cast(n, _dtype(wide[v]))
            for v, n in zip(node.inputs, inputs, strict=True)
        ]
        results = [
            n if wide[v].type == v.type else self.fresh(n)
            for v, n in zip(node.outputs, outputs, strict=True)
        ]
        before, after = (tuple(wide[v] for v in vs) for vs in (node.inputs, node.outputs))
        function(self, node.op, Node(node.op, before, after), operands, results)
        for value, result, output in zip(node.outputs, results, outputs, strict=True):
            if result != output:
                # Numbers of eight bits that overflow become NaN or infinite, not the largest.
                saturate = 0 if _dtype(value).startswith("float8") else None
                number = onnx_dtype(_dtype(value))
                self.node("Cast", [result], [output], to=number, saturate=saturate)

    def output(self, name: str) -> str:
        """Return a name for a graph output: an input or a value given twice needs another."""
        made = {output for n in self.nodes for output in n.output}
        if name in made and name not in self._outputs:
            self._outputs.add(name)
            return name
        copy = self.then("Identity", name)
        self._outputs.add(copy)
        return copy

    def body(self, graph: Graph, formal: Mapping[int, str], name: str) -> onnx.GraphProto:
        """Return a region as a GraphProto whose captured values go by their outer names.

        Args:
            graph: a closed region.
            formal: outer names of inputs that are captured, by their number.
            name: of the GraphProto.
        """
        inner = Exporter(self.opset)
        inner._taken, inner.dtypes, inner.domains = self._taken, self.dtypes, self.domains
        names = {
            v: formal[k] if k in formal else self.reserve(v.name)
            for k, v in enumerate(graph.inputs)
        }
        inner.declare(graph.inputs, names)
        inner.graph(graph, names)
        results = [inner.output(names[v]) for v in graph.outputs]
        return helper.make_graph(
            inner.nodes,
            name,
            [value_info(names[v], v.type) for k, v in enumerate(graph.inputs) if k not in formal],
            [value_info(n, v.type) for n, v in zip(results, graph.outputs, strict=True)],
            inner.initializers,
        )


def _widened(type: Type, wider: Mapping[str, str]) -> Type:
    if isinstance(type, TensorType):
        return TensorType(wider.get(type.dtype, type.dtype), type.shape)
    return type


def _dtype(value: Value) -> str:
    assert isinstance(value.type, TensorType)
    return value.type.dtype


def _visible(graph: Graph, hidden: Sequence[int]) -> Graph:
    """Return the graph without what only hidden outputs need: checks have no ONNX form."""
    if not hidden:
        return graph
    outputs = tuple(v for k, v in enumerate(graph.outputs) if k not in hidden)
    needed = set(outputs)
    nodes: list[Node] = []
    for node in reversed(graph.nodes):
        if needed.intersection(node.outputs):
            nodes.append(node)
            needed.update(node.inputs)
    return replace(graph, nodes=tuple(reversed(nodes)), outputs=outputs)


def _values(graph: Graph) -> list[Value]:
    return [v for node in graph.nodes for v in node.inputs] + list(graph.outputs)


def tensor(array: Array, name: str) -> TensorProto:
    """Return an array as a TensorProto."""
    contiguous = np.ascontiguousarray(array).reshape(array.shape)
    return numpy_helper.from_array(contiguous, name)


def onnx_dtype(dtype: str) -> int:
    """Return ONNX's number of an element type."""
    if dtype == "string":
        return int(TensorProto.STRING)
    return int(helper.np_dtype_to_tensor_dtype(numpy_dtype(dtype)))


def value_info(name: str, type: Type) -> ValueInfoProto:
    """Return name and type as ONNX declares them."""
    return helper.make_value_info(name, type_proto(type))


def type_proto(type: Type) -> onnx.TypeProto:
    """Return a type as ONNX states it; named dimensions keep their names."""
    if isinstance(type, TensorType):
        return helper.make_tensor_type_proto(onnx_dtype(type.dtype), list(type.shape))
    if isinstance(type, SequenceType):
        return helper.make_sequence_type_proto(type_proto(type.element))
    if isinstance(type, OptionalType):
        return helper.make_optional_type_proto(type_proto(type.element))
    raise UnsupportedError("export: a value of unknown type cannot be declared")
