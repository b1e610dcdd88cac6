# SPDX-License-Identifier: MIT
"""Metrics by name, as configurations and the command line ask for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from types import MappingProxyType
from typing import Any

from ...errors import InputError
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
from .overlap import Dice, IoU
from .ranking import AUC, TopK
from .regression import BinaryAccuracy, MeanAbsoluteError, MeanRelativeError, MeanSquaredError, Sum

METRICS: Mapping[str, type[Metric[Any]]] = MappingProxyType(
    {
        metric.name: metric
        for metric in (
            Accuracy,
            BalancedAccuracy,
            TopK,
            AUC,
            F1,
            Precision,
            Recall,
            Specificity,
            ConfusionMatrix,
            Dice,
            IoU,
            HausdorffDistance,
            MeanSquaredError,
            MeanAbsoluteError,
            MeanRelativeError,
            BinaryAccuracy,
            Sum,
        )
    }
)
"""Every metric by its name."""

_SYNONYMS = {"sensitivity": "recall", "categorical_accuracy": "accuracy"}


def metric_named(name: str, **options: object) -> Metric[Any]:
    """Return a new metric by its name.

    Args:
        name: such as ``accuracy`` or ``dice``; ``sensitivity`` is another word for ``recall``.
        options: fields of the metric.

    Raises:
        InputError: there is no such metric or option; the message lists what there is.

    >>> metric_named("top_k", k=3)
    TopK(k=3, ignore_index=None)
    """
    found = _SYNONYMS.get(name, name)
    if found not in METRICS:
        known = ", ".join(sorted({*METRICS, *_SYNONYMS}))
        raise InputError(f"there is no metric '{name}'; there are: {known}")
    kind = METRICS[found]
    names = [f.name for f in fields(kind)]
    for option in options:
        if option not in names:
            listed = ", ".join(names) or "none"
            raise InputError(f"metric '{name}' has no option '{option}'; it has: {listed}")
    return kind(**options)
