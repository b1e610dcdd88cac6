# SPDX-License-Identifier: MIT
"""The focal loss, which turns attention to the elements that are hard."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ...frontend import builder as nn
from ...frontend.builder import Tensor
from .loss import Loss, check_choice, per_class
from .targets import check_scores, dense

_TINY = 1e-30
"""A power below 1 has an infinite gradient at 0; here it is large and still finite."""


@dataclass(frozen=True, kw_only=True)
class Focal(Loss):
    """``-w (1 - q)**gamma log q``, ``q`` the probability that the outputs give to the truth.

    With ``softmax``, ``q = p[y]``, and the mean is over elements (N, spatial...): gamma = 0 is
    the cross entropy. (MONAI divides by C too.) With ``sigmoid`` every channel is a decision,
    ``q = p`` where the target is 1 and ``1 - p`` where it is 0, and the mean is over all of them.

    Shapes: outputs (N, C, spatial...); targets: labels (N, 1?, spatial...) if C > 1, or one
        number per output (one-hot, or binary masks).

    Attributes:
        gamma: how much less easy elements count, from 0.
        alpha: for ``sigmoid`` the weight of positive targets; negative ones weigh ``1 - alpha``.
        weights: one per class.
        activation: ``softmax``, ``sigmoid``, or ``auto``: sigmoid for one channel.
        ignore_index: target of elements that do not count.
        reduction: ``mean`` or ``sum``.

    References:
        T.-Y. Lin et al., Focal loss for dense object detection, ICCV 2017.
    """

    name: ClassVar[str] = "focal"
    of_classes: ClassVar[bool] = True
    gamma: float = 2.0
    alpha: float | None = None
    weights: tuple[float, ...] | None = None
    activation: str = "auto"
    ignore_index: int | None = None
    reduction: str = "mean"

    def formula(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss by logarithms of probabilities, which are finite."""
        check_choice(self, "activation", self.activation, ("auto", "softmax", "sigmoid"))
        if self.gamma < 0:
            raise self.error(f"gamma={self.gamma} must be 0 or more")
        numbers, counts = dense(self, outputs, targets, self.ignore_index)
        single = outputs.shape[1] == 1
        if self.activation == "sigmoid" or (self.activation == "auto" and single):
            return self._independent(outputs, numbers, counts)
        return self._exclusive(outputs, numbers, counts)

    def _exclusive(self, x: Tensor, hot: Tensor, counts: Tensor | None) -> Tensor:
        check_scores(self, x)
        if self.alpha is not None:
            raise self.error(f"alpha={self.alpha} belongs to sigmoid; use weights, one per class")
        logarithms = nn.log_softmax(x, 1)
        terms = hot * logarithms
        if self.gamma:
            terms = terms * self._modulation(-nn.expm1(logarithms))
        if self.weights is not None:
            terms = terms * per_class(self, "weights", self.weights, x)
        if counts is not None:
            if counts.shape == x.shape:
                raise self.error(f"ignore_index={self.ignore_index} needs labels, not one-hot")
            counts = nn.max(counts, 1)
        return self.reduced(-nn.sum(terms, 1), self.reduction, counts)

    def _modulation(self, rest: Tensor) -> Tensor:
        """Return ``(1 - q)**gamma``."""
        if self.gamma == 1:
            return rest
        if self.gamma == 2:
            return nn.square(rest)
        return nn.power(nn.maximum(rest, _TINY), self.gamma)

    def _independent(self, x: Tensor, t: Tensor, counts: Tensor | None) -> Tensor:
        loss = nn.softplus(x) - t * x
        if self.gamma:  # 1 - q = sigmoid(-z) = e**-softplus(z) for the score z of the truth
            loss = loss * nn.exp(nn.softplus((2 * t - 1) * x) * -self.gamma)
        if self.alpha is not None:
            loss = loss * (t * self.alpha + (1 - t) * (1 - self.alpha))
        if self.weights is not None:
            loss = loss * per_class(self, "weights", self.weights, x)
        return self.reduced(loss if counts is None else loss * counts, self.reduction, counts)
