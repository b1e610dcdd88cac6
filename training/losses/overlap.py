# SPDX-License-Identifier: MIT
"""Losses of the overlap of regions: Dice, generalised Dice and Tversky."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from ...frontend import builder as nn
from ...frontend.builder import Tensor
from .loss import Loss, check_choice
from .targets import check_scores, dense

_ABSENT = 3e38
"""Larger than any region, and still a float32."""


@dataclass(frozen=True, kw_only=True)
class Overlap(Loss):
    """Base of losses that compare regions by sums over all elements of an image.

    Shapes: outputs (N, C, spatial...); targets: labels (N, 1?, spatial...) if C > 1, or one
        number per output (one-hot, or binary masks).

    Attributes:
        activation: what makes probabilities of the outputs: ``softmax``, ``sigmoid``, ``none``
            (they are probabilities), or ``auto``: sigmoid for one channel, softmax for more.
        background: whether channel 0 counts.
        batch: whether sums go over the images of a batch too, which steadies small regions.
        smooth: added to the numerator, so that nothing found where there is nothing is right.
        smooth_denominator: added to the denominator; ``None`` for as much.
        ignore_index: target of elements that do not count.
        reduction: ``mean`` or ``sum`` over what is left: images and channels.
    """

    of_classes: ClassVar[bool] = True
    activation: str = "auto"
    background: bool = True
    batch: bool = False
    smooth: float = 1e-5
    smooth_denominator: float | None = None
    ignore_index: int | None = None
    reduction: str = "mean"

    def formula(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the reduced loss of regions."""
        numbers, counts = dense(self, outputs, targets, self.ignore_index)
        shares = self._probabilities(outputs)
        if counts is not None:
            shares = shares * counts
        if not self.background and outputs.shape[1] == 1:
            raise self.error(f"background=False leaves nothing of one channel, {outputs}")
        return self.reduced(self.regions(shares, numbers), self.reduction)

    @abstractmethod
    def regions(self, p: Tensor, t: Tensor) -> Tensor:
        """Return the loss of probabilities and targets (N, C, spatial...) before the reduction."""

    def total(self, x: Tensor) -> Tensor:
        """Return sums over images, (N, C) or (C) if ``batch``, of the channels that count."""
        sums = nn.sum(x, (*((0,) if self.batch else ()), *range(2, x.rank)))
        return sums if self.background else nn.crop(sums, -1, 1, x.shape[1])

    def ratio(self, numerator: Tensor, denominator: Tensor) -> Tensor:
        """Return the smoothed quotient."""
        extra = self.smooth if self.smooth_denominator is None else self.smooth_denominator
        return (numerator + self.smooth) / (denominator + extra)

    def _probabilities(self, outputs: Tensor) -> Tensor:
        choices = ("auto", "softmax", "sigmoid", "none")
        check_choice(self, "activation", self.activation, choices)
        single = outputs.shape[1] == 1
        if self.activation == "none":
            return outputs
        if self.activation == "sigmoid" or (self.activation == "auto" and single):
            return nn.sigmoid(outputs)
        check_scores(self, outputs)
        return nn.softmax(outputs, 1)


@dataclass(frozen=True, kw_only=True)
class Dice(Overlap):
    """``1 - (2 sum p t + smooth) / (sum p + sum t + smooth)`` per image and channel.

    Shapes and further options: :class:`Overlap`.

    Attributes:
        squared: whether the denominator is ``sum p**2 + sum t**2``.
        jaccard: whether it is the intersection over the union instead.
        weights: one factor per channel that counts.

    References:
        F. Milletari et al., V-Net, 3DV 2016 (squared); M. Drozdzal et al., The importance of
        skip connections in biomedical image segmentation, 2016 (arXiv:1608.04117).

    >>> from ranvier.frontend import builder as nn
    >>> scores, mask = nn.input("scores", (2, 3, 8, 8)), nn.input("mask", (2, 8, 8), "uint8")
    >>> Dice(background=False, batch=True)(scores, mask).shape
    ()
    """

    name: ClassVar[str] = "dice"
    squared: bool = False
    jaccard: bool = False
    weights: tuple[float, ...] | None = None

    def regions(self, p: Tensor, t: Tensor) -> Tensor:
        """Return the loss per image and channel, or per channel."""
        common = self.total(p * t)
        squares = (nn.square(p), nn.square(t)) if self.squared else (p, t)
        both = self.total(squares[0]) + self.total(squares[1])
        both = (both - common) * 2 if self.jaccard else both
        loss = 1 - self.ratio(common * 2, both)
        if self.weights is None:
            return loss
        if len(self.weights) != loss.shape[-1]:
            raise self.error(
                f"weights={self.weights} must be {loss.shape[-1]}, one per channel that counts"
            )
        return loss * nn.constant(self.weights, p)


@dataclass(frozen=True, kw_only=True)
class GeneralizedDice(Overlap):
    """``1 - (2 sum_c w[c] sum p t + smooth) / (sum_c w[c] (sum p + sum t) + smooth)`` per image.

    The weight of a channel is ``(s / sum t)**2`` (``square``) or ``s / sum t`` (``simple``),
    where ``s`` is the smallest region that there is, or 1 (``uniform``): small regions count as
    much as large ones. A channel whose region is empty weighs as much as the smallest one. (The
    paper has no ``s``, which makes no difference but for what ``smooth`` amounts to.)

    Shapes and further options: :class:`Overlap`.

    Attributes:
        weighting: ``square``, ``simple`` or ``uniform``.

    References:
        C. H. Sudre et al., Generalised Dice overlap as a deep learning loss function for highly
        unbalanced segmentations, DLMIA 2017.
    """

    name: ClassVar[str] = "generalized_dice"
    weighting: str = "square"

    def regions(self, p: Tensor, t: Tensor) -> Tensor:
        """Return the loss per image, or of the batch."""
        check_choice(self, "weighting", self.weighting, ("square", "simple", "uniform"))
        weights = self._weights(self.total(t))
        common = nn.sum(weights * self.total(p * t), -1) * 2
        return 1 - self.ratio(common, nn.sum(weights * (self.total(p) + self.total(t)), -1))

    def _weights(self, sizes: Tensor) -> Tensor:
        if self.weighting == "uniform":
            return nn.broadcast(nn.constant(1, sizes), sizes.shape)
        present = nn.greater(sizes, 0)
        smallest = nn.min(nn.where(present, sizes, _ABSENT), -1, keep=True)
        simple = nn.where(present, smallest / nn.where(present, sizes, 1), 1)
        return nn.square(simple) if self.weighting == "square" else simple


@dataclass(frozen=True, kw_only=True)
class Tversky(Overlap):
    """``1 - (TP + smooth) / (TP + alpha FP + beta FN + smooth)`` per image and channel.

    ``TP = sum p t``, ``FP = sum p (1 - t)``, ``FN = sum (1 - p) t``. With alpha = beta = 1/2 it
    is :class:`Dice`, with 1 the intersection over the union; a larger beta favours recall.

    Shapes and further options: :class:`Overlap`.

    Attributes:
        alpha: weight of false positives.
        beta: weight of false negatives.

    References:
        S. S. M. Salehi et al., Tversky loss function for image segmentation using 3D fully
        convolutional deep networks, MLMI 2017.
    """

    name: ClassVar[str] = "tversky"
    alpha: float = 0.5
    beta: float = 0.5

    def regions(self, p: Tensor, t: Tensor) -> Tensor:
        """Return the loss per image and channel, or per channel."""
        common = self.total(p * t)
        false = (self.total(p) - common) * self.alpha + (self.total(t) - common) * self.beta
        return 1 - self.ratio(common, common + false)
