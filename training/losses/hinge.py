# SPDX-License-Identifier: MIT
"""Hinge losses: scores on the right side of a margin cost nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ...frontend import builder as nn
from ...frontend.builder import Tensor
from .loss import Loss
from .targets import aligned, check_scores, labels


@dataclass(frozen=True, kw_only=True)
class Hinge(Loss):
    """``max(0, margin - s x)`` of a score ``x``, ``s`` = 1 for positive targets and else -1.

    Shapes: outputs any, targets the same (0 and 1, or -1 and 1); outputs (N, 1, spatial...)
        also take targets (N, spatial...).

    Attributes:
        margin: how far on the right side a score costs nothing.
        squared: whether the square is taken.
        reduction: ``mean`` or ``sum``.
    """

    name: ClassVar[str] = "hinge"
    margin: float = 1.0
    squared: bool = False
    reduction: str = "mean"

    def formula(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of signs."""
        positive = nn.greater(aligned(self, outputs, targets), 0)
        signs = nn.cast(positive, outputs.dtype) * 2 - 1
        short = nn.relu(self.margin - outputs * signs)
        return self.reduced(nn.square(short) if self.squared else short, self.reduction)


@dataclass(frozen=True, kw_only=True)
class MultiClassHinge(Loss):
    """``1 / C * sum over c != y of max(0, margin - x[y] + x[c])`` of scores ``x``.

    Shapes: outputs (N, C, spatial...), targets: labels (N, 1?, spatial...).

    Attributes:
        margin: how far the right score must be above the others.
        squared: whether the terms are squared.
        reduction: ``mean`` or ``sum``.

    References:
        K. Crammer, Y. Singer, On the algorithmic implementation of multiclass kernel-based
        vector machines, JMLR 2, 2001; the sum over classes is that of J. Weston, C. Watkins,
        Support vector machines for multi-class pattern recognition, ESANN 1999.
    """

    name: ClassVar[str] = "multi_class_hinge"
    of_classes: ClassVar[bool] = True
    margin: float = 1.0
    squared: bool = False
    reduction: str = "mean"

    def formula(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of all classes but the right one."""
        check_scores(self, outputs)
        classes = outputs.shape[1]
        hot = nn.one_hot(labels(self, outputs, targets), classes, dtype=outputs.dtype)
        right = nn.sum(outputs * hot, 1, keep=True)
        short = nn.relu(self.margin - right + outputs)
        terms = (nn.square(short) if self.squared else short) * (1 - hot)
        return self.reduced(nn.sum(terms, 1) / classes, self.reduction)
