# SPDX-License-Identifier: MIT
"""Metrics of the confusion matrix: accuracies, precision, recall, specificity and F1."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

import numpy as np

from ...ir import Array
from .metric import Metric, check_option
from .predictions import predictions

R = TypeVar("R")


@dataclass(kw_only=True, eq=False)
class Counting(Metric[R], Generic[R]):
    """Base of metrics that are read from the confusion matrix.

    Shapes: outputs are scores (N, C, spatial...), or (N) or (N, 1, spatial...) for two classes;
        targets are labels (N, spatial...) or (N, 1, spatial...), or one-hot (N, C, spatial...).

    Attributes:
        threshold: of a single channel, above which the class is 1; 0 for logits, 0.5 for
            probabilities.
        ignore_index: label of elements that do not count.
    """

    threshold: float = 0.0
    ignore_index: int | None = None

    def update(self, outputs: Array, targets: Array) -> None:
        """Count pairs of true and predicted classes."""
        found, truth, classes = predictions(
            self, outputs, targets, threshold=self.threshold, ignore_index=self.ignore_index
        )
        counted = truth >= 0
        pairs = truth[counted] * classes + found[counted]
        counts = np.bincount(pairs, minlength=classes**2).astype(np.int64)
        self._add({"matrix": counts.reshape(classes, classes)})

    @property
    def matrix(self) -> Array:
        """The confusion matrix, int64 (C, C): true classes are rows, predicted ones columns."""
        return np.array(self._counted("matrix"))

    def _total(self) -> int:
        total = int(self._counted("matrix").sum())
        if not total:
            raise self.error("all elements are ignored; there is nothing to measure")
        return total


@dataclass(kw_only=True, eq=False)
class ConfusionMatrix(Counting[Array]):
    """How many elements of each true class (rows) were given each class (columns).

    Shapes and options: :class:`Counting`.

    >>> import numpy as np
    >>> metric = ConfusionMatrix()
    >>> metric.update(np.array([2.0, -1.0, 0.5]), np.array([1, 1, 0]))
    >>> metric.result().tolist()
    [[0, 1], [1, 1]]
    """

    name: ClassVar[str] = "confusion_matrix"

    def result(self) -> Array:
        """Return the matrix, int64 (C, C)."""
        return self.matrix


@dataclass(kw_only=True, eq=False)
class Accuracy(Counting[float]):
    """Share of elements with the right class. Shapes and options: :class:`Counting`."""

    name: ClassVar[str] = "accuracy"

    def result(self) -> float:
        """Return the share."""
        return int(np.trace(self._counted("matrix"))) / self._total()


@dataclass(kw_only=True, eq=False)
class BalancedAccuracy(Counting[float]):
    """Mean over classes of the share of their elements that were found.

    A class that no target has does not count. Shapes and options: :class:`Counting`.

    References:
        K. H. Brodersen et al., The balanced accuracy and its posterior distribution, ICPR 2010.
    """

    name: ClassVar[str] = "balanced_accuracy"

    def per_class(self) -> Array:
        """Return recalls (C), NaN of classes that no target has."""
        matrix = self._counted("matrix")
        return _ratios(np.diag(matrix), matrix.sum(1), np.nan)

    def result(self) -> float:
        """Return the mean."""
        self._total()
        return float(np.nanmean(self.per_class()))


@dataclass(kw_only=True, eq=False)
class Rate(Counting[float]):
    """Base of quotients of counts per class.

    The counts of a class are true and false positives and negatives, taking it for positive and
    all others for negative. Shapes and further options: :class:`Counting`.

    Attributes:
        average: ``binary``: the value of class 1 of two; ``micro``: counts are added up over
            classes first; ``macro``: the mean of the values of classes; ``auto``: ``binary`` for
            two classes and ``macro`` for more. A class that neither targets nor predictions have
            does not count in the mean.
        undefined: the value where the denominator is 0.
    """

    average: str = "auto"
    undefined: float = 0.0

    def check(self) -> None:
        """Check the average."""
        check_option(self, "average", ("auto", "binary", "micro", "macro"))

    @abstractmethod
    def parts(self, tp: Array, fp: Array, fn: Array, tn: Array) -> tuple[Array, Array]:
        """Return numerators and denominators of classes."""

    def per_class(self) -> Array:
        """Return the values of classes (C), NaN of those that do not occur."""
        tp, fp, fn, tn = self._counts()
        values = _ratios(*self.parts(tp, fp, fn, tn), self.undefined)
        values[tp + fp + fn == 0] = np.nan
        return values

    def result(self) -> float:
        """Return the averaged value."""
        self._total()
        counts = self._counts()
        classes = len(counts[0])
        if self.average == "binary" and classes != 2:
            raise self.error(f"average='binary' is for two classes, found {classes}; use macro")
        if self.average == "micro":
            summed = (np.array([c.sum()]) for c in counts)
            return float(_ratios(*self.parts(*summed), self.undefined)[0])
        if self.average == "binary" or (self.average == "auto" and classes == 2):
            one = (c[1:2] for c in counts)
            return float(_ratios(*self.parts(*one), self.undefined)[0])
        return float(np.nanmean(self.per_class()))

    def _counts(self) -> tuple[Array, Array, Array, Array]:
        matrix = self._counted("matrix")
        tp = np.diag(matrix)
        fp, fn = matrix.sum(0) - tp, matrix.sum(1) - tp
        return tp, fp, fn, matrix.sum() - tp - fp - fn


@dataclass(kw_only=True, eq=False)
class Precision(Rate):
    """``TP / (TP + FP)``: how much of what was found is right. Options: :class:`Rate`."""

    name: ClassVar[str] = "precision"

    def parts(self, tp: Array, fp: Array, fn: Array, tn: Array) -> tuple[Array, Array]:
        """Return right findings and all findings."""
        return tp, tp + fp


@dataclass(kw_only=True, eq=False)
class Recall(Rate):
    """``TP / (TP + FN)``, also sensitivity: how much was found. Options: :class:`Rate`."""

    name: ClassVar[str] = "recall"

    def parts(self, tp: Array, fp: Array, fn: Array, tn: Array) -> tuple[Array, Array]:
        """Return right findings and all that there is."""
        return tp, tp + fn


@dataclass(kw_only=True, eq=False)
class Specificity(Rate):
    """``TN / (TN + FP)``: how much was rightly left alone. Options: :class:`Rate`."""

    name: ClassVar[str] = "specificity"

    def parts(self, tp: Array, fp: Array, fn: Array, tn: Array) -> tuple[Array, Array]:
        """Return right rejections and all that there is to reject."""
        return tn, tn + fp


@dataclass(kw_only=True, eq=False)
class F1(Rate):
    """``2 TP / (2 TP + FP + FN)``: harmonic mean of precision and recall. Options: :class:`Rate`.

    >>> import numpy as np
    >>> metric = F1()
    >>> metric.update(np.array([0.9, 0.2, -0.4, -3.0]), np.array([1, 0, 1, 0]))
    >>> metric.result()
    0.5
    """

    name: ClassVar[str] = "f1"

    def parts(self, tp: Array, fp: Array, fn: Array, tn: Array) -> tuple[Array, Array]:
        """Return both shares over one denominator."""
        return 2 * tp, 2 * tp + fp + fn


def _ratios(numerators: Array, denominators: Array, undefined: float) -> Array:
    """Return quotients as float64, ``undefined`` where the denominator is 0."""
    result = np.full(len(numerators), undefined, np.float64)
    np.divide(numerators, denominators, out=result, where=denominators != 0)
    return result
