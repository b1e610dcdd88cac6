# SPDX-License-Identifier: MIT
"""Inputs and outputs described as onnxruntime describes them."""

from __future__ import annotations

from dataclasses import dataclass

from .program import OptionalSpec, SequenceSpec, TensorSpec, UnknownSpec, ValueSpec

_ELEMENTS = {
    "float32": "float",
    "float64": "double",
    "float8_e4m3fn": "float8e4m3fn",
    "float8_e4m3fnuz": "float8e4m3fnuz",
    "float8_e5m2": "float8e5m2",
    "float8_e5m2fnuz": "float8e5m2fnuz",
    "float8_e8m0fnu": "float8e8m0",
    "float4_e2m1fn": "float4e2m1",
}


@dataclass(frozen=True)
class NodeArg:
    """Name, type such as ``tensor(float)``, and shape of an input or output.

    Attributes:
        name: as in the model.
        type: in onnxruntime's notation.
        shape: sizes, and names of symbolic dimensions; empty for sequences and optionals.
        dtype: the name of the NumPy or ml_dtypes element type; empty likewise.
    """

    name: str
    type: str
    shape: list[int | str]
    dtype: str = ""


def node_arg(spec: ValueSpec) -> NodeArg:
    """Return the description of an input or output.

    >>> node_arg(TensorSpec("x", "float32", ("N", 3)))
    NodeArg(name='x', type='tensor(float)', shape=['N', 3], dtype='float32')
    """
    if isinstance(spec, TensorSpec):
        return NodeArg(spec.name, ort_type(spec), list(spec.shape), spec.dtype)
    return NodeArg(spec.name, ort_type(spec), [])


def ort_type(spec: ValueSpec | None) -> str:
    """Return a type in onnxruntime's notation.

    >>> ort_type(SequenceSpec("s", TensorSpec("", "int64", ())))
    'seq(tensor(int64))'
    """
    if isinstance(spec, SequenceSpec):
        return f"seq({ort_type(spec.element)})"
    if isinstance(spec, OptionalSpec):
        return f"optional({ort_type(spec.element)})"
    if isinstance(spec, UnknownSpec):
        return "unknown"
    return f"tensor({_ELEMENTS.get(spec.dtype, spec.dtype)})" if spec else "unknown"
