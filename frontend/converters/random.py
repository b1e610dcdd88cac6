# SPDX-License-Identifier: MIT
"""Random numbers: with a seed a constant function of it, without one new in every run."""

from __future__ import annotations

import numpy as np

from ...ir import Value, ops
from ..convert import Conversion, converter
from ..tensors import element_type


def random_key(c: Conversion) -> Value:
    """Emit the key of the node's ``seed``, or of a fresh one where it has none."""
    if not c.has("seed"):
        return c.emit(ops.RandomKey())
    bits = np.asarray(c.attr("seed"), np.float32).view(np.uint32)
    return c.emit(ops.RandomKey(int(bits)))


@converter("RandomUniform", "RandomUniformLike")
def random_uniform(c: Conversion) -> Value:
    """Emit uniform numbers of a stated shape, or in that of the operand."""
    shape, dtype = _shape_and_type(c)
    low, high = c.attr("low", 0.0), c.attr("high", 1.0)
    return c.emit(ops.RandomUniform(shape, low, high, dtype), random_key(c))


@converter("RandomNormal", "RandomNormalLike")
def random_normal(c: Conversion) -> Value:
    """Emit normal numbers of a stated shape, or in that of the operand."""
    shape, dtype = _shape_and_type(c)
    mean, scale = c.attr("mean", 0.0), c.attr("scale", 1.0)
    return c.emit(ops.RandomNormal(shape, mean, scale, dtype), random_key(c))


@converter("Multinomial")
def multinomial(c: Conversion) -> Value:
    """Emit classes drawn by their unnormalised log probabilities."""
    dtype = element_type(c.attr("dtype", 6))
    drawn = c.emit(ops.Multinomial(c.attr("sample_size", 1)), c.operand(0), random_key(c))
    return c.emit(ops.Cast(dtype), drawn)


def _shape_and_type(c: Conversion) -> tuple[tuple[int, ...], str]:
    code = c.attr("dtype", 0)
    if c.type.endswith("Like"):
        return c.shape(0), element_type(code) if code else c.dtype(0)
    return tuple(c.attr("shape")), element_type(code or 1)
