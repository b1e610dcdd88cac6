# SPDX-License-Identifier: MIT
"""Cross entropies: of labels, of probabilities, and of independent binary decisions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ...frontend import builder as nn
from ...frontend.builder import Tensor
from .loss import REDUCTIONS, Loss, check_choice, per_class, quotient
from .targets import aligned, check_scores, dense, holds_labels, labels, mismatch


@dataclass(frozen=True, kw_only=True)
class CrossEntropy(Loss):
    """``-w[y] log p[y]`` with ``p = softmax(outputs)``: classes that exclude each other.

    With ``label_smoothing`` e: ``-(1 - e) w[y] log p[y] - e / C * sum_c w[c] log p[c]``.
    The mean is the sum divided by the sum of ``w[y]`` over the labels that count, and 0 if none
    does. A label that is no class adds nothing to the sum: it is data's mistake, which
    :func:`~ranvier.training.losses.check_labels` finds.

    Shapes: outputs (N, C, spatial...), targets: labels (N, spatial...) or (N, 1, spatial...).
        One-hot targets (N, C, spatial...) are taken too, as by :class:`SoftCrossEntropy`.

    Attributes:
        weights: one per class.
        label_smoothing: share of the target that all classes get, from 0 to below 1.
        ignore_index: label of elements that do not count.
        reduction: ``mean`` or ``sum``.

    References:
        C. Szegedy et al., Rethinking the Inception architecture, CVPR 2016 (smoothing).

    >>> from ranvier.frontend import builder as nn
    >>> scores = nn.input("scores", (8, 3, 64, 64))
    >>> labels = nn.input("labels", (8, 64, 64), "uint8")
    >>> str(CrossEntropy(weights=(0.2, 0.4, 0.4), ignore_index=255)(scores, labels))
    'float32[]'
    """

    name: ClassVar[str] = "cross_entropy"
    of_classes: ClassVar[bool] = True
    weights: tuple[float, ...] | None = None
    label_smoothing: float = 0.0
    ignore_index: int | None = None
    reduction: str = "mean"

    def formula(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss; without options it is a single op."""
        check_scores(self, outputs)
        check_choice(self, "reduction", self.reduction, REDUCTIONS)
        if not 0 <= self.label_smoothing < 1:
            raise self.error(f"label_smoothing={self.label_smoothing} must be from 0 to below 1")
        if not holds_labels(outputs, targets):
            return self._of_shares(outputs, targets)
        found = labels(self, outputs, targets)
        if self.weights is None and self.ignore_index is None and not self.label_smoothing:
            return nn.cross_entropy(outputs, found, reduction=self.reduction)
        total = (
            self._smoothed(outputs, found) if self.label_smoothing else self._sum(outputs, found)
        )
        return total if self.reduction == "sum" else quotient(total, self._weight(outputs, found))

    def _of_shares(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of one-hot targets."""
        if targets.shape != outputs.shape:
            raise mismatch(self, outputs, targets, one_hot=True)
        if self.ignore_index is not None:
            raise self.error(f"ignore_index={self.ignore_index} needs labels, found {targets}")
        smooth, shares = self.label_smoothing, aligned(self, outputs, targets)
        if smooth:
            shares = shares * (1 - smooth) + smooth / outputs.shape[1]
        soft = SoftCrossEntropy(weights=self.weights, reduction=self.reduction)
        return soft.formula(outputs, shares)

    def _sum(self, outputs: Tensor, found: Tensor) -> Tensor:
        weights = None
        if self.weights is not None:
            weights = nn.flatten(per_class(self, "weights", self.weights, outputs), 0)
        ignored = self.ignore_index
        return nn.cross_entropy(outputs, found, weights, reduction="sum", ignore_index=ignored)

    def _smoothed(self, outputs: Tensor, found: Tensor) -> Tensor:
        smooth = self.label_smoothing
        hot, counts = dense(self, outputs, found, self.ignore_index)
        shares = hot * (1 - smooth) + smooth / outputs.shape[1]
        if self.weights is not None:
            shares = shares * per_class(self, "weights", self.weights, outputs)
        terms = shares * nn.log_softmax(outputs, 1)
        return -nn.sum(terms if counts is None else terms * counts)

    def _weight(self, outputs: Tensor, found: Tensor) -> Tensor:
        """Return the sum of the weights of the labels that count."""
        if self.weights is not None:
            hot, _ = dense(self, outputs, found, self.ignore_index)
            return nn.sum(hot * per_class(self, "weights", self.weights, outputs))
        if self.ignore_index is None:
            return nn.constant(found.type.size, outputs)
        return nn.sum(nn.cast(nn.not_equal(found, self.ignore_index), outputs.dtype))


@dataclass(frozen=True, kw_only=True)
class SoftCrossEntropy(Loss):
    """``-sum_c w[c] t[c] log p[c]`` with ``p = softmax(outputs)`` and probabilities ``t``.

    The mean is over the elements (N, spatial...), whatever the weights are.

    Shapes: outputs and targets (N, C, spatial...).

    Attributes:
        weights: one per class.
        reduction: ``mean`` or ``sum``.
    """

    name: ClassVar[str] = "soft_cross_entropy"
    of_classes: ClassVar[bool] = True
    weights: tuple[float, ...] | None = None
    reduction: str = "mean"

    def formula(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss by logarithms of the softmax, which are finite."""
        check_scores(self, outputs)
        terms = aligned(self, outputs, targets) * nn.log_softmax(outputs, 1)
        if self.weights is not None:
            terms = terms * per_class(self, "weights", self.weights, outputs)
        return self.reduced(-nn.sum(terms, 1), self.reduction)


@dataclass(frozen=True, kw_only=True)
class BinaryCrossEntropy(Loss):
    """``-w t log p - (1 - t) log(1 - p)`` with ``p = sigmoid(outputs)``: decisions by themselves.

    Computed as ``(1 + (w - 1) t) softplus(x) - w t x`` of scores ``x``, which is never NaN and,
    for ``t`` of 0 or 1, never negative.

    Shapes: outputs (N, C, spatial...) or any other, targets of the same shape; or labels
        (N, 1?, spatial...) of C > 1 channels.

    Attributes:
        pos_weight: ``w``: one number, or one per channel; above 1 it favours recall.
        ignore_index: target of elements that do not count.
        reduction: ``mean`` or ``sum``.

    >>> from ranvier.frontend import builder as nn
    >>> scores, mask = nn.input("scores", (2, 1, 8, 8)), nn.input("mask", (2, 8, 8), "bool")
    >>> BinaryCrossEntropy(pos_weight=3.0)(scores, mask).shape
    ()
    """

    name: ClassVar[str] = "binary_cross_entropy"
    of_classes: ClassVar[bool] = True
    pos_weight: float | tuple[float, ...] | None = None
    ignore_index: int | None = None
    reduction: str = "mean"

    def formula(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss by the softplus, which does not overflow."""
        counts: Tensor | None = None
        if outputs.rank < 2:
            if self.ignore_index is not None:
                raise self.error(f"ignore_index needs outputs (N, C, spatial...), found {outputs}")
            numbers = aligned(self, outputs, targets)
        else:
            numbers, counts = dense(self, outputs, targets, self.ignore_index)
        elements = self._elements(outputs, numbers)
        return self.reduced(
            elements if counts is None else elements * counts, self.reduction, counts
        )

    def _elements(self, x: Tensor, t: Tensor) -> Tensor:
        if self.pos_weight is None:
            return nn.softplus(x) - t * x
        if isinstance(self.pos_weight, tuple):
            if x.rank < 2:
                raise self.error(f"pos_weight={self.pos_weight} needs channels, found {x}")
            t_weighted = t * per_class(self, "pos_weight", self.pos_weight, x)
        else:
            t_weighted = t * self.pos_weight
        return (t_weighted + (1 - t)) * nn.softplus(x) - t_weighted * x
