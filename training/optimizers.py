# SPDX-License-Identifier: MIT
"""Optimizers: hyperparameters, checked up front, and the op that makes a step by them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..ir import Array, ops
from .ranges import (
    require,
    require_flags,
    require_fraction,
    require_not_negative,
    require_positive,
)


@dataclass(frozen=True)
class Optimizer(ABC):
    """How parameters follow their gradients.

    Attributes:
        learning_rate: of the first update; a schedule may change it.
        weight_decay: shrinks parameters; groups may have another.
        decoupled: whether the decay is ``x (1 - learning_rate weight_decay)`` instead of a part
            of the gradient.
    """

    learning_rate: float = 1e-3
    weight_decay: float = field(default=0.0, kw_only=True)
    decoupled: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        name = self.name
        require_not_negative(name, learning_rate=self.learning_rate, weight_decay=self.weight_decay)
        require_flags(self)
        if "epsilon" in self.__dataclass_fields__:
            require_positive(name, epsilon=self.__dict__["epsilon"])
        fractions = [k for k in self.__dataclass_fields__ if k in _FRACTIONS]
        require_fraction(name, **{k: self.__dict__[k] for k in fractions})

    @property
    def name(self) -> str:
        """What messages call it."""
        return type(self).__name__

    @abstractmethod
    def op(self, **options: Any) -> ops.BlockStep:
        """Return the step; ``options`` are attributes of :class:`~ranvier.ir.ops.BlockStep`."""

    def scalars(self, count: int) -> dict[str, float]:
        """Return the further scalars that update number ``count`` takes, by name."""
        return {}

    def initial(self, state: str) -> float:
        """Return what a state is filled with at first."""
        return 0.0

    @property
    def states(self) -> tuple[str, ...]:
        """Names of the states."""
        return self.op().states


_FRACTIONS = ("beta1", "beta2", "alpha", "rho", "momentum")


@dataclass(frozen=True)
class SGD(Optimizer):
    """Gradient descent, with momentum: :class:`~ranvier.ir.ops.Descent`.

    >>> SGD(0.1, momentum=1.5)
    Traceback (most recent call last):
    ...
    ranvier.errors.InputError: SGD: momentum=1.5 must be a number from 0 to below 1

    Raises:
        InputError: a hyperparameter is out of its range.
    """

    learning_rate: float = 1e-2
    momentum: float = 0.0
    dampening: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        require_fraction(self.name, dampening=self.dampening)
        plain = self.momentum > 0 and not self.dampening
        expected = "False without momentum or with dampening"
        require(self.name, not self.nesterov or plain, expected, nesterov=self.nesterov)

    def op(self, **options: Any) -> ops.BlockStep:
        """Return the step."""
        return ops.Descent(
            decoupled=self.decoupled,
            momentum=float(self.momentum),
            dampening=float(self.dampening),
            nesterov=self.nesterov,
            **options,
        )


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam and its kin: :class:`~ranvier.ir.ops.AdamStep`.

    Raises:
        InputError: a hyperparameter is out of its range.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    amsgrad: bool = False

    def op(self, **options: Any) -> ops.BlockStep:
        """Return the step."""
        return ops.AdamStep(
            decoupled=self.decoupled,
            beta1=float(self.beta1),
            beta2=float(self.beta2),
            epsilon=float(self.epsilon),
            amsgrad=self.amsgrad,
            **options,
        )


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled decay.

    >>> AdamW(1e-3).weight_decay, AdamW().states
    (0.01, ('mean', 'square'))
    """

    weight_decay: float = field(default=0.01, kw_only=True)
    decoupled: bool = field(default=True, kw_only=True)


@dataclass(frozen=True)
class AMSGrad(Adam):
    """Adam with the largest mean square so far."""

    amsgrad: bool = True


@dataclass(frozen=True)
class NAdam(Optimizer):
    """Adam with Nesterov's momentum: :class:`~ranvier.ir.ops.NAdamStep`.

    Raises:
        InputError: a hyperparameter is out of its range.
    """

    learning_rate: float = 2e-3
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    momentum_decay: float = 4e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        require_not_negative(self.name, momentum_decay=self.momentum_decay)

    def op(self, **options: Any) -> ops.BlockStep:
        """Return the step."""
        return ops.NAdamStep(
            decoupled=self.decoupled,
            beta1=float(self.beta1),
            beta2=float(self.beta2),
            epsilon=float(self.epsilon),
            momentum_decay=float(self.momentum_decay),
            **options,
        )

    def scalars(self, count: int) -> dict[str, float]:
        """Return the product of the momenta of all updates so far."""
        # Each factor is below beta1, so what further ones add to the product is below 1e-300.
        furthest = int(np.ceil(np.log(1e-300) / np.log(max(self.beta1, 1e-6)))) + 1
        numbers = np.arange(1, min(count, furthest) + 1, dtype=np.float64)
        momenta = self.beta1 * (1 - 0.5 * 0.96 ** (numbers * self.momentum_decay))
        return {"product": float(np.prod(momenta))}


@dataclass(frozen=True)
class Adamax(Optimizer):
    """Adam with the largest gradient in place of the mean square.

    See :class:`~ranvier.ir.ops.AdamaxStep`.

    Raises:
        InputError: a hyperparameter is out of its range.
    """

    learning_rate: float = 2e-3
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def op(self, **options: Any) -> ops.BlockStep:
        """Return the step."""
        return ops.AdamaxStep(
            decoupled=self.decoupled,
            beta1=float(self.beta1),
            beta2=float(self.beta2),
            epsilon=float(self.epsilon),
            **options,
        )


@dataclass(frozen=True)
class RMSprop(Optimizer):
    """Gradients over the root of their mean square: :class:`~ranvier.ir.ops.RmsPropStep`.

    Raises:
        InputError: a hyperparameter is out of its range.
    """

    learning_rate: float = 1e-2
    alpha: float = 0.99
    epsilon: float = 1e-8
    momentum: float = 0.0
    centered: bool = False

    def op(self, **options: Any) -> ops.BlockStep:
        """Return the step."""
        return ops.RmsPropStep(
            decoupled=self.decoupled,
            alpha=float(self.alpha),
            epsilon=float(self.epsilon),
            momentum=float(self.momentum),
            centered=self.centered,
            **options,
        )


@dataclass(frozen=True)
class Adagrad(Optimizer):
    """Gradients over the root of the sum of their squares: :class:`~ranvier.ir.ops.AdagradStep`.

    Raises:
        InputError: a hyperparameter is out of its range.
    """

    learning_rate: float = 1e-2
    rate_decay: float = 0.0
    initial_square: float = 0.0
    epsilon: float = 1e-10

    def __post_init__(self) -> None:
        super().__post_init__()
        require_not_negative(
            self.name, rate_decay=self.rate_decay, initial_square=self.initial_square
        )

    def op(self, **options: Any) -> ops.BlockStep:
        """Return the step."""
        return ops.AdagradStep(
            decoupled=self.decoupled,
            rate_decay=float(self.rate_decay),
            epsilon=float(self.epsilon),
            **options,
        )

    def initial(self, state: str) -> float:
        """Return what the sum of squares begins with."""
        return self.initial_square


@dataclass(frozen=True)
class Adadelta(Optimizer):
    """Steps in the unit of the parameters: :class:`~ranvier.ir.ops.AdadeltaStep`.

    Raises:
        InputError: a hyperparameter is out of its range.
    """

    learning_rate: float = 1.0
    rho: float = 0.9
    epsilon: float = 1e-6

    def op(self, **options: Any) -> ops.BlockStep:
        """Return the step."""
        return ops.AdadeltaStep(
            decoupled=self.decoupled,
            rho=float(self.rho),
            epsilon=float(self.epsilon),
            **options,
        )


class LayerWise(Optimizer):
    """Base of optimizers whose rate differs from tensor to tensor by a trust ratio."""

    @abstractmethod
    def trust(self, x: Array, g: Array, decay: Array) -> Array:
        """Return the ratios for the norms of tensors and of what they move along.

        It is 1 where one of the norms is 0.
        """


@dataclass(frozen=True)
class LARS(LayerWise):
    """Momentum with layer-wise rates: ``rate coefficient |x| / (|g| + weight_decay |x|)``.

    See :class:`~ranvier.ir.ops.LarsStep`; the decay is always a part of the gradient.

    Raises:
        InputError: a hyperparameter is out of its range.
    """

    learning_rate: float = 0.1
    momentum: float = 0.9
    coefficient: float = 1e-3
    epsilon: float = 1e-12

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self.name, coefficient=self.coefficient)
        require(self.name, self.momentum > 0, "more than 0", momentum=self.momentum)
        require(self.name, not self.decoupled, "False", decoupled=self.decoupled)

    def op(self, **options: Any) -> ops.BlockStep:
        """Return the step."""
        return ops.LarsStep(momentum=float(self.momentum), **options)

    def trust(self, x: Array, g: Array, decay: Array) -> Array:
        """Return the ratio of the paper."""
        ratio = self.coefficient * x / (g + decay * x + self.epsilon)
        return np.where((x > 0) & (g > 0), ratio, 1.0)


@dataclass(frozen=True)
class LAMB(LayerWise):
    """Adam with layer-wise rates: ``rate |x| / |u|`` along u, which has the decay.

    See :class:`~ranvier.ir.ops.LambDirection`.

    Raises:
        InputError: a hyperparameter is out of its range.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-6
    weight_decay: float = field(default=0.01, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.name, not self.decoupled, "False", decoupled=self.decoupled)

    def op(self, **options: Any) -> ops.BlockStep:
        """Return the first half of the step, to the direction."""
        return ops.LambDirection(
            beta1=float(self.beta1),
            beta2=float(self.beta2),
            epsilon=float(self.epsilon),
            **options,
        )

    def trust(self, x: Array, g: Array, decay: Array) -> Array:
        """Return the ratio of the paper, where the direction has the decay already."""
        return np.where((x > 0) & (g > 0), x / np.where(g > 0, g, 1.0), 1.0)


__all__ = [
    "LAMB",
    "LARS",
    "SGD",
    "AMSGrad",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "LayerWise",
    "NAdam",
    "Optimizer",
    "RMSprop",
]
