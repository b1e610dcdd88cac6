# SPDX-License-Identifier: MIT
"""What all metrics have in common: counts that add up, whatever the batches are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np

from ...errors import InputError
from ...ir import Array

R = TypeVar("R")


@dataclass(kw_only=True, eq=False)
class Metric(ABC, Generic[R]):
    """Base of metrics: options are fields, and the state is a dictionary of arrays of integers.

    The state of two parts of the data is the sum of their states, exactly: the result has the
    same bits for any split into batches and any order in which metrics are merged.

    >>> import numpy as np
    >>> from ranvier.training.metrics import Accuracy
    >>> first, second = Accuracy(), Accuracy()
    >>> first.update(np.array([[0.2, 0.8], [0.9, 0.1]]), np.array([1, 0]))
    >>> second.update(np.array([[0.3, 0.7]]), np.array([0]))
    >>> first.merge(second)
    >>> round(first.result(), 3)
    0.667
    """

    name: ClassVar[str]

    def __post_init__(self) -> None:
        self._state: dict[str, Array] = {}
        self.check()

    def check(self) -> None:
        """Raise InputError unless the options fit each other."""

    def reset(self) -> None:
        """Forget all data."""
        self._state = {}

    @abstractmethod
    def update(self, outputs: Array, targets: Array) -> None:
        """Count a batch.

        Args:
            outputs: of the model, (N, ...).
            targets: of the same N samples.

        Raises:
            InputError: shapes do not fit, or labels are no classes; nothing is counted then.
        """

    @abstractmethod
    def result(self) -> R:
        """Return the value for all data since the last reset.

        Raises:
            InputError: there were none, or the value is not defined for them.
        """

    def merge(self, other: Metric[R]) -> None:
        """Count all that ``other`` has counted.

        Raises:
            InputError: it is of another kind, has other options, or counts other classes.
        """
        if type(other) is not type(self) or other._options() != self._options():
            raise self.error(f"cannot merge {other} into {self}; make both with the same options")
        self._add(other._state)

    def state(self) -> dict[str, Array]:
        """Return a copy of the state, to be kept or sent; empty if nothing was counted."""
        return {k: v.copy() for k, v in self._state.items()}

    def load(self, state: Mapping[str, Array]) -> None:
        """Go on from a state of a metric with the same options."""
        self._state = {k: np.array(v) for k, v in state.items()}

    def error(self, message: str) -> InputError:
        """Return an error that names the metric."""
        return InputError(f"metric '{self.name}': {message}")

    def _options(self) -> tuple[Any, ...]:
        return tuple(getattr(self, f.name) for f in fields(self))

    def _add(self, counts: Mapping[str, Array]) -> None:
        """Add counts to the state, all or nothing."""
        for name, array in counts.items():
            known = self._state.get(name)
            if known is not None and known.shape != array.shape:
                raise self.error(
                    f"counted {_size(known)} so far and {_size(array)} now; all data must have as "
                    "many classes"
                )
        for name, array in counts.items():
            known = self._state.get(name)
            self._state[name] = array.copy() if known is None else known + array

    def _counted(self, name: str) -> Array:
        """Return a part of the state.

        Raises:
            InputError: nothing was counted.
        """
        if name not in self._state:
            raise self.error("no data were counted; call update first")
        return self._state[name]


def check_option(metric: Metric[Any], option: str, choices: tuple[str, ...]) -> None:
    """Raise unless an option is one of the choices."""
    found = getattr(metric, option)
    if found not in choices:
        raise metric.error(f"{option}={found!r} must be one of {', '.join(choices)}")


def _size(array: Array) -> str:
    return f"{len(array)} classes"
