# SPDX-License-Identifier: MIT
"""What the standard says of an operator, and whether a node keeps to it."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import onnx.defs
from onnx import NodeProto

from ..errors import ModelError, UnsupportedError
from ..ir import ArrayAttribute, Graph

NEWEST: dict[str, int] = {
    "": 28,
    "ai.onnx.ml": 5,
    "ai.onnx.preview": 1,
    "ai.onnx.preview.training": 1,
}
"""Newest operator set version of each domain that is understood."""


def check_opset(domain: str, version: int) -> None:
    """Check that an operator set is one that is understood.

    Raises:
        UnsupportedError: the domain is unknown or the version newer than what is known here.
        ModelError: there is no such version.
    """
    if domain not in NEWEST:
        known = ", ".join(d or "ai.onnx" for d in NEWEST)
        raise UnsupportedError(f"operator domain '{domain}' is unknown; known: {known}")
    if version < 1:
        raise ModelError(f"operator set {domain or 'ai.onnx'} has no version {version}")
    if version > NEWEST[domain]:
        raise UnsupportedError(
            f"operator set {domain or 'ai.onnx'} version {version} is newer than "
            f"{NEWEST[domain]}, the newest supported; export the model at an older one"
        )


@lru_cache(maxsize=2048)
def schema_of(type: str, version: int, domain: str) -> onnx.defs.OpSchema:
    """Return the schema of an operator at an operator set version.

    Raises:
        UnsupportedError: the operator set has no such operator.
    """
    try:
        return onnx.defs.get_schema(type, version, domain)
    except onnx.defs.SchemaError:
        name = f"{domain}.{type}" if domain else type
        if onnx.defs.has(type, domain):
            since = min(
                s.since_version
                for s in onnx.defs.get_all_schemas_with_history()
                if s.name == type and s.domain == domain
            )
            hint = f"it exists since version {since}"
        else:
            hint = "no version has it"
        raise UnsupportedError(
            f"operator {name} is not in operator set {domain or 'ai.onnx'} version {version}; "
            f"{hint}"
        ) from None


def check_node(node: NodeProto, schema: onnx.defs.OpSchema) -> None:
    """Check counts of operands and results, names and types of attributes.

    Raises:
        ModelError: the node breaks its operator's signature.
    """
    _check_count("operands", len(node.input), schema.min_input, schema.max_input)
    _check_count("results", len(node.output), schema.min_output, schema.max_output)
    stated = set()
    for attribute in node.attribute:
        known: Any = schema.attributes.get(attribute.name)
        if known is None:
            allowed = ", ".join(sorted(schema.attributes)) or "none"
            raise ModelError(f"unknown attribute '{attribute.name}'; allowed: {allowed}")
        if attribute.name in stated:
            raise ModelError(f"attribute '{attribute.name}' is stated twice")
        stated.add(attribute.name)
        # A reference to a function's attribute may leave its type open; see `check_bound`.
        if attribute.ref_attr_name and not attribute.type:
            continue
        if int(known.type.value) != attribute.type:
            found = onnx.AttributeProto.AttributeType.Name(attribute.type)
            raise ModelError(
                f"attribute '{attribute.name}' must be {known.type.name}, found {found}"
            )
    for name, formal in schema.attributes.items():
        if formal.required and name not in stated:
            raise ModelError(f"attribute '{name}' is missing")


_VALUES: dict[str, type | tuple[type, ...]] = {
    "FLOAT": float,
    "INT": int,
    "STRING": str,
    "TENSOR": ArrayAttribute,
    "SPARSE_TENSOR": ArrayAttribute,
    "GRAPH": Graph,
    "TYPE_PROTO": str,
}


def check_bound(name: str, value: object, schema: onnx.defs.OpSchema) -> None:
    """Check the type of an attribute that a call of a function states for a node in its body.

    Raises:
        ModelError: the operator's attribute is of another type.
    """
    kind: str = schema.attributes[name].type.name  # type: ignore[attr-defined]
    plural = kind not in _VALUES
    items = value if plural and isinstance(value, tuple) else (value,)
    expected = _VALUES[kind.removesuffix("S") if plural else kind]
    if plural != isinstance(value, tuple) or not all(isinstance(v, expected) for v in items):
        raise ModelError(f"attribute '{name}' must be {kind}, the call states {value!r}")


def _check_count(what: str, found: int, least: int, most: int) -> None:
    if not least <= found <= most:
        expected = str(least) if least == most else f"{least} to {most}"
        if most > 2**20:
            expected = f"at least {least}"
        raise ModelError(f"{found} {what}, expected {expected}")
