# SPDX-License-Identifier: MIT
"""Which element types ONNX's operators take and give, by the schemas of the onnx package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from onnx import TensorProto, defs, helper

from ..ir.types import dtype_name

ML = "ai.onnx.ml"
ML_VERSION = 4
"""Version of ai.onnx.ml that is written."""

_SPELLINGS = {
    "float": "float32",
    "double": "float64",
    "float8e4m3fn": "float8_e4m3fn",
    "float8e4m3fnuz": "float8_e4m3fnuz",
    "float8e5m2": "float8_e5m2",
    "float8e5m2fnuz": "float8_e5m2fnuz",
    "float8e8m0": "float8_e8m0fnu",
    "float4e2m1": "float4_e2m1fn",
}


@lru_cache(maxsize=1024)
def _schema(type: str, version: int, domain: str) -> Any:
    return defs.get_schema(type, version, domain)


def element_type(text: str) -> str | None:
    """Return the element type of ONNX's name of a tensor type.

    >>> element_type("tensor(float)"), element_type("seq(tensor(float))")
    ('float32', None)
    """
    if not text.startswith("tensor("):
        return None
    name = text[len("tensor(") : -1]
    return _SPELLINGS.get(name, name)


def dtype_of_number(number: int) -> str:
    """Return the element type that has this number in ONNX.

    >>> dtype_of_number(1)
    'float32'
    """
    if number == TensorProto.STRING:
        return "string"
    return dtype_name(np.dtype(helper.tensor_dtype_to_np_dtype(number)))


def result_types(
    type: str,
    version: int,
    domain: str,
    inputs: Sequence[str | None],
    attributes: Mapping[str, Any],
) -> tuple[list[str | None], str]:
    """Return the results' element types as far as they follow, and what is wrong, if anything.

    Args:
        type: the operator.
        version: of its domain.
        domain: empty for ai.onnx.
        inputs: element types; ``None`` where one is unknown or the operand absent.
        attributes: of the node.
    """
    schema = _schema(type, version, domain)
    allowed = {c.type_param_str: c.allowed_type_strs for c in schema.type_constraints}
    bound: dict[str, str] = {}
    for k, dtype in enumerate(inputs):
        formal = schema.inputs[min(k, len(schema.inputs) - 1)]
        if dtype is None:
            continue
        takes = {element_type(t) for t in allowed.get(formal.type_str, [formal.type_str])}
        if dtype not in takes:
            return [], f"{type} does not take {dtype} for {formal.name} at opset {version}"
        if bound.setdefault(formal.type_str, dtype) != dtype and formal.is_homogeneous:
            return [], f"{type} does not take {dtype} for {formal.name} at opset {version} here"
    if "to" in attributes:
        wanted = dtype_of_number(attributes["to"])
        gives = {element_type(t) for t in allowed[schema.outputs[0].type_str]}
        problem = "" if wanted in gives else f"{type} does not give {wanted} at opset {version}"
        return [wanted], problem
    return [bound.get(o.type_str) or element_type(o.type_str) for o in schema.outputs], ""
