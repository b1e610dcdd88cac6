# SPDX-License-Identifier: MIT
"""Outputs and targets of any form as predicted and true classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ...errors import InputError
from ...ir import Array
from ..losses.labels import check_labels
from .metric import Metric


class Predictions(NamedTuple):
    """Classes of the elements of a batch.

    Attributes:
        found: predicted classes (N, elements), int64.
        truth: true classes (N, elements), int64; -1 for what does not count.
        classes: how many classes there are.
    """

    found: Array
    truth: Array
    classes: int


def predictions(
    metric: Metric[Any],
    outputs: Array,
    targets: Array,
    *,
    threshold: float = 0.0,
    ignore_index: int | None = None,
) -> Predictions:
    """Return predicted and true classes.

    Args:
        metric: names the error.
        outputs: scores (N, C, spatial...): the class is the first of the largest; of one channel,
            (N) or (N, 1, spatial...), class 1 where the score is above the threshold.
        targets: labels (N, spatial...) or (N, 1, spatial...), or one-hot (N, C, spatial...).
        threshold: of one channel; 0 for logits, 0.5 for probabilities.
        ignore_index: label that does not count.

    Raises:
        InputError: shapes do not fit, a label is no class, or a score is NaN.
    """
    scores = scores_of(metric, outputs)
    channels = scores.shape[1]
    found = scores[:, 0] > threshold if channels == 1 else scores.argmax(1)
    truth = labels_of(metric, scores, targets)
    classes = max(channels, 2)
    try:
        check_labels(truth, classes, ignore_index)
    except InputError as error:
        raise metric.error(str(error)) from None
    whole = truth.astype(np.int64)
    if ignore_index is not None:
        whole = np.where(whole == ignore_index, -1, whole)
    count = len(scores)
    return Predictions(found.astype(np.int64).reshape(count, -1), whole.reshape(count, -1), classes)


def scores_of(metric: Metric[Any], outputs: Array) -> Array:
    """Return scores as (N, C, spatial...); a vector is one channel.

    Raises:
        InputError: there is no sample, or a score is NaN.
    """
    check_single(metric, outputs)
    scores = np.asarray(outputs)
    if not scores.size:
        raise metric.error(f"outputs {list(scores.shape)} are empty; there is nothing to count")
    if scores.dtype.kind not in "iub":
        scores = scores.astype(np.float64 if scores.dtype.itemsize > 4 else np.float32, copy=False)
        bad = np.isnan(scores)
        if bad.any():
            sample = int(np.flatnonzero(bad.reshape(len(scores), -1).any(1))[0])
            raise metric.error(f"outputs of sample {sample} of the batch hold NaN")
    return scores[:, None] if scores.ndim == 1 else scores


def check_single(metric: Metric[Any], arrays: object) -> None:
    """Raise if there are several arrays by name."""
    if isinstance(arrays, Mapping):
        raise metric.error(
            f"expected one array, found several by name: {', '.join(map(str, arrays))}; OfOutput "
            "says which"
        )


def labels_of(metric: Metric[Any], scores: Array, targets: Array) -> Array:
    """Return labels (N, spatial...).

    Raises:
        InputError: shapes do not fit.
    """
    check_single(metric, targets)
    found: Array = np.asarray(targets)
    batch, channels, *spatial = scores.shape
    if found.shape == (batch, *spatial):
        return found
    if found.shape == (batch, 1, *spatial):
        return found[:, 0]
    if found.shape == scores.shape:
        classes: Array = found.argmax(1)
        return classes
    shapes = [[batch, *spatial], [batch, 1, *spatial], [batch, channels, *spatial]]
    raise metric.error(
        f"outputs {list(scores.shape)} take targets of shape "
        f"{' or '.join(map(str, shapes[: 2 if channels == 1 else 3]))}, found {list(found.shape)}"
    )


def paired(metric: Metric[Any], outputs: Array, targets: Array) -> tuple[Array, Array]:
    """Return outputs and targets of one shape as float64.

    Raises:
        InputError: shapes differ by more than an axis 1 of size 1, or there is nothing.
    """
    check_single(metric, outputs)
    check_single(metric, targets)
    x, t = np.asarray(outputs, np.float64), np.asarray(targets, np.float64)
    if x.shape != t.shape and x.ndim > 1 and x.shape[1] == 1 and t.shape == x[:, 0].shape:
        t = t[:, None]
    if x.shape != t.shape or not x.size:
        raise metric.error(
            f"outputs and targets must have one shape, and elements; found {list(x.shape)} and "
            f"{list(t.shape)}"
        )
    return x, t
