# SPDX-License-Identifier: MIT
"""Function bodies of the standard: operators that ONNX itself defines by smaller ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from onnx import FunctionProto, NodeProto, TypeProto, helper, numpy_helper

from ..ir import ArrayAttribute, Graph, TensorType, Type
from ..ir.ops import Onnx
from .build import Builder, Model, Scope, build_body
from .external import ExternalData
from .schemas import NEWEST, schema_of
from .tensors import ELEMENT_TYPES

_CODES = {dtype: code for code, dtype in ELEMENT_TYPES.items()}


def function_body(op: Onnx, types: Sequence[Type | None], file: str) -> Graph | None:
    """Return the body that the standard defines an operator by, as an imported graph.

    Args:
        op: the operator.
        types: operand types by position, ``None`` where absent; some bodies depend on them.
        file: name of the model, for messages.

    Returns:
        A graph whose inputs are the operands that are present and whose outputs are the
        results in use, or ``None`` if the standard has no such body.
    """
    function = _function(op, types)
    if function is None:
        return None
    builder = Builder(Model(file, ExternalData(None)))
    opsets = {"": NEWEST[""], op.domain: op.version}
    opsets.update((o.domain, o.version) for o in function.opset_import)
    defaults = schema_of(op.type, op.version, op.domain).attributes
    bindings = {
        name: _default(known.default_value)
        for name, known in defaults.items()
        if known.default_value.type
    }
    scope = Scope(builder, opsets, {**bindings, **dict(op.settings)})
    present = [f for f, t in zip(function.input, types, strict=False) if t is not None]
    builder.inputs.extend(scope.define(formal) for formal in present)
    build_body(function, scope)
    outputs = [scope.find(function.output[k]) for k in op.results]
    return builder.graph(op.type, outputs)


def _function(op: Onnx, types: Sequence[Type | None]) -> FunctionProto | None:
    schema: Any = schema_of(op.type, op.version, op.domain)
    data = b""
    if schema.has_function:
        data = schema.get_function_with_opset_version(op.version)
    elif schema.has_context_dependent_function and not op.regions():
        data = schema.get_context_dependent_function_with_opset_version(
            op.version,
            _node(op, types, schema).SerializeToString(),
            [_type(t).SerializeToString() for t in types],
        )
    if not data:
        return None
    function = FunctionProto()
    function.ParseFromString(data)
    return function


def _node(op: Onnx, types: Sequence[Type | None], schema: Any) -> NodeProto:
    count = max(op.results, default=-1) + 1
    node = helper.make_node(
        op.type,
        [f"i{k}" if t is not None else "" for k, t in enumerate(types)],
        [f"o{k}" if k in op.results else "" for k in range(count)],
        domain=op.domain,
    )
    for name, value in op.settings:
        kind = int(schema.attributes[name].type.value)
        plain = numpy_helper.from_array(value.array) if isinstance(value, ArrayAttribute) else value
        node.attribute.append(helper.make_attribute(name, plain, attr_type=kind))
    return node


def _type(type: Type | None) -> TypeProto:
    if not isinstance(type, TensorType):
        return TypeProto()
    return helper.make_tensor_type_proto(_CODES[type.dtype], list(type.shape))


def _default(attribute: Any) -> Any:
    value = helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode()
    return tuple(value) if isinstance(value, list) else value
