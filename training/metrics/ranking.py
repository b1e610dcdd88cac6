# SPDX-License-Identifier: MIT
"""Metrics of the order of scores: top-k accuracy and the area under the ROC curve."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...ir import Array
from .metric import Metric, check_option
from .predictions import predictions, scores_of


@dataclass(kw_only=True, eq=False)
class TopK(Metric[float]):
    """Share of elements whose class has one of the k largest scores.

    Of equal scores, that of the first class is the larger one: top 1 is the accuracy.

    Shapes: outputs (N, C, spatial...), targets: labels (N, 1?, spatial...) or one-hot.

    Attributes:
        k: from 1 to C.
        ignore_index: label of elements that do not count.
    """

    name: ClassVar[str] = "top_k"
    k: int = 5
    ignore_index: int | None = None

    def update(self, outputs: Array, targets: Array) -> None:
        """Count how many scores are above that of the true class."""
        scores = scores_of(self, outputs)
        if not 1 <= self.k <= scores.shape[1]:
            raise self.error(f"k={self.k} must be from 1 to the {scores.shape[1]} classes")
        _, truth, classes = predictions(self, scores, targets, ignore_index=self.ignore_index)
        rows = np.moveaxis(scores, 1, -1).reshape(-1, classes)
        labels = truth.reshape(-1)
        rows, labels = rows[labels >= 0], labels[labels >= 0]
        own = np.take_along_axis(rows, labels[:, None], 1)
        first = np.arange(classes) < labels[:, None]
        above = (rows > own).sum(1) + ((rows == own) & first).sum(1)
        self._add({"counts": np.array([(above < self.k).sum(), len(labels)], np.int64)})

    def result(self) -> float:
        """Return the share."""
        right, count = (int(n) for n in self._counted("counts"))
        if not count:
            raise self.error("all elements are ignored; there is nothing to measure")
        return right / count


@dataclass(kw_only=True, eq=False)
class AUC(Metric[float]):
    """Area under the ROC curve: how often a positive has a higher score than a negative.

    A tie counts half, as the trapezoidal rule has it; pairs are counted as whole numbers. With
    more than two classes each one is compared with the rest, and the mean is taken. All scores
    are kept: 8 bytes per element and class.

    Shapes: outputs (N) or (N, 1) of any monotonic score, (N, 2), or (N, C), with spatial axes or
        without; targets: labels (N, 1?, spatial...) or one-hot.

    Attributes:
        activation: ``softmax`` for logits of several classes, ranked by the logarithm of
            ``p / (1 - p)``, which does not saturate as p does; ``none`` for scores that are
            ranked as they are, such as probabilities.
        ignore_index: label of elements that do not count.
        single: what :meth:`result` does if a class has no positives or no negatives: ``raise`` an
            error that names it, or ``skip`` it; the result is NaN if nothing is left.

    References:
        H. B. Mann, D. R. Whitney, On a test of whether one of two random variables is
        stochastically larger than the other, Ann. Math. Statist. 18, 1947; J. A. Hanley,
        B. J. McNeil, The meaning and use of the area under a receiver operating characteristic
        (ROC) curve, Radiology 143, 1982.

    >>> import numpy as np
    >>> metric = AUC()
    >>> metric.update(np.array([0.1, 0.4, 0.4, 0.8]), np.array([0, 0, 1, 1]))
    >>> metric.result()
    0.875
    """

    name: ClassVar[str] = "auc"
    activation: str = "softmax"
    ignore_index: int | None = None
    single: str = "raise"

    def check(self) -> None:
        """Check the choices."""
        check_option(self, "activation", ("softmax", "none"))
        check_option(self, "single", ("raise", "skip"))

    def update(self, outputs: Array, targets: Array) -> None:
        """Keep scores and labels."""
        scores = scores_of(self, outputs)
        truth = predictions(self, scores, targets, ignore_index=self.ignore_index).truth
        labels = truth.reshape(-1)
        rows = np.moveaxis(scores, 1, -1).reshape(-1, scores.shape[1]).astype(np.float64)
        counts = labels >= 0
        self._add({"scores": self._ranked(rows[counts]), "labels": labels[counts]})

    def per_class(self) -> Array:
        """Return the area of each class against the rest (C), NaN where it is not defined.

        Of two classes there is one area, that of class 1.
        """
        scores, labels = self._counted("scores"), self._counted("labels")
        if scores.shape[1] == 1:
            return np.array([area(scores[:, 0], labels == 1)])
        return np.array([area(column, labels == k) for k, column in enumerate(scores.T)])

    def result(self) -> float:
        """Return the area, or the mean of the areas of classes.

        Raises:
            InputError: there are no data, or targets of one class alone.
        """
        areas = self.per_class()
        undefined = np.flatnonzero(np.isnan(areas))
        if undefined.size and self.single == "raise":
            labels = self._counted("labels")
            named = 1 if len(areas) == 1 else int(undefined[0])
            raise self.error(
                f"{int((labels == named).sum())} of {len(labels)} elements are of class {named}; "
                "the area needs both; give more data, or single='skip' to leave such classes out"
            )
        return float(np.nanmean(areas)) if undefined.size < len(areas) else float("nan")

    def _add(self, counts: Mapping[str, Array]) -> None:
        """Append instead of adding."""
        known = self._state.get("scores")
        if known is not None and "scores" in counts and known.shape[1] != counts["scores"].shape[1]:
            raise self.error("all data must have as many classes")
        for name, array in counts.items():
            before = self._state.get(name)
            self._state[name] = array if before is None else np.concatenate([before, array])

    def _ranked(self, rows: Array) -> Array:
        """Return one column per area from scores (elements, C)."""
        classes = rows.shape[1]
        if classes == 1:
            return rows
        if self.activation == "none":
            return rows[:, 1:] if classes == 2 else rows
        if classes == 2:
            return rows[:, 1:] - rows[:, :1]
        columns = [rows[:, k] - _log_sum(np.delete(rows, k, 1)) for k in range(classes)]
        return np.stack(columns, 1)


def area(scores: Array, positive: Array) -> float:
    """Return the share of pairs in which the positive has the higher score, ties counting half.

    >>> import numpy as np
    >>> area(np.array([1.0, 2.0, 3.0]), np.array([False, True, True]))
    1.0
    """
    _, places = np.unique(scores, return_inverse=True)
    total = np.bincount(places)
    above = np.bincount(places[positive], minlength=len(total))
    below = total - above
    pairs = int(above.sum()) * int(below.sum())
    if not pairs:
        return float("nan")
    smaller = np.cumsum(below) - below
    return int((above * (2 * smaller + below)).sum()) / (2 * pairs)


def _log_sum(rows: Array) -> Array:
    top = rows.max(1)
    result: Array = top + np.log(np.exp(rows - top[:, None]).sum(1))
    return result
