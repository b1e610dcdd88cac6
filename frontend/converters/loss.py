# SPDX-License-Identifier: MIT
"""Classification losses."""

from __future__ import annotations

from ...ir import Value, ops
from ...ir.ops.elementwise import result_type
from ..convert import Conversion, converter


@converter("NegativeLogLikelihoodLoss")
def negative_log_likelihood(c: Conversion) -> Value:
    """Emit the loss of log probabilities."""
    op = ops.NegativeLogLikelihood(c.attr("reduction", "mean"), c.attr("ignore_index"))
    return c.emit(op, *_operands(c))


@converter("SoftmaxCrossEntropyLoss")
def softmax_cross_entropy(c: Conversion) -> tuple[Value, ...]:
    """Emit the loss of scores, with the log probabilities if the model uses them."""
    reduction, ignored = c.attr("reduction", "mean"), c.attr("ignore_index")
    op = ops.SoftmaxCrossEntropy(reduction, ignored, logarithms=c.wants(1))
    return c.emit.multi(op, *_operands(c))


def _operands(c: Conversion) -> list[Value]:
    """Return the operands; a label that is no class must be the ignored one."""
    classes, ignored, labels = c.shape(0)[1], c.attr("ignore_index"), c.operand(1)
    counted = labels
    if ignored is not None:
        # A label is a class where it is ignored: 0 is always one.
        marker = c.emit.constant(ignored, "int64")
        wide = c.emit(ops.Cast("int64"), labels)
        zero = c.emit.constant(0, "int64")
        counted = c.emit(ops.Select(), c.emit(ops.Equal(), wide, marker), zero, wide)
    inside = c.emit(ops.InRange(0, classes), counted)
    c.check(inside, f"labels must be from 0 to {classes - 1} or ignore_index ({ignored})")
    weights = c.optional(2)
    if weights is not None and result_type(weights).dtype != c.dtype(0):
        weights = c.emit(ops.Cast(c.dtype(0)), weights)
    return [c.operand(0), labels] if weights is None else [c.operand(0), labels, weights]
