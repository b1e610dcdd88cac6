# SPDX-License-Identifier: MIT
"""Samples of ops over blocks: optimizer steps, means of weights, norms."""

from __future__ import annotations

import numpy as np

from ranvier.ir import Array, ops
from samples import Sample

_RNG = np.random.default_rng(53)
_POSITIVE = {"square", "largest", "moved"}
_NUMBERS = {"count": 3, "product": 0.5, "scale": 0.5, "keep": 0.9, "add": 0.1, "floor": -0.1}


def operands(op: ops.BlockOp, blocks: int = 3, size: int = 16, **given: float) -> tuple[Array, ...]:
    """Return operands of ``op``: states that may occur, ``given`` numbers in place of others."""
    numbers = {**_NUMBERS, **given}
    arrays = []
    for operand in op.operands():
        shape = (blocks, size)[: operand.axes]
        array = _RNG.uniform(0.1, 0.3, shape)
        if operand.name in numbers:
            array = np.full(shape, numbers[operand.name])
        elif operand.name in _POSITIVE:
            array = _RNG.uniform(0.5, 1, shape)
        elif operand.axes == 2:
            array = _RNG.standard_normal(shape)
            if operand.name == "mean":
                array /= 10
        arrays.append(np.asarray(array, operand.dtype or "float32"))
    return tuple(arrays)


def _sample(op: ops.BlockOp, label: str = "", blocks: int = 3, size: int = 16) -> Sample:
    return Sample(op, operands(op, blocks, size), label, gradient=False)


def _first(op: ops.BlockOp) -> Sample:
    return Sample(op, operands(op, count=1), "first", gradient=False)


SAMPLES = [
    _sample(ops.Descent()),
    _sample(ops.Descent(momentum=0.9, dampening=0.2), "dampened"),
    _first(ops.Descent(momentum=0.9, dampening=0.2)),
    _sample(ops.Descent(0.1, True, True, True, 0.9, nesterov=True), "nesterov"),
    _sample(ops.Descent(momentum=0.9), "one-block", blocks=1),
    _sample(ops.Descent(momentum=0.9), "no-vectors", size=3),
    _sample(ops.LarsStep(momentum=0.8)),
    _sample(ops.BlockNorms(clip=0.3, regularised=True)),
    _sample(ops.BlockSquares()),
    _sample(ops.Blend()),
    _sample(ops.AdamStep()),
    _sample(ops.AdamStep(amsgrad=True, decoupled=True), "amsgrad"),
    _first(ops.AdamStep(clip=0.1)),
    _sample(ops.LambDirection()),
    _sample(ops.NAdamStep()),
    _sample(ops.AdamaxStep()),
    _sample(ops.RmsPropStep()),
    _sample(ops.RmsPropStep(momentum=0.9, centered=True), "centered"),
    _sample(ops.AdagradStep(rate_decay=0.1)),
    _sample(ops.AdadeltaStep()),
]
