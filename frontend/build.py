# SPDX-License-Identifier: MIT
"""Builds imported graphs from ONNX protobufs: scopes, closed regions, inlined functions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from onnx import AttributeProto, FunctionProto, GraphProto, NodeProto, ValueInfoProto

from ..errors import ModelError, UnsupportedError
from ..ir import Array, ArrayAttribute, Graph, Node, TensorType, Type, UnknownType, Value
from ..ir.ops import Onnx
from ..ir.types import dtype_name
from .constants import constant_of
from .declarations import declared_type
from .external import ExternalData, about
from .names import Names, Symbols, captured, in_order, label, name
from .schemas import check_bound, check_node, check_opset, schema_of
from .tensors import array_of, dense_of, text

MAX_NODES = 2**20
MAX_INLINED = 2**16
MAX_DEPTH = 24
MAX_SPARSE = 2**26
UNKNOWN = UnknownType()

FunctionKey = tuple[str, str, str]


@dataclass
class Model:
    """What is common to all graphs of one model, and the limits on what it may ask for."""

    file: str
    external: ExternalData
    functions: Mapping[FunctionKey, FunctionProto] = field(default_factory=dict)
    symbols: Symbols = field(default_factory=Symbols)
    nodes: int = 0
    inlined: int = 0
    dense: int = 0
    depth: int = 0

    def count_node(self, inlined: bool) -> None:
        """Count one more node, of functions and regions too."""
        self.nodes += 1
        self.inlined += inlined
        if self.nodes > MAX_NODES or self.inlined > MAX_INLINED:
            raise UnsupportedError(
                f"more than {MAX_NODES} nodes, or {MAX_INLINED} from inlining functions"
            )

    @contextmanager
    def nested(self) -> Iterator[None]:
        """Enter a region or function."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise ModelError(f"regions are nested more than {MAX_DEPTH} deep")
        try:
            yield
        finally:
            self.depth -= 1


class Builder:
    """Collects the inputs, parameters and nodes of one imported graph."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.inputs: list[Value] = []
        self.nodes: list[Node] = []
        self.parameters: dict[str, Array] = {}
        self._names = Names()

    def define(self, stem: str, type: Type = UNKNOWN) -> Value:
        """Return a new value called ``stem``, or nearly so where that name is taken."""
        return Value(self._names.unused(stem), type)

    def parameter(self, stem: str, array: Array) -> Value:
        """Add a constant and return its value."""
        type = TensorType(dtype_name(array.dtype), tuple(map(int, array.shape)))
        value = self.define(stem, type)
        self.parameters[value.name] = array
        return value

    def graph(self, title: str, outputs: Iterable[Value]) -> Graph:
        """Return what was collected."""
        return Graph(title, tuple(self.inputs), tuple(self.nodes), tuple(outputs), self.parameters)


@dataclass
class Scope:
    """One namespace of the file (a graph or a function body) while it is read.

    Attributes:
        builder: the graph that its nodes go to.
        opsets: operator set versions in force.
        bindings: attributes of the call, for a function body.
        prefix: put before node and value names, for a function body.
        calls: functions that are being inlined, outermost first.
    """

    builder: Builder
    opsets: Mapping[str, int]
    bindings: Mapping[str, Any] | None = None
    prefix: str = ""
    calls: tuple[FunctionKey, ...] = ()
    values: dict[str, Value] = field(default_factory=dict)

    @property
    def model(self) -> Model:
        """The model that the scope belongs to."""
        return self.builder.model

    def define(self, key: str, type: Type = UNKNOWN) -> Value:
        """Define a value of the file."""
        self.refuse_twice(key)
        self.values[key] = value = self.builder.define(self.prefix + key, type)
        return value

    def constant(self, key: str, array: Array) -> None:
        """Define a constant of the file."""
        self.refuse_twice(key)
        self.values[key] = self.builder.parameter(self.prefix + key, array)

    def refuse_twice(self, key: str) -> None:
        """Raise if the file has defined the value before."""
        if key in self.values:
            raise ModelError(f"value '{key}' is defined twice")

    def find(self, key: str) -> Value:
        """Return a value of the file."""
        try:
            return self.values[key]
        except KeyError:
            raise ModelError(f"value '{key}' is not defined") from None

    def version(self, domain: str) -> int:
        """Return the version of an operator set."""
        try:
            return self.opsets[domain]
        except KeyError:
            raise ModelError(
                f"operator set {domain or 'ai.onnx'} is used but not imported"
            ) from None


def build_graph(proto: GraphProto, scope: Scope, initialised: bool) -> Graph:
    """Read a model's main graph.

    Args:
        proto: the graph.
        scope: an empty scope.
        initialised: whether inputs that have an initialiser are none (they are parameters).
    """
    _fill(proto, scope, initialised)
    return scope.builder.graph(name(proto.name), _outputs(proto, scope))


def _fill(proto: GraphProto, scope: Scope, initialised: bool) -> None:
    constants = {name(t.name) for t in proto.initializer}
    constants |= {name(t.values.name) for t in proto.sparse_initializer}
    for info in proto.input:
        if not (initialised and name(info.name) in constants):
            scope.builder.inputs.append(scope.define(name(info.name), _declared(info, scope)))
    for tensor in proto.initializer:
        with about(f"initialiser '{name(tensor.name)}'"):
            scope.constant(name(tensor.name), array_of(tensor, scope.model.external))
    for sparse in proto.sparse_initializer:
        with about(f"initialiser '{name(sparse.values.name)}'"):
            scope.constant(name(sparse.values.name), _dense(sparse, scope))
    build_nodes(list(proto.node), scope)


def _declared(info: ValueInfoProto, scope: Scope) -> Type:
    with about(f"value '{name(info.name)}'"):
        return declared_type(info.type, scope.model.symbols)


def _outputs(proto: GraphProto, scope: Scope) -> list[Value]:
    with about(f"outputs of graph '{name(proto.name)}'"):
        return [scope.find(name(info.name)) for info in proto.output]


def _dense(sparse: Any, scope: Scope) -> Array:
    array = dense_of(sparse, scope.model.external)
    scope.model.dense += array.size
    if scope.model.dense > MAX_SPARSE:
        raise UnsupportedError(f"sparse tensors of more than {MAX_SPARSE} elements in all")
    return array


def build_nodes(nodes: list[NodeProto], scope: Scope) -> None:
    """Read nodes in an order in which every operand is defined before it is used."""
    position = {id(node): k for k, node in enumerate(nodes)}
    for node in in_order(nodes):
        source = scope.prefix + label(node, position[id(node)])
        with about(f"node '{source}' ({name(node.op_type)})", unless=f"node '{source}/"):
            _build_node(node, source, scope)


def _build_node(node: NodeProto, source: str, scope: Scope) -> None:
    scope.model.count_node(bool(scope.calls))
    domain = _domain(node.domain)
    key = (domain, name(node.op_type), name(node.overload))
    function = scope.model.functions.get(key)
    if function is not None:
        inline_function(function, key, node, source, scope)
        return
    version = scope.version(domain)
    check_opset(domain, version)
    schema = schema_of(key[1], version, domain)
    bound = _without_unbound(node, scope)
    check_node(bound, schema)
    outer = captured(node)
    settings = dict(_settings(bound, scope, outer))
    for attribute in bound.attribute:
        if attribute.ref_attr_name:
            check_bound(attribute.name, settings[attribute.name], schema)
    if domain == "" and key[1] == "Constant":
        scope.constant(_only_output(node), constant_of(settings))
        return
    operands = [(k, scope.find(name(n))) for k, n in enumerate(node.input) if n]
    results = [(k, scope.define(name(n))) for k, n in enumerate(node.output) if n]
    op = Onnx(
        type=key[1],
        version=version,
        domain=domain,
        operands=tuple(k for k, _ in operands),
        results=tuple(k for k, _ in results),
        settings=tuple(sorted(settings.items())),
    )
    inputs = (*(v for _, v in operands), *map(scope.find, outer))
    scope.builder.nodes.append(Node(op, inputs, tuple(v for _, v in results), source))


def _only_output(node: NodeProto) -> str:
    if not node.output[0]:
        raise ModelError("a constant must have a name")
    return name(node.output[0])


def _domain(domain: Any) -> str:
    text = name(domain)
    return "" if text == "ai.onnx" else text


# Attributes


def _without_unbound(node: NodeProto, scope: Scope) -> NodeProto:
    """Return the node without attributes that refer to one that the call leaves out."""
    if not any(a.ref_attr_name for a in node.attribute):
        return node
    if scope.bindings is None:
        raise ModelError("an attribute refers to a function's attribute outside of a function")
    bound = NodeProto()
    bound.CopyFrom(node)
    del bound.attribute[:]
    bound.attribute.extend(
        a for a in node.attribute if not a.ref_attr_name or name(a.ref_attr_name) in scope.bindings
    )
    return bound


def _settings(node: NodeProto, scope: Scope, outer: Iterable[str]) -> Iterator[tuple[str, Any]]:
    for attribute in node.attribute:
        with about(f"attribute '{name(attribute.name)}'"):
            yield name(attribute.name), _setting(attribute, scope, tuple(outer))


def _setting(attribute: AttributeProto, scope: Scope, outer: tuple[str, ...]) -> Any:
    if attribute.ref_attr_name:
        assert scope.bindings is not None
        return scope.bindings[name(attribute.ref_attr_name)]
    external = scope.model.external
    readers: dict[int, Any] = {
        AttributeProto.FLOAT: lambda a: float(a.f),
        AttributeProto.INT: lambda a: int(a.i),
        AttributeProto.STRING: lambda a: text(a.s),
        AttributeProto.TENSOR: lambda a: ArrayAttribute(array_of(a.t, external)),
        AttributeProto.SPARSE_TENSOR: lambda a: ArrayAttribute(_dense(a.sparse_tensor, scope)),
        AttributeProto.GRAPH: lambda a: build_region(a.g, scope, outer),
        AttributeProto.TYPE_PROTO: lambda a: str(declared_type(a.tp, scope.model.symbols)),
        AttributeProto.FLOATS: lambda a: tuple(map(float, a.floats)),
        AttributeProto.INTS: lambda a: tuple(map(int, a.ints)),
        AttributeProto.STRINGS: lambda a: tuple(map(text, a.strings)),
        AttributeProto.TENSORS: lambda a: tuple(
            ArrayAttribute(array_of(t, external)) for t in a.tensors
        ),
        AttributeProto.GRAPHS: lambda a: tuple(build_region(g, scope, outer) for g in a.graphs),
    }
    reader = readers.get(attribute.type)
    if reader is None:
        raise UnsupportedError(f"attributes of type {attribute.type} are not supported")
    return reader(attribute)


def build_region(proto: GraphProto, outer: Scope, names: tuple[str, ...]) -> Graph:
    """Read a subgraph as a closed graph: ``names`` of the outer scope become its last inputs."""
    with outer.model.nested():
        builder = Builder(outer.model)
        scope = Scope(builder, outer.opsets, outer.bindings, outer.prefix, outer.calls)
        own = _own_names(proto)
        visible = {n: outer.find(n) for n in names}
        for key, value in visible.items():
            if key not in own:  # a name that the subgraph defines itself hides the outer one
                scope.values[key] = replace(value, name=builder.define(value.name).name)
        extra = [
            scope.values[key] if key not in own else builder.define(f"{value.name}.unused")
            for key, value in visible.items()
        ]
        _fill(proto, scope, initialised=False)
        builder.inputs.extend(extra)
        return builder.graph(name(proto.name), _outputs(proto, scope))


def _own_names(proto: GraphProto) -> set[str]:
    own = {name(v.name) for v in proto.input} | {name(t.name) for t in proto.initializer}
    own |= {name(t.values.name) for t in proto.sparse_initializer}
    return own | {name(output) for node in proto.node for output in node.output}


# Functions


def inline_function(
    function: FunctionProto, key: FunctionKey, call: NodeProto, source: str, scope: Scope
) -> None:
    """Read the body of a function in place of a node that calls it.

    Raises:
        ModelError: the function calls itself or the call does not fit its signature.
    """
    if key in scope.calls:
        chain = " -> ".join(k[1] for k in (*scope.calls, key))
        raise ModelError(f"functions call each other in a cycle: {chain}")
    if len(call.input) > len(function.input) or len(call.output) > len(function.output):
        raise ModelError(
            f"the call has {len(call.input)} operands and {len(call.output)} results, the "
            f"function {len(function.input)} and {len(function.output)}"
        )
    opsets = {**scope.opsets, **{_domain(o.domain): o.version for o in function.opset_import}}
    inner = Scope(
        scope.builder, opsets, _bindings(function, call, scope), f"{source}/", (*scope.calls, key)
    )
    for formal, actual in zip(function.input, call.input, strict=False):
        if actual:
            inner.values[name(formal)] = scope.find(name(actual))
    build_body(function, inner)
    for formal, actual in zip(function.output, call.output, strict=False):
        if actual:
            scope.refuse_twice(name(actual))
            scope.values[name(actual)] = inner.find(name(formal))


def build_body(function: FunctionProto, scope: Scope) -> None:
    """Read the nodes of a function; operands that ``scope`` does not define are absent."""
    absent = {name(f) for f in function.input} - set(scope.values)
    with scope.model.nested():
        build_nodes([_without_absent(node, absent) for node in function.node], scope)


def _bindings(function: FunctionProto, call: NodeProto, scope: Scope) -> dict[str, Any]:
    declared = {name(n) for n in function.attribute}
    declared |= {name(a.name) for a in function.attribute_proto}
    for attribute in call.attribute:
        if name(attribute.name) not in declared:
            raise ModelError(f"unknown attribute '{attribute.name}' of a function")
        if attribute.type in {AttributeProto.GRAPH, AttributeProto.GRAPHS}:
            raise UnsupportedError("functions with graphs as attributes are not supported")
    defaults = {name(a.name): _setting(a, scope, ()) for a in function.attribute_proto}
    return {**defaults, **dict(_settings(_without_unbound(call, scope), scope, ()))}


def _without_absent(node: NodeProto, absent: set[str]) -> NodeProto:
    """Return the node of a body without operands that the call leaves out."""
    if not any(n in absent for n in node.input):
        return node
    copy = NodeProto()
    copy.CopyFrom(node)
    copy.input[:] = ["" if n in absent else n for n in node.input]
    return copy
