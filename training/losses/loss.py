# SPDX-License-Identifier: MIT
"""What all losses have in common: a name, wide arithmetic, a reduction, and errors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

from ...errors import LayerError
from ...frontend import builder as nn
from ...frontend.builder import Tensor
from ...ir import Array
from ...ir.types import FLOATS, numpy_dtype
from .labels import check_labels, check_shares

LossFunction: TypeAlias = Callable[[Any, Any], Tensor]
"""The outputs of a model and the targets in, a scalar out: a :class:`Loss` or any function.

Either is a tensor, or a mapping by name where there are several.
"""

REDUCTIONS = ("mean", "sum")


@dataclass(frozen=True, kw_only=True)
class Loss(ABC):
    """Base of losses: frozen dataclasses whose fields are options.

    Outputs narrower than float32 are widened first, so that sums over images neither overflow
    nor lose digits. Layers within a loss are called ``<name of the loss>.<layer>``.
    """

    name: ClassVar[str]
    of_classes: ClassVar[bool] = False
    """Whether targets are labels of channels, or from 0 to 1."""

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss, a scalar.

        Raises:
            LayerError: the loss does not take such outputs and targets.
        """
        given: tuple[object, ...] = (outputs, targets)
        if not all(isinstance(x, Tensor) for x in given):
            raise self.error(
                "expected one tensor of outputs and one of targets, found several by name; "
                "PerOutput says which loss takes which"
            )
        if outputs.dtype not in FLOATS:
            raise self.error(f"outputs must be floating point, found {outputs}")
        with nn.scope(self.name):
            return self.formula(widened(outputs), targets)

    @abstractmethod
    def formula(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of float32 or float64 outputs."""

    def check_batch(
        self, shape: Sequence[int], targets: Array, samples: Array | None = None
    ) -> None:
        """Raise if targets of a batch are invalid data, which a graph would not notice.

        Args:
            shape: of the outputs.
            targets: labels must be classes, or ``ignore_index``; masks and shares from 0 to 1.
            samples: the numbers of the samples in their dataset, for the message.

        Raises:
            InputError: the message names the first such target, its sample and its place.
        """
        if not self.of_classes:
            return
        ignored: int | None = getattr(self, "ignore_index", None)
        batch, *rest = shape
        labelled = ((batch, *rest[1:]), (batch, 1, *rest[1:]))
        if rest and rest[0] > 1 and targets.shape in labelled:
            check_labels(targets, rest[0], ignored, samples)
        else:
            check_shares(targets, ignored, samples)

    def error(self, message: str) -> LayerError:
        """Return an error that names the loss."""
        return LayerError(f"loss '{self.name}': {message}")

    def reduced(self, x: Tensor, reduction: str, counted: Tensor | None = None) -> Tensor:
        """Return the mean or the sum of all elements.

        Args:
            x: elements, 0 where they do not count.
            reduction: ``mean`` or ``sum``.
            counted: 1 where an element counts, broadcast to ``x``; all of them if left out.
                The mean of nothing is 0.
        """
        check_choice(self, "reduction", reduction, REDUCTIONS)
        if reduction == "sum":
            return nn.sum(x)
        if counted is None:
            return nn.mean(x)
        return quotient(nn.sum(x), nn.sum(nn.broadcast(counted, x.shape)))


def widened(x: Tensor) -> Tensor:
    """Return ``x`` in float32 if it is narrower."""
    return nn.cast(x, "float32") if numpy_dtype(x.dtype).itemsize < 4 else x


def quotient(total: Tensor, weight: Tensor) -> Tensor:
    """Return ``total / weight``, and ``total`` where the weight is 0, with finite gradients."""
    return total / nn.where(nn.equal(weight, 0), 1, weight)


def check_choice(loss: Loss, option: str, value: str, choices: Sequence[str]) -> None:
    """Raise unless an option is one of the choices."""
    if value not in choices:
        raise loss.error(f"{option}={value!r} must be one of {', '.join(choices)}")


def per_class(loss: Loss, option: str, weights: Sequence[float], outputs: Tensor) -> Tensor:
    """Return one number per channel of ``outputs``, in a shape that broadcasts to them.

    Raises:
        LayerError: there are too many or too few, or one is negative or not finite.
    """
    classes = outputs.shape[1]
    if len(weights) != classes or not all(0 <= w < float("inf") for w in weights):
        raise loss.error(
            f"{option}={list(weights)} must be {classes} numbers from 0 up, one per channel of "
            f"{outputs}"
        )
    return nn.reshape(nn.constant(weights, outputs), (classes, *(1 for _ in outputs.shape[2:])))
