# SPDX-License-Identifier: MIT
"""Classification losses: negative log likelihood and softmax cross entropy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ..op import Types, Values
from ..types import INTEGERS, Type
from .arithmetic import Div, Mul, Neg
from .elementwise import result_type
from .normalization import channels
from .reduction import ReduceMean, ReduceSum
from .shape import BroadcastTo, Iota, expand_axes
from .softmax import LogSoftmax
from .widening import Widened

if TYPE_CHECKING:
    from ..emitter import Emitter
    from ..graph import Value

REDUCTIONS = ("none", "sum", "mean")


@dataclass(frozen=True)
class Loss(Widened):
    """Base of losses of one class label per element.

    Shapes: scores (N, C, D1, ...), labels (N, D1, ...) of an integer type, optional weights
        (C). Results: the loss (), or (N, D1, ...) if nothing is reduced.

    A label outside 0 ... C - 1 contributes nothing, like the label ``ignore_index``.

    Attributes:
        reduction: ``none``, ``sum``, or ``mean``: the sum divided by the sum of the weights of
            the labels that are not ignored.
        ignore_index: label of elements that do not count; ``None`` for none.
    """

    reduction: str = "mean"
    ignore_index: int | None = None

    def infer(self, *inputs: Type) -> Types:
        """Return the types of the expansion's results after checking shapes."""
        types = self.tensors(inputs)
        if len(types) not in (2, 3):
            raise self.error(f"expected scores, labels and perhaps weights, found {len(types)}")
        scores, labels = types[:2]
        if scores.rank < 2 or labels.shape != (scores.shape[0], *scores.shape[2:]):
            raise self.error(f"labels {labels} do not fit scores {scores} (N, C, D1, ...)")
        if labels.dtype not in INTEGERS:
            raise self.error(f"labels must be integers, found {labels}")
        if len(types) == 3 and types[2].shape != scores.shape[1:2]:
            raise self.error(f"weights {types[2]} must be one per class of {scores}")
        if self.reduction not in REDUCTIONS:
            raise self.error(f"reduction must be one of {REDUCTIONS}, found {self.reduction!r}")
        return super().infer(*inputs)

    def reduced(self, emit: Emitter, logarithms: Value, labels: Value, weights: Values) -> Value:
        """Emit the loss of log probabilities.

        The label's element is selected, not gathered: no label can read out of bounds, the
        gradient needs no scatter, and infinite logarithms of other classes stay out.
        """
        from .comparison import Equal, Select

        type = result_type(logarithms)
        zero = emit.scalar_like(0, logarithms)
        classes = emit(Iota(result_type(labels).dtype, type.dims, 1))
        chosen = emit(Equal(), classes, expand_axes(emit, labels, (1,)))
        loss = emit(ReduceSum((1,)), emit(Select(), chosen, emit(Neg(), logarithms), zero))
        if not weights and self.ignore_index is None:
            return self._plain(emit, loss)
        weight = self._weight(emit, chosen, logarithms, weights)
        if self.ignore_index is not None:
            ignored = emit(Equal(), labels, emit.scalar_like(self.ignore_index, labels))
            weight = emit(Select(), ignored, zero, weight)
            loss = emit(Select(), ignored, zero, loss)
        return self._weighted(emit, loss, weight)

    def _weight(self, emit: Emitter, chosen: Value, like: Value, weights: Values) -> Value:
        """Emit the weight of each element's label."""
        from .comparison import Select

        dims = result_type(like).dims
        if not weights:
            return emit(BroadcastTo((dims[0], *dims[2:])), emit.scalar_like(1, like))
        rows = channels(emit, weights[0], like)
        return emit(ReduceSum((1,)), emit(Select(), chosen, rows, emit.scalar_like(0, like)))

    def _plain(self, emit: Emitter, loss: Value) -> Value:
        axes = tuple(range(result_type(loss).rank))
        if self.reduction == "none":
            return loss
        return emit(ReduceSum(axes) if self.reduction == "sum" else ReduceMean(axes), loss)

    def _weighted(self, emit: Emitter, loss: Value, weight: Value) -> Value:
        axes = tuple(range(result_type(loss).rank))
        loss = emit(Mul(), loss, weight)
        if self.reduction == "none":
            return loss
        total = emit(ReduceSum(axes), loss)
        if self.reduction == "sum":
            return total
        return emit(Div(), total, emit(ReduceSum(axes), weight))


@dataclass(frozen=True)
class NegativeLogLikelihood(Loss):
    """``loss = -weight[label] * x[label]`` for log probabilities ``x``, reduced.

    ONNX: NegativeLogLikelihoodLoss-22.
    """

    name: ClassVar[str] = "negative_log_likelihood"

    def formula(self, emit: Emitter, *inputs: Value) -> Values:
        """Select by the labels and reduce."""
        logarithms, labels, *weights = inputs
        return (self.reduced(emit, logarithms, labels, tuple(weights)),)


@dataclass(frozen=True)
class SoftmaxCrossEntropy(Loss):
    """Negative log likelihood of ``log_softmax(scores)`` along the class axis.

    Results: the loss and, with ``logarithms``, the log probabilities (N, C, D1, ...).
    ONNX: SoftmaxCrossEntropyLoss-13.

    Attributes:
        logarithms: whether the log probabilities are a result too.
    """

    name: ClassVar[str] = "softmax_cross_entropy"
    logarithms: bool = False

    def formula(self, emit: Emitter, *inputs: Value) -> Values:
        """Normalise, select by the labels and reduce."""
        scores, labels, *weights = inputs
        logarithms = emit(LogSoftmax(1), scores)
        loss = self.reduced(emit, logarithms, labels, tuple(weights))
        return (loss, logarithms) if self.logarithms else (loss,)


__all__ = ["NegativeLogLikelihood", "SoftmaxCrossEntropy"]
