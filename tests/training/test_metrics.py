# SPDX-License-Identifier: MIT
"""Metrics: definitions by hand, the same bits for any split, empty and broken data."""

from __future__ import annotations

import itertools
import math
from dataclasses import fields
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arrays import integers, normal, uniform
from ranvier.errors import InputError
from ranvier.ir import Array
from ranvier.training import metrics
from ranvier.training.metrics.distance import nearest, surface
from ranvier.training.metrics.exact_sum import digits_of, quotient_of

M = metrics
SCORES = normal(12, 4, 6, 5)
LABELS = np.where(uniform(12, 6, 5) < 0.2, 255, integers(12, 6, 5, low=0, high=4, seed=3))
SINGLE = normal(12, 1, 6, 5, seed=2)
MASK = integers(12, 6, 5, low=0, high=2, seed=3)
VECTORS = np.round(normal(40, 3, seed=4), 1)  # with ties
CLASSES = integers(40, low=0, high=3, seed=5)

STREAMS: dict[str, tuple[metrics.Metric[Any], Array, Array]] = {
    "accuracy": (M.Accuracy(ignore_index=255), SCORES, LABELS),
    "balanced_accuracy": (M.BalancedAccuracy(ignore_index=255), SCORES, LABELS),
    "top_k": (M.TopK(k=2, ignore_index=255), SCORES, LABELS),
    "auc": (M.AUC(), VECTORS, CLASSES),
    "auc-binary": (M.AUC(), SINGLE, MASK),
    "f1": (M.F1(ignore_index=255), SCORES, LABELS),
    "precision": (M.Precision(average="micro", ignore_index=255), SCORES, LABELS),
    "recall": (M.Recall(), SINGLE, MASK),
    "specificity": (M.Specificity(), SINGLE, MASK),
    "confusion_matrix": (M.ConfusionMatrix(ignore_index=255), SCORES, LABELS),
    "dice": (M.Dice(ignore_index=255), SCORES, LABELS),
    "dice-class": (M.Dice(average="class", background=False, ignore_index=255), SCORES, LABELS),
    "iou-pooled": (M.IoU(average="pooled", ignore_index=255), SCORES, LABELS),
    "iou": (M.IoU(empty="one"), SINGLE, MASK),
    "hd95": (M.HausdorffDistance(spacing=(0.7, 1.3)), SINGLE, MASK),
    "mse": (M.MeanSquaredError(), SCORES, normal(12, 4, 6, 5, seed=9)),
    "mae": (M.MeanAbsoluteError(), SCORES, normal(12, 4, 6, 5, seed=9)),
    "mre": (M.MeanRelativeError(), SCORES, normal(12, 4, 6, 5, seed=9)),
    "binary_accuracy": (M.BinaryAccuracy(), SINGLE, MASK),
    "sum": (M.Sum(), SCORES, LABELS),
}


def of(metric: metrics.Metric[Any], outputs: Array, targets: Array) -> Any:
    """Return the metric of one batch."""
    metric.reset()
    metric.update(outputs, targets)
    return metric.result()


def fresh(metric: metrics.Metric[Any]) -> metrics.Metric[Any]:
    options = {f.name: getattr(metric, f.name) for f in fields(metric)}
    return type(metric)(**options)


def test_every_metric_is_streamed() -> None:
    assert {m.name for m, _, _ in STREAMS.values()} == set(metrics.METRICS)


@pytest.mark.parametrize("name", STREAMS)
@given(data=st.data())
def test_any_split_and_any_order_give_the_same_bits(name: str, data: st.DataObject) -> None:
    metric, outputs, targets = STREAMS[name]
    whole = of(metric, outputs, targets)
    order = np.array(data.draw(st.permutations(range(len(outputs)))))
    cuts = sorted(data.draw(st.lists(st.integers(1, len(outputs) - 1), max_size=4, unique=True)))
    parts = []
    for batch in np.split(order, cuts):
        part = fresh(metric)
        part.update(outputs[batch], targets[batch])
        kept = fresh(metric)
        kept.load({k: v.copy() for k, v in part.state().items()})
        parts.append(kept)
    while len(parts) > 1:
        taken = parts.pop(data.draw(st.integers(0, len(parts) - 1)))
        parts[data.draw(st.integers(0, len(parts) - 1))].merge(taken)
    np.testing.assert_array_equal(parts[0].result(), whole)  # not nearly: equal


@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=20),
    st.integers(1, 9),
)
def test_sums_are_exact(values: list[float], count: int) -> None:
    exact = sum((Fraction(v) for v in values), Fraction(0)) / count
    try:
        expected = float(exact)
    except OverflowError:
        expected = math.inf if exact > 0 else -math.inf
    assert quotient_of(digits_of(np.array(values)), count) == expected


def test_sums_of_infinite_values_are_those_of_ieee() -> None:
    assert quotient_of(digits_of(np.array([np.inf, 1])), 2) == np.inf
    assert quotient_of(digits_of(np.array([-np.inf, 1])), 2) == -np.inf
    assert math.isnan(quotient_of(digits_of(np.array([-np.inf, np.inf])), 2))
    assert math.isnan(quotient_of(digits_of(np.array([np.nan, np.inf])), 2))
    assert math.isnan(quotient_of(digits_of(np.zeros(0)), 0))


@given(st.data())
def test_confusion_and_what_is_read_from_it(data: st.DataObject) -> None:
    classes = data.draw(st.integers(2, 4))
    labels = st.lists(st.integers(0, classes - 1), min_size=12, max_size=12)
    found, truth = (np.array(data.draw(labels)) for _ in range(2))
    scores = np.eye(classes)[found]
    matrix = np.array(
        [[int(((truth == a) & (found == b)).sum()) for b in range(classes)] for a in range(classes)]
    )
    np.testing.assert_array_equal(of(M.ConfusionMatrix(), scores, truth), matrix)
    assert of(M.Accuracy(), scores, truth) == (found == truth).mean()
    recalls = [(found[truth == k] == k).mean() for k in range(classes) if (truth == k).any()]
    np.testing.assert_allclose(of(M.BalancedAccuracy(), scores, truth), np.mean(recalls))
    values = []
    for k in range(classes):
        if k in found or k in truth:
            tp = ((found == k) & (truth == k)).sum()
            values.append(2 * tp / ((found == k).sum() + (truth == k).sum()))
    np.testing.assert_allclose(of(M.F1(average="macro"), scores, truth), np.mean(values))
    np.testing.assert_allclose(of(M.F1(average="micro"), scores, truth), (found == truth).mean())


def test_rates_of_two_classes_by_hand() -> None:
    x, t = np.array([2.0, 1.0, 3.0, -1.0, -2.0, -1.0]), np.array([1, 1, 0, 1, 0, 0])
    assert of(M.Precision(), x, t) == 2 / 3
    assert of(M.Recall(), x, t) == 2 / 3
    assert of(M.Specificity(), x, t) == 2 / 3
    assert of(M.F1(), x, t) == 2 / 3
    assert of(M.Precision(threshold=2.5), x, t) == 0
    assert of(M.Precision(threshold=9.0), x, t) == 0  # nothing found: undefined, 0 by default
    assert math.isnan(of(M.Precision(threshold=9.0, undefined=math.nan), x, t))
    metric = M.Recall(average="macro")
    of(metric, np.eye(3)[[0, 0, 1]], np.array([0, 1, 1]))
    np.testing.assert_array_equal(metric.per_class(), [1, 0.5, np.nan])  # class 2 occurs nowhere


def test_top_k_is_accuracy_for_one_and_all_for_every_class() -> None:
    x = np.round(normal(50, 5), 1)
    t = integers(50, low=0, high=5)
    assert of(M.TopK(k=1), x, t) == of(M.Accuracy(), x, t)
    assert of(M.TopK(k=5), x, t) == 1
    order = np.argsort(-x, 1, kind="stable")[:, :2]
    assert of(M.TopK(k=2), x, t) == (order == t[:, None]).any(1).mean()


@given(
    st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=30).filter(
        lambda pairs: len({p for _, p in pairs}) == 2
    )
)
def test_auc_counts_pairs(pairs: list[tuple[int, bool]]) -> None:
    positives = [s for s, p in pairs if p]
    negatives = [s for s, p in pairs if not p]
    won = sum((a > b) + 0.5 * (a == b) for a, b in itertools.product(positives, negatives))
    x, t = np.array([s for s, _ in pairs], np.float32), np.array([p for _, p in pairs])
    assert of(M.AUC(), x, t) == won / (len(positives) * len(negatives))
    logits = np.stack([-x, x], 1)
    assert of(M.AUC(), logits, t) == won / (len(positives) * len(negatives))


def test_auc_of_classes_is_that_of_their_probabilities() -> None:
    x, t = normal(60, 4, dtype="float64"), integers(60, low=0, high=4)
    p = np.exp(x) / np.exp(x).sum(1, keepdims=True)
    logits, probabilities = M.AUC(), M.AUC(activation="none")
    assert of(logits, x, t) == of(probabilities, p, t)
    alone = [of(M.AUC(), p[:, k], t == k) for k in range(4)]
    np.testing.assert_array_equal(logits.per_class(), alone)
    # Probabilities of sure models are 1 for many samples; their logits still tell them apart.
    assert of(M.AUC(), x * 100, t) > 0
    assert len(np.unique(M.AUC()._ranked(x * 100)[:, 0])) == 60


def test_auc_of_one_class_is_an_error_or_left_out() -> None:
    metric = M.AUC()
    metric.update(normal(5), np.zeros(5, np.int64))
    with pytest.raises(InputError, match=r"metric 'auc': 0 of 5 elements are of class 1; the area"):
        metric.result()
    assert math.isnan(of(M.AUC(single="skip"), normal(5), np.ones(5, np.int64)))
    x, t = normal(30, 3), integers(30, low=0, high=2)  # class 2 has no element
    with pytest.raises(InputError, match=r"0 of 30 elements are of class 2"):
        of(M.AUC(), x, t)
    metric = M.AUC(single="skip")
    assert of(metric, x, t) == metric.per_class()[:2].mean()


def by_hand(found: Array, truth: Array, classes: int) -> Array:
    """Return Dice (N, classes), NaN where the truth has none."""
    values = np.full((len(found), classes), np.nan)
    for n, k in np.ndindex(*values.shape):
        a, b = found[n] == k, truth[n] == k
        if b.any():
            values[n, k] = 2 * (a & b).sum() / (a.sum() + b.sum())
    return values


def test_dice_by_image_class_and_pool() -> None:
    x, t = normal(5, 3, 4, 4), integers(5, 4, 4, low=0, high=3, seed=1)
    t[1] = 0  # no region but the background
    t[2] = np.where(t[2] == 2, 1, t[2])
    values = by_hand(x.argmax(1), t, 3)
    np.testing.assert_allclose(of(M.Dice(), x, t), np.nanmean(np.nanmean(values, 1)))
    metric = M.Dice(average="class")
    np.testing.assert_allclose(of(metric, x, t), np.nanmean(np.nanmean(values, 0)))
    np.testing.assert_allclose(metric.per_class(), np.nanmean(values, 0))
    front = values[[0, 2, 3, 4], 1:]
    np.testing.assert_allclose(of(M.Dice(background=False), x, t), np.nanmean(front, 1).mean())
    matrix = of(M.ConfusionMatrix(), x, t)
    sizes = matrix.sum(0) + matrix.sum(1)
    pooled = M.Dice(average="pooled")
    np.testing.assert_allclose(of(pooled, x, t), (2 * np.diag(matrix) / sizes).mean())
    overlap = np.diag(matrix) / (sizes - np.diag(matrix))
    np.testing.assert_allclose(of(M.IoU(average="pooled"), x, t), overlap.mean())


@pytest.mark.parametrize(
    ("empty", "neither", "found"),
    [("skip", math.nan, math.nan), ("skip_both", math.nan, 0.0), ("one", 1.0, 0.0)],
)
def test_empty_masks(empty: str, neither: float, found: float) -> None:
    nothing, something = np.full((1, 1, 8), -1.0), np.ones((1, 1, 8))
    truth = np.zeros((1, 1, 8), np.uint8)
    for kind in (M.Dice, M.IoU):
        np.testing.assert_equal(of(kind(empty=empty), nothing, truth), neither)
        np.testing.assert_equal(of(kind(empty=empty), something, truth), found)
        assert of(kind(empty=empty), nothing, 1 - truth) == 0


def test_regions_that_overlap() -> None:
    x, t = normal(3, 2, 6, 6), integers(3, 2, 6, 6, low=0, high=2)
    metric = M.Dice(activation="sigmoid")
    values = [of(M.Dice(), x[:, k : k + 1], t[:, k : k + 1]) for k in range(2)]
    of(metric, x, t)
    np.testing.assert_allclose(metric.per_class(), values)


@pytest.mark.parametrize("shape", [(9,), (7, 6), (5, 6, 4)])
def test_surface_by_neighbours(shape: tuple[int, ...]) -> None:
    mask = uniform(*shape, seed=len(shape)) < 0.8
    expected = np.zeros_like(mask)
    for place in np.ndindex(*shape):
        for axis, step in itertools.product(range(len(shape)), (-1, 1)):
            near = list(place)
            near[axis] += step
            outside = not 0 <= near[axis] < shape[axis] or not mask[tuple(near)]
            expected[place] |= mask[place] and outside
    np.testing.assert_array_equal(surface(mask), expected)


@pytest.mark.parametrize("shape", [(12, 10), (7, 8, 6)])
def test_hausdorff_distance_by_all_pairs(shape: tuple[int, ...]) -> None:
    x, t = normal(2, 1, *shape, seed=2), (uniform(2, 1, *shape, seed=3) < 0.5).astype(np.uint8)
    steps = np.array([0.5, 2.0, 1.25])[: len(shape)]
    expected = []
    for a, b in zip(x[:, 0] > 0, t[:, 0] == 1, strict=True):
        points = [np.argwhere(surface(m)) * steps for m in (a, b)]
        apart = np.linalg.norm(points[0][:, None] - points[1][None], axis=-1)
        expected.append(max(np.percentile(apart.min(k), 95) for k in (0, 1)))
    metric = M.HausdorffDistance(spacing=tuple(steps))
    np.testing.assert_allclose(of(metric, x, t), np.mean(expected))
    batch = M.HausdorffDistance()
    batch.update(x, t, spacing=steps.tolist())
    assert batch.result() == metric.result()
    np.testing.assert_allclose(nearest(points[0], points[1]), apart.min(1))


def test_hausdorff_distance_of_what_is_missed() -> None:
    x, t = np.full((1, 1, 3, 4), -1.0), np.zeros((1, 1, 3, 4), np.uint8)
    assert math.isnan(of(M.HausdorffDistance(), x, t))
    t[..., 1, 1] = 1
    assert of(M.HausdorffDistance(), x, t) == 5
    assert of(M.HausdorffDistance(missed="inf"), x, t) == math.inf
    assert math.isnan(of(M.HausdorffDistance(missed="skip"), x, t))
    assert of(M.HausdorffDistance(), np.where(t, 1.0, -1.0), t) == 0


def test_regression() -> None:
    x, t = normal(20, 1), normal(20, seed=1)
    d = np.abs(x[:, 0].astype(np.float64) - t)
    np.testing.assert_allclose(of(M.MeanSquaredError(), x, t), (d**2).mean(), 1e-14)
    np.testing.assert_allclose(of(M.MeanSquaredError(root=True), x, t), (d**2).mean() ** 0.5, 1e-14)
    np.testing.assert_allclose(of(M.MeanAbsoluteError(), x, t), d.mean(), 1e-14)
    relative = d / np.maximum(np.abs(t.astype(np.float64)), 0.1)
    np.testing.assert_allclose(of(M.MeanRelativeError(floor=0.1), x, t), relative.mean(), 1e-14)
    assert of(M.BinaryAccuracy(), x, t > 0) == ((x[:, 0] > 0) == (t > 0)).mean()


def test_targets_in_any_form_and_narrow_outputs() -> None:
    import ml_dtypes

    labels = np.where(LABELS == 255, 0, LABELS)
    hot = np.moveaxis(np.eye(4)[labels], -1, 1)
    expected = of(M.Accuracy(), SCORES, labels)
    for targets in (labels[:, None], hot, labels.astype(np.float32), labels.astype(np.uint8)):
        assert of(M.Accuracy(), SCORES, targets) == expected
    narrow = SCORES.astype(ml_dtypes.bfloat16)
    wide = of(M.MeanSquaredError(), narrow.astype(np.float32), hot)
    assert of(M.MeanSquaredError(), narrow, hot) == wide
    assert 0 < of(M.Dice(), narrow, labels) < 1


@pytest.mark.parametrize(
    ("metric", "outputs", "targets", "message"),
    [
        (M.Accuracy(), np.zeros((2, 3)), np.array([0, 3]), r"metric 'accuracy': labels: sample 1"),
        (M.Accuracy(), np.zeros((2, 3)), np.zeros(3), r"outputs \[2, 3\] take targets of shape \["),
        (M.Accuracy(), np.zeros((0, 3)), np.zeros(0), r"outputs \[0, 3\] are empty"),
        (M.AUC(), np.array([1, np.nan]), np.array([0, 1]), "outputs of sample 1 of the batch hold"),
        (M.TopK(k=4), np.zeros((2, 3)), np.zeros(2), "k=4 must be from 1 to the 3 classes"),
        (M.Dice(), np.zeros((2, 1, 4)), np.full((2, 4), 3), "masks are 0 and 1, sample 0 of the"),
        (M.Dice(), np.zeros((2, 1, 4)), np.zeros((2, 5)), r"masks must have the shape of outputs"),
        (M.MeanSquaredError(), np.zeros(3), np.zeros(4), r"must have one shape.*\[3\] and \[4\]"),
        (M.HausdorffDistance(spacing=(1.0,)), SINGLE, MASK, r"must be 2 positive numbers, one per"),
        (M.BinaryAccuracy(), np.array([np.nan]), np.array([1]), "outputs hold NaN"),
    ],
)
def test_a_bad_batch_is_explained_and_not_counted(
    metric: metrics.Metric[Any], outputs: Array, targets: Array, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        metric.update(outputs, targets)
    assert metric.state() == {}
    with pytest.raises(InputError, match=f"metric '{metric.name}': no data were counted; call"):
        metric.result()


def test_options_and_merging_are_checked() -> None:
    with pytest.raises(InputError, match="average='weighted' must be one of auto, binary, micro"):
        M.F1(average="weighted")
    with pytest.raises(InputError, match="empty='nan' must be one of skip, skip_both, one"):
        M.Dice(empty="nan")
    with pytest.raises(InputError, match="average='pooled' must be one of image, class"):
        M.HausdorffDistance(average="pooled")
    with pytest.raises(InputError, match=r"cannot merge TopK\(k=3.*into TopK\(k=2"):
        M.TopK(k=2).merge(M.TopK(k=3))
    metric = M.Accuracy()
    metric.update(np.zeros((2, 3)), np.zeros(2))
    with pytest.raises(InputError, match="counted 3 classes so far and 4 classes now"):
        metric.update(np.zeros((2, 4)), np.zeros(2))
    assert metric.matrix.sum() == 2
    with pytest.raises(InputError, match="average='binary' is for two classes, found 3"):
        of(M.F1(average="binary"), np.zeros((2, 3)), np.zeros(2))
    with pytest.raises(InputError, match="all elements are ignored"):
        of(M.Accuracy(ignore_index=9), np.zeros((2, 3)), np.full(2, 9))


def test_metric_of_one_output_of_several() -> None:
    x, t = {"a": SINGLE, "b": SCORES}, {"mask": MASK, "labels": LABELS}
    first, second = (M.OfOutput(metric=M.Dice(), output="a", target="mask") for _ in range(2))
    first.update(x, t)
    second.load(first.state())
    second.merge(first)
    assert second.result() == first.result() == of(M.Dice(), SINGLE, MASK)
    first.reset()
    first.update(SINGLE, MASK)  # where there is one, names are not asked
    assert first.result() == second.result()
    with pytest.raises(InputError, match=r"there is no target 'masks'; targets are: mask, labels$"):
        M.OfOutput(metric=M.Dice(), output="a", target="masks").update(x, t)
    with pytest.raises(InputError, match=r"none is named; outputs are: a, b$"):
        M.OfOutput(metric=M.Dice()).update(x, MASK)
    with pytest.raises(InputError, match="cannot merge"):
        first.merge(M.OfOutput(metric=M.Dice(), output="b", target="mask"))
    with pytest.raises(InputError, match=r"metric 'dice': expected one array, found .*: a, b; OfO"):
        M.Dice().update(x, MASK)  # type: ignore[arg-type]


def test_metrics_by_name() -> None:
    assert isinstance(metrics.metric_named("sensitivity"), M.Recall)
    with pytest.raises(InputError, match=r"no metric 'acc'; there are: accuracy, auc, "):
        metrics.metric_named("acc")
    with pytest.raises(InputError, match=r"metric 'dice' has no option 'smooth'; it has: activat"):
        metrics.metric_named("dice", smooth=1)
