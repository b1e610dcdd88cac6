# SPDX-License-Identifier: MIT
"""Learning rates over time: factors of an optimizer's rate as functions of the step."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..ir import Array
from .ranges import (
    is_number,
    require,
    require_count,
    require_flags,
    require_fraction,
    require_not_negative,
    require_positive,
    require_whole,
)


class Schedule(ABC):
    """What the learning rate is multiplied by, as a function of the number of steps done.

    Steps are updates or epochs, whichever the caller counts. A schedule has no memory, so a
    resumed run goes on with the right rate; :class:`ReduceOnPlateau` is the exception.
    """

    def __call__(self, step: int) -> float:
        """Return the factor after ``step`` steps, 0 at the beginning.

        Raises:
            InputError: ``step`` is negative.
        """
        require_whole(type(self).__name__, step=step)
        return self.factor(step)

    @abstractmethod
    def factor(self, step: int) -> float:
        """Return the factor after ``step`` steps, of at least 0."""


@dataclass(frozen=True)
class Constant(Schedule):
    """Always the same factor."""

    value: float = 1.0

    def __post_init__(self) -> None:
        require_not_negative("Constant", value=self.value)

    def factor(self, step: int) -> float:
        """Return the value."""
        return self.value


@dataclass(frozen=True)
class StepDecay(Schedule):
    """``gamma ** (step // every)``, as ``torch.optim.lr_scheduler.StepLR``.

    >>> [StepDecay(2, 0.5)(step) for step in range(5)]
    [1.0, 1.0, 0.5, 0.5, 0.25]
    """

    every: int
    gamma: float = 0.1

    def __post_init__(self) -> None:
        require_count("StepDecay", every=self.every)
        require_positive("StepDecay", gamma=self.gamma)

    def factor(self, step: int) -> float:
        """Return the power."""
        return float(self.gamma ** (step // self.every))


@dataclass(frozen=True)
class MultiStep(Schedule):
    """``gamma`` to the number of milestones that have been reached, as torch's ``MultiStepLR``.

    >>> [MultiStep((1, 3), 0.5)(step) for step in range(4)]
    [1.0, 0.5, 0.5, 0.25]
    """

    milestones: Sequence[int]
    gamma: float = 0.1

    def __post_init__(self) -> None:
        object.__setattr__(self, "milestones", tuple(self.milestones))
        for milestone in self.milestones:
            require_count("MultiStep", milestones=milestone)
        require_positive("MultiStep", gamma=self.gamma)

    def factor(self, step: int) -> float:
        """Return the power."""
        return float(self.gamma ** sum(m <= step for m in self.milestones))


@dataclass(frozen=True)
class Exponential(Schedule):
    """``gamma ** step``, as torch's ``ExponentialLR``."""

    gamma: float

    def __post_init__(self) -> None:
        require_positive("Exponential", gamma=self.gamma)

    def factor(self, step: int) -> float:
        """Return the power."""
        return float(self.gamma**step)


@dataclass(frozen=True)
class Polynomial(Schedule):
    """``final + (1 - final) (1 - step / steps) ** power``, then ``final``.

    As torch's ``PolynomialLR``, whose ``final`` is 0; with a power of 1 a straight line.
    """

    steps: int
    power: float = 1.0
    final: float = 0.0

    def __post_init__(self) -> None:
        require_count("Polynomial", steps=self.steps)
        require_positive("Polynomial", power=self.power)
        require_not_negative("Polynomial", final=self.final)

    def factor(self, step: int) -> float:
        """Return the power of what is left."""
        left = 1 - min(step, self.steps) / self.steps
        return float(self.final + (1 - self.final) * left**self.power)


@dataclass(frozen=True)
class WarmUp(Schedule):
    """A straight line from ``start`` to 1 in ``steps`` steps, then another schedule.

    As torch's ``LinearLR`` followed by a schedule in ``SequentialLR``.

    >>> [WarmUp(2, StepDecay(1, 0.1), start=0.5)(step) for step in range(4)]
    [0.5, 0.75, 1.0, 0.1]
    """

    steps: int
    then: Schedule
    start: float = 0.0

    def __post_init__(self) -> None:
        require_count("WarmUp", steps=self.steps)
        require_fraction("WarmUp", start=self.start)

    def factor(self, step: int) -> float:
        """Return the line's, or the other's counted from its own beginning."""
        if step < self.steps:
            return self.start + (1 - self.start) * step / self.steps
        return self.then.factor(step - self.steps)


@dataclass(frozen=True)
class Cosine(Schedule):
    """Half a cosine from 1 to ``final`` in ``steps`` steps, then ``final``; a warm-up before.

    As torch's ``CosineAnnealingLR`` over its first half period. ``steps`` includes the warm-up,
    a straight line from ``start``.

    >>> [round(Cosine(5, warm_up=1)(step), 3) for step in range(6)]
    [0.0, 1.0, 0.854, 0.5, 0.146, 0.0]

    References:
        Loshchilov and Hutter, SGDR: stochastic gradient descent with warm restarts, ICLR 2017.
    """

    steps: int
    final: float = 0.0
    warm_up: int = 0
    start: float = 0.0

    def __post_init__(self) -> None:
        require_count("Cosine", steps=self.steps)
        require_not_negative("Cosine", final=self.final)
        require_whole("Cosine", warm_up=self.warm_up)
        require_fraction("Cosine", start=self.start)
        expected = f"less than steps={self.steps}"
        require("Cosine", self.warm_up < self.steps, expected, warm_up=self.warm_up)

    def factor(self, step: int) -> float:
        """Return the line's, then the cosine's."""
        if step < self.warm_up:
            return self.start + (1 - self.start) * step / self.warm_up
        done = min(1.0, (step - self.warm_up) / (self.steps - self.warm_up))
        return _eased(1.0, self.final, done)


@dataclass(frozen=True)
class OneCycle(Schedule):
    """Up to 1 and down to almost nothing in ``steps`` steps, as torch's ``OneCycleLR``.

    From ``1 / divisor`` to 1 in the share ``rise`` of the steps, then to
    ``1 / (divisor final_divisor)``; with ``three_phases`` down as slowly as up before that.
    The learning rate that is multiplied is torch's ``max_lr``. The last rate stays.

    Attributes:
        steps: of the whole cycle.
        rise: share of the steps.
        divisor: of the rate at first.
        final_divisor: of that, at the end.
        linear: whether straight lines take the place of half cosines.
        three_phases: whether the rate comes back to the first one before it vanishes.

    References:
        Smith and Topin, Super-convergence: very fast training of neural networks using large
        learning rates, arXiv:1708.07120, 2017.
    """

    steps: int
    rise: float = 0.3
    divisor: float = 25.0
    final_divisor: float = 1e4
    linear: bool = False
    three_phases: bool = False

    def __post_init__(self) -> None:
        require_count("OneCycle", steps=self.steps)
        require_fraction("OneCycle", rise=self.rise)
        require_positive("OneCycle", divisor=self.divisor, final_divisor=self.final_divisor)
        require_flags(self)
        half = not self.three_phases or self.rise < 0.5
        require("OneCycle", half, "below 0.5 with three phases", rise=self.rise)

    def factor(self, step: int) -> float:
        """Return the place on the way between the ends of the phase."""
        low, least = 1 / self.divisor, 1 / (self.divisor * self.final_divisor)
        top, last = self.rise * self.steps - 1, self.steps - 1
        phases = [(top, low, 1.0), (last, 1.0, least)]
        if self.three_phases:
            phases[1:] = [(2 * top, 1.0, low), (last, low, least)]
        begin = 0.0
        for end, first, second in phases:
            if step <= end or end == last:
                done = (min(step, last) - begin) / (end - begin) if end > begin else 1.0
                return self._between(first, second, done)
            begin = end
        raise AssertionError("the last phase has no end")

    def _between(self, first: float, second: float, done: float) -> float:
        if self.linear:
            return first + (second - first) * done
        return _eased(first, second, done)


class ReduceOnPlateau(Schedule):
    """The factor shrinks when a figure has not become better for a while.

    As torch's ``ReduceLROnPlateau``. It depends on what was measured, so :meth:`state` is part
    of a checkpoint.

    Args:
        shrink: what the factor is multiplied by.
        patience: how many measurements in a row may be no better.
        larger_is_better: as an accuracy, unlike a loss.
        threshold: by how much, relative to the best so far, a figure must be better to count.
        cooldown: measurements after a reduction that are not counted.
        least: the factor never falls below this.

    >>> schedule = ReduceOnPlateau(0.5, patience=1)
    >>> for loss in (1.0, 2.0, 2.0):
    ...     schedule.update(loss)
    >>> schedule(0)
    0.5

    Raises:
        InputError: an option is out of its range.
    """

    def __init__(
        self,
        shrink: float = 0.1,
        patience: int = 10,
        *,
        larger_is_better: bool = False,
        threshold: float = 1e-4,
        cooldown: int = 0,
        least: float = 0.0,
    ) -> None:
        name = "ReduceOnPlateau"
        require_fraction(name, shrink=shrink)
        require_whole(name, patience=patience, cooldown=cooldown)
        require_not_negative(name, threshold=threshold, least=least)
        self.shrink, self.patience = shrink, patience
        self.larger_is_better, self.threshold = larger_is_better, threshold
        self.cooldown, self.least = cooldown, least
        self._value = 1.0
        self._best = -math.inf if larger_is_better else math.inf
        self._bad = self._cooling = 0

    def factor(self, step: int) -> float:
        """Return the factor as of the last measurement."""
        return self._value

    def update(self, figure: float) -> None:
        """Take note of a measurement; what is not a number is no better than any.

        Raises:
            InputError: it is nothing of the kind.
        """
        if not isinstance(figure, int | float | np.floating):
            raise InputError(f"ReduceOnPlateau: figure={figure!r} must be a number")
        if self._is_better(float(figure)):
            self._best, self._bad = float(figure), 0
        else:
            self._bad += 1
        if self._cooling:
            self._cooling -= 1
            self._bad = 0
        if self._bad > self.patience:
            self._value = max(self._value * self.shrink, self.least)
            self._cooling, self._bad = self.cooldown, 0

    def state(self) -> dict[str, Array]:
        """Return what was learned from measurements, as float64."""
        numbers = (self._value, self._best, self._bad, self._cooling)
        return {"plateau": np.array(numbers, np.float64)}

    def load(self, state: Mapping[str, Array]) -> None:
        """Continue from a :meth:`state`.

        Raises:
            InputError: it is something else.
        """
        found = state.get("plateau")
        if found is None or found.shape != (4,) or not is_number(float(found[0])):
            raise InputError("ReduceOnPlateau: the state has no 'plateau' of four numbers")
        self._value, self._best = float(found[0]), float(found[1])
        self._bad, self._cooling = int(found[2]), int(found[3])

    def _is_better(self, figure: float) -> bool:
        if self.larger_is_better:
            return figure > self._best * (1 + self.threshold)
        return figure < self._best * (1 - self.threshold)


def _eased(first: float, second: float, done: float) -> float:
    """Return the place on half a cosine."""
    return second + (first - second) * (1 + math.cos(math.pi * done)) / 2


__all__ = [
    "Constant",
    "Cosine",
    "Exponential",
    "MultiStep",
    "OneCycle",
    "Polynomial",
    "ReduceOnPlateau",
    "Schedule",
    "StepDecay",
    "WarmUp",
]
