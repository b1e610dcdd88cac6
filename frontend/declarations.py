# SPDX-License-Identifier: MIT
"""Declared types of ONNX values as IR types."""

from __future__ import annotations

from onnx import TensorShapeProto, TypeProto

from ..errors import ModelError, UnsupportedError
from ..ir import Dim, OptionalType, SequenceType, TensorType, Type, UnknownType
from .names import Symbols, name
from .tensors import element_type

_NESTING = 16


def declared_type(proto: TypeProto, symbols: Symbols, depth: int = 0) -> Type:
    """Return the type that a model declares; unknown where it leaves rank or type open.

    Raises:
        ModelError: the element type is undefined or the nesting absurd.
        UnsupportedError: a map or sparse tensor.
    """
    if depth > _NESTING:
        raise ModelError(f"types are nested more than {_NESTING} deep")
    kind = proto.WhichOneof("value")
    if kind == "tensor_type":
        tensor = proto.tensor_type
        dtype = element_type(tensor.elem_type)
        if not tensor.HasField("shape"):
            return UnknownType()
        return TensorType(dtype, tuple(_dim(d, symbols) for d in tensor.shape.dim))
    if kind == "sequence_type":
        return SequenceType(declared_type(proto.sequence_type.elem_type, symbols, depth + 1))
    if kind == "optional_type":
        return OptionalType(declared_type(proto.optional_type.elem_type, symbols, depth + 1))
    if kind is None:
        return UnknownType()
    raise UnsupportedError(f"values of type {kind.removesuffix('_type')} are not supported")


def _dim(dim: TensorShapeProto.Dimension, symbols: Symbols) -> Dim:
    # Exporters write -1 for "any"; zero is a size like any other.
    if dim.HasField("dim_value") and dim.dim_value >= 0:
        return int(dim.dim_value)
    if dim.HasField("dim_param") and dim.dim_param:
        return symbols.named(name(dim.dim_param))
    return symbols.fresh()
