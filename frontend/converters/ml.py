# SPDX-License-Identifier: MIT
"""Operators of ai.onnx.ml that the conformance suite covers."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...ir import Array, ArrayAttribute, Value, ops
from ...ir.ops.elementwise import result_type
from ..convert import Conversion, converter

DOMAIN = "ai.onnx.ml"


@converter("ArrayFeatureExtractor", domain=DOMAIN)
def array_feature_extractor(c: Conversion) -> Value:
    """Gather along the last axis; one axis counts as one row."""
    x, shape = c.operand(0), c.shape(0)
    if not shape:
        raise c.error("the data must have an axis")
    if len(shape) == 1:
        x = c.emit(ops.Reshape((1, *shape)), x)
    indices = c.emit(ops.Reshape((c.tensor(1).size,)), c.operand(1))
    message = f"an index is not from 0 to {shape[-1] - 1}"
    c.check(c.emit(ops.InRange(0, shape[-1]), indices), message)
    return c.emit(ops.Gather(result_type(x).rank - 1), x, indices)


@converter("Binarizer", domain=DOMAIN)
def binarizer(c: Conversion) -> Value:
    """Compare with the threshold."""
    x = c.operand(0)
    threshold = c.emit.scalar_like(c.attr("threshold", 0.0), x)
    return c.emit(ops.Cast(c.dtype(0)), c.emit(ops.Greater(), x, threshold))


@converter("LabelEncoder", domain=DOMAIN)
def label_encoder(c: Conversion) -> Value:
    """Look labels up; version 1 maps between strings and their positions."""
    if c.version < 2:
        classes = np.array(c.attr("classes_strings"), object)
        numbers = np.arange(len(classes))
        default = (
            np.array(c.attr("default_int64", -1), np.int64),
            np.array(c.attr("default_string", "_Unused"), object),
        )
        table = (classes, numbers, default[0])
        if c.dtype(0) != "string":
            table = (numbers, classes, default[1])
        return c.emit(ops.LookUp(*map(ArrayAttribute, table)), c.operand(0))
    keys, (values, kind) = _listed(c, "keys")[0], _listed(c, "values")
    table = (keys, values, _default(c, kind, values))
    return c.emit(ops.LookUp(*map(ArrayAttribute, table)), c.operand(0))


_LISTS: tuple[tuple[str, Any], ...] = (
    ("floats", np.float32),
    ("int64s", np.int64),
    ("strings", object),
    ("tensor", None),
)
_DEFAULTS: dict[str, Any] = {"floats": -0.0, "int64s": -1, "strings": "_Unused"}


def _listed(c: Conversion, stem: str) -> tuple[Array, str]:
    """Return the one attribute of keys or values that is there, and the end of its name."""
    found = [(k, dtype) for k, dtype in _LISTS if c.has(f"{stem}_{k}")]
    if len(found) != 1:
        raise c.error(f"needs exactly one of {', '.join(f'{stem}_{k}' for k, _ in _LISTS)}")
    ((kind, dtype),) = found
    return np.array(c.attr(f"{stem}_{kind}"), dtype), kind


def _default(c: Conversion, kind: str, values: Array) -> Array:
    """Return what stands for labels that are no key."""
    if kind == "tensor":
        if c.has("default_tensor"):
            return np.asarray(c.attr("default_tensor"))
        kind = {"f": "floats", "i": "int64s", "O": "strings"}[values.dtype.kind]
    return np.array(c.attr(f"default_{kind[:-1]}", _DEFAULTS[kind]), values.dtype)
