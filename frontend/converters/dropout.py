# SPDX-License-Identifier: MIT
"""Converter of Dropout: nothing is dropped unless the model asks for training."""

from __future__ import annotations

from ...ir import Value, ops
from ...ir.ops.shape import filled
from ..convert import Conversion, converter
from .tensor import scalar


@converter("Dropout")
def dropout(c: Conversion) -> tuple[Value, Value]:
    """Return the operand and a mask of ones, or random zeros and where they are not."""
    x, shape = c.operand(0), c.shape(0)
    # The mask became boolean in version 10.
    mask_dtype = "bool" if c.version >= 10 else c.dtype(0)
    if not _training(c):
        return _site(c, x), filled(c.emit, 1, mask_dtype, shape)
    y, mask = c.emit.multi(ops.Dropout(), x, _uniform(c, shape), _ratio(c))
    return y, mask if mask_dtype == "bool" else c.emit(ops.Cast(mask_dtype), mask)


def _site(c: Conversion, x: Value) -> Value:
    """Return the operand, marked with the share that training drops where that is known."""
    if c.version < 12 or c.entry(1) is None:
        ratio = c.attr("ratio", 0.5)
    else:
        known = c.known(1)
        ratio = 0.0 if known is None else float(known)
    return c.emit(ops.DropoutSite(ratio), x) if 0 < ratio < 1 else x


def _training(c: Conversion) -> bool:
    """Whether elements are dropped; versions 7 and 10 never do."""
    if c.version < 7:
        return not c.attr("is_test", 0)
    if c.version < 12 or c.entry(2) is None or not c.array(2).all():
        return False
    ratio = c.known(1)
    return ratio is None or bool((ratio != 0).all())


def _ratio(c: Conversion) -> Value:
    if c.version < 12 or c.entry(1) is None:
        return c.emit.constant(c.attr("ratio", 0.5), "float32")
    return scalar(c, 1)


def _uniform(c: Conversion, shape: tuple[int, ...]) -> Value:
    """Return numbers in [0, 1): those that NumPy gives for a stated seed, or fresh ones."""
    if c.has("seed"):
        return c.emit(ops.LegacyUniform(c.attr("seed"), shape))
    return c.emit(ops.RandomUniform(shape), c.emit(ops.RandomKey()))
