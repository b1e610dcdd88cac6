# SPDX-License-Identifier: MIT
"""Metrics of numbers: squared, absolute and relative errors, binary decisions, sums."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...ir import Array
from .exact_sum import digits_of, quotient_of
from .metric import Metric
from .predictions import paired


@dataclass(kw_only=True, eq=False)
class ErrorMetric(Metric[float]):
    """Base of means of one error per element; sums are exact.

    Shapes: outputs any, targets the same; outputs (N, 1, ...) also take targets (N, ...).
    """

    def update(self, outputs: Array, targets: Array) -> None:
        """Add errors, computed in float64."""
        x, t = paired(self, outputs, targets)
        with np.errstate(over="ignore", invalid="ignore"):
            errors = self.errors(x, t)
        self._add({"sum": digits_of(errors), "count": np.array([errors.size], np.int64)})

    @abstractmethod
    def errors(self, x: Array, t: Array) -> Array:
        """Return the error of every element."""

    def result(self) -> float:
        """Return the mean."""
        return quotient_of(self._counted("sum"), int(self._counted("count")[0]))


@dataclass(kw_only=True, eq=False)
class MeanSquaredError(ErrorMetric):
    """Mean of ``(x - t)**2``. Shapes: :class:`ErrorMetric`.

    Attributes:
        root: whether the root of the mean is taken.

    >>> import numpy as np
    >>> metric = MeanSquaredError()
    >>> metric.update(np.array([1.0, 2.0]), np.array([1.0, 4.0]))
    >>> metric.result()
    2.0
    """

    name: ClassVar[str] = "mse"
    root: bool = False

    def errors(self, x: Array, t: Array) -> Array:
        """Return squared differences."""
        squares: Array = np.square(x - t)
        return squares

    def result(self) -> float:
        """Return the mean, or its root."""
        mean = super().result()
        return math.sqrt(mean) if self.root else mean


@dataclass(kw_only=True, eq=False)
class MeanAbsoluteError(ErrorMetric):
    """Mean of ``|x - t|``. Shapes: :class:`ErrorMetric`."""

    name: ClassVar[str] = "mae"

    def errors(self, x: Array, t: Array) -> Array:
        """Return absolute differences."""
        distances: Array = np.abs(x - t)
        return distances


@dataclass(kw_only=True, eq=False)
class MeanRelativeError(ErrorMetric):
    """Mean of ``|x - t| / max(|t|, floor)``. Shapes: :class:`ErrorMetric`.

    Attributes:
        floor: what the size of a target is at least; positive.
    """

    name: ClassVar[str] = "mre"
    floor: float = 1e-6

    def check(self) -> None:
        """Check the floor."""
        if not self.floor > 0:
            raise self.error(f"floor={self.floor} must be positive")

    def errors(self, x: Array, t: Array) -> Array:
        """Return differences as shares of targets."""
        shares: Array = np.abs(x - t) / np.maximum(np.abs(t), self.floor)
        return shares


@dataclass(kw_only=True, eq=False)
class BinaryAccuracy(ErrorMetric):
    """Share of elements on the right side of a threshold, each output by itself.

    Shapes: :class:`ErrorMetric`; targets are 0 and 1, or other numbers around one half.

    Attributes:
        threshold: above which an output says 1; 0 for logits, 0.5 for probabilities.
    """

    name: ClassVar[str] = "binary_accuracy"
    threshold: float = 0.0

    def errors(self, x: Array, t: Array) -> Array:
        """Return 1 where output and target say the same."""
        if np.isnan(x).any():
            raise self.error("outputs hold NaN")
        same: Array = (x > self.threshold) == (t > 0.5)
        return same.astype(np.float64)


@dataclass(kw_only=True, eq=False)
class Sum(Metric[float]):
    """Sum of all outputs, whatever targets are."""

    name: ClassVar[str] = "sum"

    def update(self, outputs: Array, targets: Array) -> None:
        """Add outputs."""
        self._add({"sum": digits_of(outputs)})

    def result(self) -> float:
        """Return the sum, rounded once."""
        return quotient_of(self._counted("sum"), 1)
