# SPDX-License-Identifier: MIT
"""Losses: formulas in float64, finite differences, extreme scores, forms of targets, errors."""

from __future__ import annotations

import numpy as np
import pytest

from agreement import Compiled, assert_agree
from arrays import integers, normal, uniform
from loss_cases import (
    CASES,
    HOT,
    LABELS,
    MASK,
    MASKED,
    NUMBERS,
    SCORES,
    SHARES,
    SINGLE,
    gradient,
    loss_graph,
    value,
)
from ranvier.errors import InputError, LayerError
from ranvier.frontend import builder as nn
from ranvier.ir import Array, interpret, verify
from ranvier.ir.gradient import differentiate
from ranvier.training import losses


def log_probabilities(x: Array) -> Array:
    shifted = x - x.max(1, keepdims=True)
    result: Array = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    return result


def sigmoid(x: Array) -> Array:
    result: Array = 1 / (1 + np.exp(-x))
    return result


def picked(x: Array, labels: Array) -> Array:
    return np.take_along_axis(x, labels[:, None], 1)[:, 0]


LOGS = log_probabilities(SCORES)
RIGHT = picked(LOGS, LABELS)
WEIGHTS = np.array([0.2, 0.5, 3.0])
COLUMN = WEIGHTS[:, None, None]
COUNTED = MASKED != 255


def close(name: str, expected: float) -> None:
    np.testing.assert_allclose(value(*CASES[name]), expected, 1e-12)


def test_cross_entropy() -> None:
    close("cross_entropy", -RIGHT.mean())
    close("cross_entropy-sum", -RIGHT.sum())
    row = WEIGHTS[LABELS]
    close("cross_entropy-weights", -(row * RIGHT).sum() / row.sum())
    close("cross_entropy-smooth", -(0.9 * RIGHT + 0.1 * LOGS.mean(1)).mean())
    close("cross_entropy-ignore", -RIGHT[COUNTED].mean())
    mixed = 0.9 * row * RIGHT + 0.1 / 3 * (COLUMN * LOGS).sum(1)
    close("cross_entropy-all", -mixed[COUNTED].sum() / row[COUNTED].sum())
    close("cross_entropy-hot", -(0.8 * RIGHT + 0.2 * LOGS.mean(1)).mean())
    close("soft_cross_entropy", -(SHARES * LOGS).sum(1).mean())
    close("soft_cross_entropy-weights", -(COLUMN * SHARES * LOGS).sum(1).mean())


def test_binary_cross_entropy() -> None:
    yes, no = np.log(sigmoid(SINGLE)), np.log(sigmoid(-SINGLE))
    close("binary", -np.where(MASK == 1, yes, no).mean())
    close("binary-weight", -np.where(MASK == 1, 3 * yes, no).mean())
    counted = CASES["binary-ignore"].targets != 255
    close("binary-ignore", -np.where(MASK == 1, yes, no)[counted].mean())
    yes, no = np.log(sigmoid(SCORES)), np.log(sigmoid(-SCORES))
    pos = np.array([3.0, 0.5, 1.0])[:, None, None]
    close("binary-weights", -(pos * SHARES * yes + (1 - SHARES) * no).mean())
    close("binary-labels", -np.where(HOT == 1, yes, no).mean())


def test_focal() -> None:
    p = np.exp(RIGHT)
    close("focal", -((1 - p) ** 2 * RIGHT).mean())
    close("focal-power", -(WEIGHTS[LABELS] * (1 - p) ** 0.7 * RIGHT).mean())
    close("focal-ignore", -((1 - p) * RIGHT)[COUNTED].mean())
    q = np.where(MASK == 1, sigmoid(SINGLE), sigmoid(-SINGLE))
    alpha = np.where(MASK == 1, 0.25, 0.75)
    close("focal-binary", -(alpha * (1 - q) ** 2 * np.log(q)).mean())
    q = np.where(HOT == 1, sigmoid(SCORES), sigmoid(-SCORES))
    close("focal-sigmoid", -((1 - q) ** 1.5 * np.log(q)).mean())


def test_focal_without_focus_is_cross_entropy() -> None:
    plain = value(losses.CrossEntropy(), SCORES, LABELS)
    np.testing.assert_allclose(value(losses.Focal(gamma=0.0), SCORES, LABELS), plain, 1e-12)


def sums(x: Array) -> Array:
    result: Array = x.sum((2, 3))
    return result


def test_dice() -> None:
    p, t, s = np.exp(LOGS), HOT, 1e-5
    ratio = (2 * sums(p * t) + s) / (sums(p) + sums(t) + s)
    close("dice", (1 - ratio).mean())
    close("dice-weights", ((1 - ratio) * [1, 2, 3]).sum())
    squared = (2 * sums(p * t) + s) / (sums(p * p) + sums(t * t) + s)
    close("dice-squared", (1 - squared[:, 1:]).mean())
    common, both = sums(p * t).sum(0), (sums(p) + sums(t)).sum(0)
    close("dice-jaccard", (1 - (2 * common + s) / (2 * (both - common) + s)).mean())
    kept = COUNTED[:, None]
    p, t = p * kept, t * kept
    close("dice-ignore", (1 - (2 * sums(p * t) + s) / (sums(p) + sums(t) + s)).mean())
    p, t = sigmoid(SINGLE), MASK
    close("dice-binary", (1 - (2 * sums(p * t) + s) / (sums(p) + sums(t) + s)).mean())


def test_generalized_dice() -> None:
    p, t, s = sums(np.exp(LOGS)), sums(HOT), 1e-5
    common = sums(np.exp(LOGS) * HOT)
    w = (t.min(1, keepdims=True) / t) ** 2
    expected = 1 - (2 * (w * common).sum(1) + s) / ((w * (p + t)).sum(1) + s)
    close("generalized", expected.mean())
    expected = 1 - (2 * common.sum(1) + s) / ((p + t).sum(1) + s)
    close("generalized-uniform", expected.mean())


def test_generalized_dice_weighs_an_absent_region_like_the_smallest() -> None:
    t = np.array([[[1.0] * 8 + [0.0] * 8, [0.0] * 8 + [1.0] * 8, [0.0] * 16]])
    p = np.full((1, 3, 16), 1 / 3)
    loss = losses.GeneralizedDice(activation="none", smooth=0.0)
    np.testing.assert_allclose(value(loss, p, t), 1 - 2 * (16 / 3) / (16 + 16))
    nothing = losses.GeneralizedDice(activation="none", background=False)
    empty = np.stack([np.ones(16), np.zeros(16), np.zeros(16)])[None]
    assert value(nothing, empty, empty) == 0  # nothing found where there is nothing
    assert value(nothing, p, empty) > 0.99


def test_tversky() -> None:
    p, t, s = np.exp(LOGS), HOT, 1e-5
    tp, fp, fn = sums(p * t), sums(p * (1 - t)), sums((1 - p) * t)
    close("tversky", (1 - (tp + s) / (tp + 0.3 * fp + 0.7 * fn + s)).mean())
    half, dice = losses.Tversky(smooth=0.5e-5), losses.Dice()
    np.testing.assert_allclose(value(half, SCORES, LABELS), value(dice, SCORES, LABELS), 1e-12)


def test_regression() -> None:
    d = np.abs(SCORES - NUMBERS)
    close("mse", (d**2).mean())
    close("mae", d.mean())
    close("mre", (d / np.maximum(np.abs(NUMBERS), 0.1)).mean())
    logs = np.log1p(np.maximum(SCORES, 0)) - np.log1p(np.maximum(NUMBERS, 0))
    close("msle", (logs**2).mean())
    close("huber", np.where(d <= 0.8, d**2 / 2, 0.8 * (d - 0.4)).mean())
    close("min", SCORES.sum() / 2)


def test_hinge() -> None:
    sign = np.where(MASK == 1, 1, -1)
    close("hinge", np.maximum(0, 1 - sign * SINGLE).mean())
    close("hinge-squared", (np.maximum(0, 0.5 - sign * SINGLE) ** 2).mean())
    short = np.maximum(0, 1 - picked(SCORES, LABELS)[:, None] + SCORES)
    close("multi_class_hinge", np.where(HOT == 1, 0, short).sum(1).mean() / 3)
    close("multi_class_hinge-squared", np.where(HOT == 1, 0, short**2).sum(1).mean() / 3)


def test_sums() -> None:
    close("sum", 0.5 * value(*CASES["cross_entropy"]) + 2 * value(losses.Focal(), SCORES, LABELS))
    dice = value(losses.Dice(background=False), SCORES, LABELS)
    close("dice_cross_entropy", dice + value(*CASES["cross_entropy"]))
    close("dice_binary", value(*CASES["dice-binary"]) + value(*CASES["binary"]))
    assert value(losses.NoLoss(), SCORES, LABELS) == 0


@pytest.mark.parametrize("name", CASES)
def test_gradient_against_finite_differences(name: str) -> None:
    loss, outputs, targets = CASES[name]
    exact = gradient(loss, outputs, targets)
    assert exact.shape == outputs.shape
    graph, step = loss_graph(loss, outputs, targets), 1e-6
    found = np.empty_like(exact)
    for place in np.ndindex(outputs.shape):
        ends = []
        for change in (step, -step):
            moved = outputs.copy()
            moved[place] += change
            ends.append(float(interpret(graph, [moved, targets])[0]))
        found[place] = (ends[0] - ends[1]) / (2 * step)
    np.testing.assert_allclose(exact, found, 1e-6, 1e-8)


@pytest.mark.parametrize("name", [n for n in CASES if n != "msle"])
@pytest.mark.parametrize("size", [1e4, -1e4])
def test_extreme_scores_give_finite_losses_and_gradients(name: str, size: float) -> None:
    loss, outputs, targets = CASES[name]
    for pattern in (np.ones_like(outputs), np.sign(outputs)):
        x = (size * pattern).astype(np.float32)
        if not np.issubdtype(targets.dtype, np.integer):
            targets = targets.astype(np.float32)
        assert np.isfinite(value(loss, x, targets))
        assert np.isfinite(gradient(loss, x, targets)).all()


@pytest.mark.parametrize("name", CASES)
def test_compiled_is_interpreted(name: str, compiled: Compiled) -> None:
    loss, outputs, targets = CASES[name]
    x = outputs.astype(np.float32)
    t = targets.astype(np.float32) if targets.dtype == np.float64 else targets
    graph = differentiate(loss_graph(loss, x, t))
    inputs = [x, t, np.ones((), np.float32)]
    expected = interpret(graph, inputs)
    assert_agree(compiled(graph, inputs)[0], expected[0], 1e-4, 1e-7)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "int64", "float32"])
@pytest.mark.parametrize("loss", [losses.CrossEntropy(), losses.Dice(), losses.MultiClassHinge()])
def test_labels_of_any_type_with_and_without_a_channel(loss: losses.Loss, dtype: str) -> None:
    labels = integers(2, 4, 5, low=0, high=2, seed=2)
    expected = value(loss, SCORES, labels)
    assert value(loss, SCORES, labels.astype(dtype)) == expected
    assert value(loss, SCORES, labels[:, None].astype(dtype)) == expected


def test_one_hot_targets_mean_their_labels() -> None:
    for loss in (losses.CrossEntropy(), losses.Dice(), losses.Focal(), losses.Tversky()):
        hot = HOT.astype(np.uint8)
        np.testing.assert_allclose(value(loss, SCORES, hot), value(loss, SCORES, LABELS), 1e-12)


def test_vectors_of_scores_take_vectors_of_labels() -> None:
    x, y = normal(6, 4, dtype="float64"), integers(6, low=0, high=4)
    expected = -picked(log_probabilities(x), y).mean()
    np.testing.assert_allclose(value(losses.CrossEntropy(), x, y), expected, 1e-12)
    column, t = normal(6, 1, dtype="float64"), integers(6, low=0, high=2)
    direct = value(losses.BinaryCrossEntropy(), column[:, 0], t)
    np.testing.assert_allclose(value(losses.BinaryCrossEntropy(), column, t), direct, 1e-12)


def test_labels_of_many_classes_may_be_narrow() -> None:
    x, y = normal(4, 300, dtype="float64"), integers(4, low=0, high=256, dtype="uint8")
    expected = -picked(log_probabilities(x), y.astype(np.int64)).mean()
    np.testing.assert_allclose(value(losses.CrossEntropy(), x, y), expected, 1e-12)


def test_where_everything_is_ignored_the_loss_is_zero() -> None:
    ignored = np.full((2, 4, 5), 255)
    for loss in (
        losses.CrossEntropy(ignore_index=255),
        losses.CrossEntropy(weights=(1.0, 2.0, 3.0), label_smoothing=0.1, ignore_index=255),
        losses.Focal(ignore_index=255),
        losses.BinaryCrossEntropy(ignore_index=255),
        losses.Dice(ignore_index=255),
    ):
        assert value(loss, SCORES, ignored) == 0
        np.testing.assert_array_equal(gradient(loss, SCORES, ignored), 0)


def test_ignored_elements_have_no_gradient() -> None:
    for name in ("cross_entropy-ignore", "cross_entropy-all", "focal-ignore", "dice-ignore"):
        found = np.moveaxis(gradient(*CASES[name]), 1, -1)
        np.testing.assert_array_equal(found[MASKED == 255], 0)
        assert np.abs(found[MASKED != 255]).min() > 0


def test_narrow_outputs_are_widened() -> None:
    x = nn.input("x", (2, 2, 64, 64), "bfloat16")
    loss = losses.Dice()(x, nn.input("t", (2, 64, 64), "uint8"))
    assert loss.dtype == "float32"


def test_plain_cross_entropy_is_one_op() -> None:
    graph = loss_graph(losses.CrossEntropy(), SCORES, LABELS)
    assert [n.op.name for n in graph.nodes] == ["softmax_cross_entropy"]
    assert graph.nodes[0].source == "cross_entropy.cross_entropy"


def test_losses_of_several_outputs() -> None:
    loss = losses.PerOutput(
        {"kind": losses.CrossEntropy(), "age": losses.MeanSquaredError()},
        weights={"age": 0.1},
        targets={"age": "years"},
    )
    x, y = normal(4, 3, dtype="float64"), integers(4, low=0, high=3)
    a, b = normal(4, 1, dtype="float64"), normal(4, seed=3, dtype="float64")
    named = {
        "kind": nn.input("kind", (4, 3), "float64"),
        "age": nn.input("age", (4, 1), "float64"),
    }
    targets = {"kind": nn.input("y", (4,), "int64"), "years": nn.input("b", (4,), "float64")}
    graph = nn.graph("g", [*named.values(), *targets.values()], {"loss": loss(named, targets)})
    (found,) = interpret(verify(graph), [x, a, y, b])
    expected = value(losses.CrossEntropy(), x, y) + 0.1 * value(losses.MeanSquaredError(), a, b)
    np.testing.assert_allclose(found, expected, 1e-12)
    with pytest.raises(LayerError, match=r"no output 'age'; there are: kind$"):
        loss({"kind": named["kind"]}, targets)
    with pytest.raises(LayerError, match=r"no target 'years'; there are: kind$"):
        loss(named, {"kind": targets["kind"]})
    with pytest.raises(
        LayerError, match=r"loss 'mse': expected one tensor .* PerOutput says which"
    ):
        losses.MeanSquaredError()(named, targets["kind"])  # type: ignore[arg-type]
    both = losses.PerOutput({"kind": losses.CrossEntropy(), "age": losses.Hinge()})
    assert both(named, targets["kind"]).shape == ()


def test_deep_supervision_picks_the_middle_of_blocks() -> None:
    fine, coarse = normal(1, 2, 8, 6, dtype="float64"), normal(1, 2, 4, 2, dtype="float64")
    y = integers(1, 8, 6, low=0, high=2)
    inputs = [
        nn.input("fine", fine.shape, "float64"),
        nn.input("coarse", coarse.shape, "float64"),
        nn.input("y", y.shape, "int64"),
    ]
    loss = losses.DeepSupervision(losses.CrossEntropy())
    graph = nn.graph("g", inputs, {"loss": loss(inputs[:2], inputs[2])})
    (found,) = interpret(verify(graph), [fine, coarse, y])
    plain = losses.CrossEntropy()
    expected = value(plain, fine, y) * 2 + value(plain, coarse, y[:, 1::2, 1::3])
    np.testing.assert_allclose(found, expected / 3, 1e-12)


@pytest.mark.parametrize(
    ("loss", "outputs", "targets", "message"),
    [
        (
            losses.CrossEntropy(),
            (2, 3, 8, 8),
            (2, 8, 9),
            r"loss 'cross_entropy': outputs float32\[2, 3, 8, 8\] take .* float32\[2, 8, 9\]",
        ),
        (
            losses.Dice(),
            (2, 3, 8, 8),
            (3, 8, 8),
            r"take targets of shape \[2, 8, 8\] or \[2, 1, 8, 8\] or \[2, 3, 8, 8\], found ",
        ),
        (losses.CrossEntropy(), (2, 1), (2,), r"two classes or more, found float32\[2, 1\]; for"),
        (
            losses.CrossEntropy(weights=(1.0, 2.0)),
            (2, 3),
            (2,),
            r"weights=\[1.0, 2.0\] must be 3 numbers",
        ),
        (losses.CrossEntropy(reduction="all"), (2, 3), (2,), "reduction='all' must be one of mean"),
        (losses.CrossEntropy(label_smoothing=1.0), (2, 3), (2,), "label_smoothing=1.0 must be"),
        (losses.CrossEntropy(ignore_index=0), (2, 3), (2, 3), "ignore_index=0 needs labels"),
        (losses.MultiClassHinge(), (2, 3), (2, 3), r"of shape \[2\] or \[2, 1\], found"),
        (losses.MeanSquaredError(), (2, 3), (2,), r"loss 'mse': targets must have the shape"),
        (losses.Dice(background=False), (2, 1, 8), (2, 8), "leaves nothing of one channel"),
        (losses.Dice(activation="tanh"), (2, 1, 8), (2, 8), "activation='tanh' must be one of"),
        (losses.Dice(weights=(1.0,)), (2, 3, 8), (2, 8), "must be 3, one per channel that counts"),
        (losses.Focal(alpha=0.5), (2, 3), (2,), "alpha=0.5 belongs to sigmoid"),
        (losses.Focal(gamma=-1), (2, 3), (2,), "gamma=-1 must be 0 or more"),
        (losses.Huber(delta=0), (2, 3), (2, 3), "delta=0 must be positive"),
        (losses.GeneralizedDice(weighting="cube"), (2, 3, 8), (2, 8), "weighting='cube' must be"),
        (losses.WeightedSum(()), (2, 3), (2,), r"loss 'weighted_sum': weights=\[\] must be 1"),
        (losses.DeepSupervision(losses.Dice(), (1.0,)), (2, 3), (2,), "deep_supervision"),
    ],
)
def test_mistakes_are_explained(
    loss: losses.LossFunction, outputs: tuple[int, ...], targets: tuple[int, ...], message: str
) -> None:
    given: object = nn.input("x", outputs)
    if isinstance(loss, losses.DeepSupervision):
        given = [given, given]
    with pytest.raises(LayerError, match=message):
        loss(given, nn.input("t", targets))


def test_outputs_of_integers_are_refused() -> None:
    with pytest.raises(LayerError, match=r"loss 'mse': outputs must be floating point, found int8"):
        losses.MeanSquaredError()(nn.input("x", (2,), "int8"), nn.input("t", (2,)))


def test_labels_are_checked() -> None:
    check = losses.check_labels
    check(np.array([0, 1, 2]), 3)
    check(np.array([0.0, 1.0]), 2)
    check(np.array([True, False]), 2)
    check(np.zeros((0, 4), np.int64), 2)
    check(np.array([[0, -100]]), 2, ignore_index=-100)
    labels = np.zeros((3, 2, 2), np.int64)
    labels[2, 1, 0], labels[2, 1, 1] = 7, -1
    with pytest.raises(InputError, match=r"labels: sample 2 of the batch at \(1, 0\) holds 7; "):
        check(labels, 2)
    with pytest.raises(InputError, match=r"sample 90 at \(1, 0\) holds 7; expected 0 to 1, or 9"):
        check(labels, 2, ignore_index=9, samples=np.array([5, 7, 90]))
    with pytest.raises(InputError, match=r"sample 1 of the batch holds 0\.5; expected 0 to 1$"):
        check(np.array([0.0, 0.5]), 2)
    with pytest.raises(InputError, match=r"holds nan"):
        check(np.array([np.nan]), 2)
    with pytest.raises(InputError, match="expected numbers, found <U"):
        check(np.array(["cat"]), 2)


def test_a_batch_is_checked_as_its_loss_needs() -> None:
    check, shape = losses.check_batch, (2, 3, 4)
    bad, good = np.full((2, 4), 3), np.full((2, 4), 2)
    several = losses.PerOutput({"a": losses.Dice(), "b": losses.MeanSquaredError()})
    for loss in (
        losses.CrossEntropy(),
        losses.Focal(),
        losses.Tversky(),
        losses.DiceCrossEntropy(),
        losses.WeightedSum((losses.MeanSquaredError(), losses.CrossEntropy())),
        losses.DeepSupervision(losses.CrossEntropy()),
    ):
        check(loss, shape, good)
        with pytest.raises(InputError, match=r"labels: sample 0 of the batch at \(0,\) holds 3"):
            check(loss, shape, bad)
    check(losses.CrossEntropy(ignore_index=3), shape, bad)
    check(losses.MeanSquaredError(), shape, bad)
    check(lambda outputs, targets: outputs, shape, bad)
    check(several, {"a": shape, "b": (2, 1)}, {"a": good, "b": np.full(2, 9.0)})
    with pytest.raises(InputError, match="sample 0 of the batch"):
        check(several, {"a": shape, "b": (2, 1)}, {"a": bad, "b": np.full(2, 9.0)})
    mask = np.array([[[0, 1]], [[255, 0]]], np.uint8)
    for binary in (losses.BinaryCrossEntropy(), losses.DiceBinaryCrossEntropy()):
        check(binary, (2, 1, 2), mask // 255)
        with pytest.raises(InputError, match=r"targets: sample 1 .* holds 255; expected 0 to 1$"):
            check(binary, (2, 1, 2), mask)
    check(losses.BinaryCrossEntropy(ignore_index=255), (2, 1, 2), mask)
    with pytest.raises(InputError, match=r"holds 1\.5; expected 0 to 1$"):
        check(losses.SoftCrossEntropy(), (1, 2), np.array([[1.5, -0.5]]))


def test_losses_by_name() -> None:
    assert losses.loss_named("categorical_cross_entropy") == losses.CrossEntropy()
    assert losses.loss_named("cross_entropy", ignore_index=3) == losses.CrossEntropy(ignore_index=3)
    with pytest.raises(InputError, match=r"no loss 'l2'; there are: binary_cross_entropy, "):
        losses.loss_named("l2")
    with pytest.raises(InputError, match=r"loss 'huber' has no option 'beta'; it has: reduction"):
        losses.loss_named("huber", beta=1)


def test_a_loss_of_ones_own_is_a_function() -> None:
    def pinball(outputs: nn.Tensor, targets: nn.Tensor) -> nn.Tensor:
        d = targets - outputs
        return nn.mean(nn.maximum(d * 0.9, d * -0.1))

    d = NUMBERS - SCORES
    np.testing.assert_allclose(
        value(pinball, SCORES, NUMBERS), np.maximum(0.9 * d, -0.1 * d).mean(), 1e-12
    )
    np.testing.assert_allclose(
        gradient(pinball, SCORES, NUMBERS), np.where(d > 0, -0.9, 0.1) / d.size, 1e-12
    )


def test_sums_over_large_images_keep_their_digits() -> None:
    x, t = uniform(1, 1, 512, 512, seed=1), integers(1, 1, 512, 512, low=0, high=2, dtype="uint8")
    wide = value(losses.Dice(), x.astype(np.float64), t)
    np.testing.assert_allclose(value(losses.Dice(), x, t), wide, 1e-5)
