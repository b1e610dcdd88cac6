# SPDX-License-Identifier: MIT
"""Losses of numbers: squared, absolute, relative and logarithmic errors, and Huber's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ...frontend import builder as nn
from ...frontend.builder import Tensor
from .loss import Loss
from .targets import aligned


@dataclass(frozen=True, kw_only=True)
class Regression(Loss):
    """Base of losses of one number per output.

    Shapes: outputs any, targets the same; outputs (N, 1, spatial...) also take targets
        (N, spatial...).

    Attributes:
        reduction: ``mean`` or ``sum``.
    """

    reduction: str = "mean"

    def formula(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the reduced loss of the elements."""
        elements = self.elements(outputs, aligned(self, outputs, targets))
        return self.reduced(elements, self.reduction)

    def elements(self, x: Tensor, t: Tensor) -> Tensor:
        """Return the loss of every element."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class MeanSquaredError(Regression):
    """``(x - t)**2``. Shapes and options: :class:`Regression`.

    >>> from ranvier.frontend import builder as nn
    >>> x, t = nn.input("x", (4, 1)), nn.input("t", (4,))
    >>> MeanSquaredError()(x, t).shape
    ()
    """

    name: ClassVar[str] = "mse"

    def elements(self, x: Tensor, t: Tensor) -> Tensor:
        """Return squared differences."""
        return nn.square(x - t)


@dataclass(frozen=True, kw_only=True)
class MeanAbsoluteError(Regression):
    """``|x - t|``. Shapes and options: :class:`Regression`."""

    name: ClassVar[str] = "mae"

    def elements(self, x: Tensor, t: Tensor) -> Tensor:
        """Return absolute differences."""
        return nn.abs(x - t)


@dataclass(frozen=True, kw_only=True)
class MeanRelativeError(Regression):
    """``|x - t| / max(|t|, floor)``. Shapes: :class:`Regression`.

    Attributes:
        floor: what the size of a target is at least, so that targets of 0 divide nothing by 0.
    """

    name: ClassVar[str] = "mre"
    floor: float = 1e-6

    def elements(self, x: Tensor, t: Tensor) -> Tensor:
        """Return absolute differences as shares of the targets."""
        if self.floor <= 0:
            raise self.error(f"floor={self.floor} must be positive")
        return nn.abs(x - t) / nn.maximum(nn.abs(t), self.floor)


@dataclass(frozen=True, kw_only=True)
class MeanSquaredLogarithmicError(Regression):
    """``(log(1 + max(x, 0)) - log(1 + max(t, 0)))**2``. Shapes and options: :class:`Regression`.

    An output below 0 counts as 0 and has no gradient.
    """

    name: ClassVar[str] = "msle"

    def elements(self, x: Tensor, t: Tensor) -> Tensor:
        """Return squared differences of logarithms."""
        return nn.square(nn.log1p(nn.relu(x)) - nn.log1p(nn.relu(t)))


@dataclass(frozen=True, kw_only=True)
class Huber(Regression):
    """``d**2 / 2`` where ``d = |x - t|`` is at most delta, else ``delta (d - delta / 2)``.

    Shapes: :class:`Regression`.

    Attributes:
        delta: where the parabola goes over into a line.

    References:
        P. J. Huber, Robust estimation of a location parameter, Ann. Math. Statist. 35, 1964.
    """

    name: ClassVar[str] = "huber"
    delta: float = 1.0

    def elements(self, x: Tensor, t: Tensor) -> Tensor:
        """Return ``m (d - m / 2)`` with ``m = min(d, delta)``, which is both pieces."""
        if self.delta <= 0:
            raise self.error(f"delta={self.delta} must be positive")
        distance = nn.abs(x - t)
        bounded = nn.minimum(distance, self.delta)
        return bounded * (distance - bounded * 0.5)
