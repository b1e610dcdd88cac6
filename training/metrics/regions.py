# SPDX-License-Identifier: MIT
"""Outputs and targets of segmentations as masks of regions."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ...ir import Array
from .metric import Metric
from .predictions import predictions, scores_of


class Regions(NamedTuple):
    """Masks, bool (N, regions, elements), false where elements do not count."""

    found: Array
    truth: Array


def regions(
    metric: Metric[Any],
    outputs: Array,
    targets: Array,
    *,
    activation: str,
    background: bool,
    threshold: float,
    ignore_index: int | None,
) -> Regions:
    """Return predicted and true regions; options as :class:`~.overlap.PerRegion` has them.

    Raises:
        InputError: shapes do not fit, a label is no class, a score is NaN, or nothing is left.
    """
    scores = scores_of(metric, outputs)
    channels = scores.shape[1]
    if activation == "sigmoid" or (activation == "auto" and channels == 1):
        return _masks(metric, scores, np.asarray(targets), threshold, ignore_index)
    if channels == 1:
        raise metric.error("softmax needs two channels or more, found one; use sigmoid")
    found, truth, classes = predictions(metric, scores, targets, ignore_index=ignore_index)
    found = np.where(truth < 0, -1, found)
    numbers = np.arange(0 if background else 1, classes)[:, None]
    return Regions(found[:, None] == numbers, truth[:, None] == numbers)


def _masks(
    metric: Metric[Any], scores: Array, targets: Array, threshold: float, ignore_index: int | None
) -> Regions:
    """Return every channel as a mask."""
    if scores.shape[1] == 1 and targets.shape == (len(scores), *scores.shape[2:]):
        targets = targets[:, None]
    if targets.shape != scores.shape:
        raise metric.error(
            f"masks must have the shape of outputs {list(scores.shape)}, found "
            f"{list(targets.shape)}"
        )
    counts = np.ones(targets.shape, bool) if ignore_index is None else targets != ignore_index
    bad = counts & (targets != 0) & (targets != 1)
    if bad.any():
        sample = int(np.flatnonzero(bad.reshape(len(bad), -1).any(1))[0])
        raise metric.error(
            f"masks are 0 and 1, sample {sample} of the batch holds {targets[bad][0]}"
        )
    shape = (*scores.shape[:2], -1)
    found, truth = (scores > threshold) & counts, (targets == 1) & counts
    return Regions(found.reshape(shape), truth.reshape(shape))
