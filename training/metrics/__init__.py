# SPDX-License-Identifier: MIT
"""Metrics: counts of a model's results, exact for any split into batches; see README.md."""

from .confusion import (
    F1,
    Accuracy,
    BalancedAccuracy,
    ConfusionMatrix,
    Precision,
    Recall,
    Specificity,
)
from .distance import HausdorffDistance
from .metric import Metric
from .names import METRICS, metric_named
from .outputs import OfOutput
from .overlap import Dice, IoU
from .ranking import AUC, TopK
from .regression import BinaryAccuracy, MeanAbsoluteError, MeanRelativeError, MeanSquaredError, Sum

__all__ = [
    "AUC",
    "F1",
    "METRICS",
    "Accuracy",
    "BalancedAccuracy",
    "BinaryAccuracy",
    "ConfusionMatrix",
    "Dice",
    "HausdorffDistance",
    "IoU",
    "MeanAbsoluteError",
    "MeanRelativeError",
    "MeanSquaredError",
    "Metric",
    "OfOutput",
    "Precision",
    "Recall",
    "Specificity",
    "Sum",
    "TopK",
    "metric_named",
]
