# SPDX-License-Identifier: MIT
"""Metrics beside those of MONAI, where it is installed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from arrays import integers, normal, uniform
from ranvier.ir import Array
from ranvier.training import metrics as M

torch = pytest.importorskip("torch")
monai = pytest.importorskip("monai.metrics")
pytestmark = pytest.mark.filterwarnings("ignore")  # about regions that are absent

SCORES = normal(4, 3, 12, 10, seed=1)
LABELS = integers(4, 12, 10, low=0, high=3, seed=2)
LABELS[1] = np.where(LABELS[1] == 2, 0, LABELS[1])
VOLUME = normal(2, 2, 6, 7, 8, seed=3)
REGION = (uniform(2, 6, 7, 8, seed=4) < 0.4).astype(np.int64)


def hot(labels: Array, classes: int) -> Any:
    return torch.tensor(np.moveaxis(np.eye(classes)[labels], -1, 1))


def theirs(metric: Any, scores: Array, labels: Array, **options: Any) -> float:
    classes = scores.shape[1]
    metric(y_pred=hot(scores.argmax(1), classes), y=hot(labels, classes), **options)
    result = metric.aggregate()
    return float(result[0] if isinstance(result, list) else result)


def ours(metric: M.Metric[float], scores: Array, labels: Array) -> float:
    metric.update(scores, labels)
    return metric.result()


@pytest.mark.parametrize("background", [True, False])
@pytest.mark.parametrize("skip", [True, False])
def test_dice_and_iou(background: bool, skip: bool) -> None:
    options: dict[str, Any] = {"background": background, "empty": "skip" if skip else "one"}
    given = {"include_background": background, "ignore_empty": skip, "reduction": "mean"}
    for own, reference in ((M.Dice, monai.DiceMetric), (M.IoU, monai.MeanIoU)):
        expected = theirs(reference(**given), SCORES, LABELS)
        np.testing.assert_allclose(ours(own(**options), SCORES, LABELS), expected, 1e-6)
        given_class = {**given, "reduction": "mean_batch"}
        metric = own(**options, average="class")
        ours(metric, SCORES, LABELS)
        reference_metric = reference(**given_class)
        reference_metric(y_pred=hot(SCORES.argmax(1), 3), y=hot(LABELS, 3))
        np.testing.assert_allclose(metric.per_class(), reference_metric.aggregate(), 1e-6)


@pytest.mark.parametrize("percentile", [95, 100, 60])
@pytest.mark.parametrize("flat", [True, False])
def test_hausdorff_distance(percentile: int, flat: bool) -> None:
    scores, labels = (SCORES[[0, 2]], LABELS[[0, 2]]) if flat else (VOLUME, REGION)
    spacing = (0.7, 1.5, 2.0)[: labels.ndim - 1]
    reference = monai.HausdorffDistanceMetric(
        include_background=True, percentile=percentile, reduction="mean"
    )
    expected = theirs(reference, scores, labels, spacing=spacing)
    metric = M.HausdorffDistance(percentile=percentile, spacing=spacing)
    np.testing.assert_allclose(ours(metric, scores, labels), expected, 1e-5)


def test_area_under_the_curve() -> None:
    x, t = normal(80, 3, seed=5), integers(80, low=0, high=3, seed=6)
    p = torch.softmax(torch.tensor(x, dtype=torch.float64), 1)
    expected = monai.compute_roc_auc(p, hot(t, 3), average="macro")
    np.testing.assert_allclose(ours(M.AUC(), x, t), expected, 1e-9)
    ties, binary = np.round(normal(60, seed=7), 1), integers(60, low=0, high=2, seed=8)
    expected = monai.compute_roc_auc(torch.tensor(ties), torch.tensor(binary))
    np.testing.assert_allclose(ours(M.AUC(), ties, binary), expected, 1e-9)


@pytest.mark.parametrize(
    ("metric", "name"),
    [
        (M.Recall(average="micro"), "sensitivity"),
        (M.Precision(average="micro"), "precision"),
        (M.Specificity(average="micro"), "specificity"),
        (M.F1(average="micro"), "f1 score"),
    ],
)
def test_rates(metric: M.Metric[float], name: str) -> None:
    x, t = normal(50, 4, seed=9), integers(50, low=0, high=4, seed=10)
    reference = monai.ConfusionMatrixMetric(metric_name=name, compute_sample=False, reduction="sum")
    np.testing.assert_allclose(ours(metric, x, t), theirs(reference, x, t), 1e-6)
