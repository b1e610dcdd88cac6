# SPDX-License-Identifier: MIT
"""Losses made of losses: sums, one per output, one per resolution, and the usual pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, TypeAlias

from ...errors import LayerError
from ...frontend import builder as nn
from ...frontend.builder import Tensor
from ...ir import Array
from .classification import BinaryCrossEntropy, CrossEntropy
from .loss import Loss, LossFunction
from .overlap import Dice

Shapes: TypeAlias = "Sequence[int] | Mapping[str, Sequence[int]]"
Targets: TypeAlias = "Array | Mapping[str, Array]"


@dataclass(frozen=True)
class WeightedSum:
    """``sum_k weights[k] losses[k](outputs, targets)``.

    Attributes:
        losses: what is added; any functions of outputs and targets.
        weights: one factor per loss; all 1 if left out.

    >>> from ranvier.frontend import builder as nn
    >>> from ranvier.training.losses import CrossEntropy, Focal
    >>> loss = WeightedSum((CrossEntropy(), Focal()), (1.0, 0.5))
    >>> loss(nn.input("scores", (4, 3)), nn.input("labels", (4,), "int64")).shape
    ()
    """

    losses: Sequence[LossFunction]
    weights: Sequence[float] | None = None

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the sum.

        Raises:
            LayerError: the numbers of losses and weights differ, or there is no loss.
        """
        weights = [1.0] * len(self.losses) if self.weights is None else list(self.weights)
        check_count("weighted_sum", weights, len(self.losses))
        terms = [loss(outputs, targets) for loss in self.losses]
        return weighted(terms, weights)

    def check_batch(self, shapes: Shapes, targets: Targets, samples: Array | None = None) -> None:
        """Check targets by every loss."""
        for loss in self.losses:
            check_batch(loss, shapes, targets, samples)


@dataclass(frozen=True, kw_only=True)
class DiceCrossEntropy(Loss):
    """``dice_weight * dice + cross_entropy_weight * cross entropy``, the loss of nnU-Net.

    Shapes: outputs (N, C, spatial...), targets: labels (N, 1?, spatial...) or one-hot.

    Attributes:
        dice: the first loss; by default without the background, as nnU-Net has it.
        cross_entropy: the second loss.
        dice_weight: factor of the first loss.
        cross_entropy_weight: factor of the second loss.

    References:
        F. Isensee et al., nnU-Net: a self-configuring method for deep learning-based biomedical
        image segmentation, Nature Methods 18, 2021.
    """

    name: ClassVar[str] = "dice_cross_entropy"
    dice: Loss = Dice(background=False)
    cross_entropy: Loss = CrossEntropy()
    dice_weight: float = 1.0
    cross_entropy_weight: float = 1.0

    def check_batch(
        self, shape: Sequence[int], targets: Array, samples: Array | None = None
    ) -> None:
        """Check targets by both."""
        for loss in (self.dice, self.cross_entropy):
            loss.check_batch(shape, targets, samples)

    def formula(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the sum of both."""
        terms = [self.dice(outputs, targets), self.cross_entropy(outputs, targets)]
        return weighted(terms, [self.dice_weight, self.cross_entropy_weight])


@dataclass(frozen=True, kw_only=True)
class DiceBinaryCrossEntropy(Loss):
    """``dice_weight * dice + cross_entropy_weight * binary cross entropy``, of masks.

    Shapes: outputs (N, C, spatial...), one mask per channel; targets as many masks, or labels
        (N, 1?, spatial...) if C > 1.

    Attributes:
        dice: the first loss; of sigmoids.
        cross_entropy: the second loss.
        dice_weight: factor of the first loss.
        cross_entropy_weight: factor of the second loss.
    """

    name: ClassVar[str] = "dice_binary_cross_entropy"
    dice: Loss = Dice(activation="sigmoid")
    cross_entropy: Loss = BinaryCrossEntropy()
    dice_weight: float = 1.0
    cross_entropy_weight: float = 1.0

    def check_batch(
        self, shape: Sequence[int], targets: Array, samples: Array | None = None
    ) -> None:
        """Check targets by both."""
        for loss in (self.dice, self.cross_entropy):
            loss.check_batch(shape, targets, samples)

    def formula(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the sum of both."""
        terms = [self.dice(outputs, targets), self.cross_entropy(outputs, targets)]
        return weighted(terms, [self.dice_weight, self.cross_entropy_weight])


@dataclass(frozen=True)
class PerOutput:
    """The sum of one loss per output of a model that has several.

    Attributes:
        losses: by name of the output; other outputs have no loss.
        weights: factors by name of the output, 1 where there is none.
        targets: the name of the target of an output, its own name where there is none.

    >>> from ranvier.frontend import builder as nn
    >>> from ranvier.training.losses import CrossEntropy, MeanSquaredError
    >>> loss = PerOutput({"kind": CrossEntropy(), "age": MeanSquaredError()}, {"age": 0.1})
    >>> outputs = {"kind": nn.input("kind", (4, 3)), "age": nn.input("age", (4, 1))}
    >>> targets = {"kind": nn.input("label", (4,), "int64"), "age": nn.input("years", (4,))}
    >>> loss(outputs, targets).shape
    ()
    """

    losses: Mapping[str, LossFunction]
    weights: Mapping[str, float] = field(default_factory=dict)
    targets: Mapping[str, str] = field(default_factory=dict)

    def __call__(
        self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor] | Tensor
    ) -> Tensor:
        """Return the sum.

        Args:
            outputs: by name.
            targets: by name; a single one is the target of all outputs.

        Raises:
            LayerError: an output or a target does not exist, or a name says nothing.
        """
        if isinstance(outputs, Tensor):
            raise LayerError("loss 'per_output': the model has one output, which needs no name")
        for unknown in (self.weights.keys() | self.targets.keys()) - self.losses.keys():
            raise _absent("loss", unknown, self.losses)
        terms = []
        for name, loss in self.losses.items():
            if name not in outputs:
                raise _absent("output", name, outputs)
            target = targets
            if not isinstance(target, Tensor):
                target = self._target(name, target)
            with nn.scope(name):
                terms.append(loss(outputs[name], target))
        return weighted(terms, [self.weights.get(name, 1.0) for name in self.losses])

    def check_batch(self, shapes: Shapes, targets: Targets, samples: Array | None = None) -> None:
        """Check the target of every output by its loss."""
        for name, loss in self.losses.items():
            shape = shapes[name] if isinstance(shapes, Mapping) else shapes
            named = isinstance(targets, Mapping)
            target = targets[self.targets.get(name, name)] if named else targets
            check_batch(loss, shape, target, samples)

    def _target(self, output: str, targets: Mapping[str, Tensor]) -> Tensor:
        name = self.targets.get(output, output)
        if name not in targets:
            raise _absent("target", name, targets)
        return targets[name]


@dataclass(frozen=True)
class DeepSupervision:
    """The weighted sum of one loss of outputs of several resolutions, and one target.

    The target is brought to the size of an output by picking the element in the middle of each
    block, so that labels stay labels.

    Shapes: outputs (N, C, spatial...), a sequence or a mapping in order, the finest first;
        targets with the spatial axes of the finest output, multiples of those of the others.

    Attributes:
        loss: applied to every output.
        weights: one per output; by default 1, 1/2, 1/4 ..., made to add up to 1.

    References:
        C.-Y. Lee et al., Deeply-supervised nets, AISTATS 2015; weights as F. Isensee et al.,
        nnU-Net, Nature Methods 18, 2021.

    >>> from ranvier.frontend import builder as nn
    >>> from ranvier.training.losses import CrossEntropy
    >>> outputs = [nn.input("fine", (1, 2, 8, 8)), nn.input("coarse", (1, 2, 4, 4))]
    >>> mask = nn.input("mask", (1, 8, 8), "uint8")
    >>> DeepSupervision(CrossEntropy())(outputs, mask).shape
    ()
    """

    loss: LossFunction
    weights: Sequence[float] | None = None

    def __call__(self, outputs: Sequence[Tensor] | Mapping[str, Tensor], targets: Tensor) -> Tensor:
        """Return the sum.

        Raises:
            LayerError: weights are too many or too few, or a size divides none of the target's.
        """
        levels = list(outputs.values() if isinstance(outputs, Mapping) else outputs)
        if self.weights is None:
            halves = [0.5**k for k in range(len(levels))]
            weights = [w / sum(halves) for w in halves]
        else:
            weights = list(self.weights)
        check_count("deep_supervision", weights, len(levels))
        terms = []
        for level, output in enumerate(levels):
            with nn.scope(f"level{level}"):
                terms.append(self.loss(output, _reduced(targets, output)))
        return weighted(terms, weights)

    def check_batch(self, shapes: Shapes, targets: Targets, samples: Array | None = None) -> None:
        """Check targets in full resolution."""
        finest = next(iter(shapes.values())) if isinstance(shapes, Mapping) else shapes
        check_batch(self.loss, finest, targets, samples)


@dataclass(frozen=True, kw_only=True)
class Minimize(Loss):
    """``sum(outputs) / N``: what the model puts out shall become small, whatever targets are."""

    name: ClassVar[str] = "min"

    def formula(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the sum per sample."""
        return nn.sum(outputs) / (outputs.shape[0] if outputs.rank else 1)


@dataclass(frozen=True, kw_only=True)
class NoLoss(Loss):
    """0: an output that nothing is learned from."""

    name: ClassVar[str] = "none"

    def formula(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return a constant."""
        return nn.constant(0, outputs)


def check_batch(
    loss: object, shapes: Shapes, targets: Targets, samples: Array | None = None
) -> None:
    """Raise if targets of a batch are invalid data for a loss; functions of one's own take all.

    Args:
        loss: any loss.
        shapes: of the outputs, by name if there are several.
        targets: by name if there are several.
        samples: the numbers of the samples in their dataset, for the message.

    Raises:
        InputError: the message names the first such target, its sample and its place.

    >>> import numpy as np
    >>> check_batch(CrossEntropy(), (2, 3), np.array([0, 3]), samples=np.array([17, 4]))
    Traceback (most recent call last):
    ranvier.errors.InputError: labels: sample 4 holds 3; expected 0 to 2
    """
    check = getattr(loss, "check_batch", None)
    if check is not None:
        check(shapes, targets, samples)


def weighted(terms: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Return the sum of scalars times factors; a factor of 1 costs nothing."""
    scaled = [t if w == 1 else t * w for t, w in zip(terms, weights, strict=True)]
    total = scaled[0]
    for term in scaled[1:]:
        total = total + term
    return total


def check_count(name: str, weights: Sequence[float], count: int) -> None:
    """Raise unless there are as many weights as terms, and one at least."""
    if len(weights) != count or not count:
        raise LayerError(
            f"loss '{name}': weights={list(weights)} must be {max(count, 1)}, one per term"
        )


def _absent(what: str, name: str, known: Mapping[str, object]) -> LayerError:
    return LayerError(
        f"loss 'per_output': there is no {what} '{name}'; there are: {', '.join(known) or 'none'}"
    )


def _reduced(targets: Tensor, output: Tensor) -> Tensor:
    """Return targets with the spatial axes of ``output``."""
    spatial = output.shape[2:]
    start = targets.rank - len(spatial)
    for axis, size in enumerate(spatial, start):
        whole = targets.shape[axis] if 0 < axis < targets.rank else 0
        if whole < size or whole % size:
            raise LayerError(
                f"loss 'deep_supervision': targets {targets} do not divide into blocks, one per "
                f"element of the output {output}"
            )
        step = whole // size
        if step > 1:
            targets = nn.crop(targets, axis, step // 2, whole, step=step)
    return targets
