# SPDX-License-Identifier: MIT
"""Losses on small data: values and gradients of their graphs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from arrays import integers, normal, uniform
from ranvier.frontend import builder as nn
from ranvier.ir import Array, Graph, interpret, type_of
from ranvier.ir.gradient import differentiate
from ranvier.ir.types import TensorType
from ranvier.training import losses


def loss_graph(loss: losses.LossFunction, outputs: Array, targets: Array) -> Graph:
    """Return the graph of a loss of two inputs."""
    inputs = []
    for name, array in (("outputs", outputs), ("targets", targets)):
        type = type_of(array)
        assert isinstance(type, TensorType)
        inputs.append(nn.input(name, type.dims, type.dtype))
    return nn.graph("loss", inputs, {"loss": loss(*inputs)})


def value(loss: losses.LossFunction, outputs: Array, targets: Array) -> float:
    """Return the loss."""
    (result,) = interpret(loss_graph(loss, outputs, targets), [outputs, targets])
    assert result.shape == ()
    return float(result)


def gradient(loss: losses.LossFunction, outputs: Array, targets: Array) -> Array:
    """Return the derivative of the loss by the outputs."""
    graph = differentiate(loss_graph(loss, outputs, targets))
    one = np.ones((), outputs.dtype)
    result: Array = interpret(graph, [outputs, targets, one])[0]
    return result


class Case(NamedTuple):
    """A loss, outputs in float64, and targets."""

    loss: Callable[[Any, Any], Any]
    outputs: Array
    targets: Array


SCORES = normal(2, 3, 4, 5, dtype="float64", seed=1)
LABELS = integers(2, 4, 5, low=0, high=3, seed=2)
MASKED = np.where(uniform(2, 4, 5, seed=3) < 0.3, 255, LABELS)
SHARES = np.exp(normal(2, 3, 4, 5, dtype="float64", seed=4))
SHARES = SHARES / SHARES.sum(1, keepdims=True)
SINGLE = normal(2, 1, 4, 5, dtype="float64", seed=5)
MASK = integers(2, 1, 4, 5, low=0, high=2, seed=6, dtype="uint8")
MASKED_BINARY = np.where(uniform(2, 1, 4, 5, seed=3) < 0.3, 255, MASK)
NUMBERS = normal(2, 3, 4, 5, dtype="float64", seed=7)
HOT = np.moveaxis(np.eye(3)[LABELS], -1, 1)
ABSENT = np.where(LABELS == 2, 1, LABELS)

L = losses
CASES: dict[str, Case] = {
    "cross_entropy": Case(L.CrossEntropy(), SCORES, LABELS),
    "cross_entropy-sum": Case(L.CrossEntropy(reduction="sum"), SCORES, LABELS),
    "cross_entropy-weights": Case(L.CrossEntropy(weights=(0.2, 0.5, 3.0)), SCORES, LABELS),
    "cross_entropy-smooth": Case(L.CrossEntropy(label_smoothing=0.1), SCORES, LABELS),
    "cross_entropy-ignore": Case(L.CrossEntropy(ignore_index=255), SCORES, MASKED),
    "cross_entropy-all": Case(
        L.CrossEntropy(weights=(0.2, 0.5, 3.0), label_smoothing=0.1, ignore_index=255),
        SCORES,
        MASKED,
    ),
    "cross_entropy-hot": Case(L.CrossEntropy(label_smoothing=0.2), SCORES, HOT),
    "soft_cross_entropy": Case(L.SoftCrossEntropy(), SCORES, SHARES),
    "soft_cross_entropy-weights": Case(L.SoftCrossEntropy(weights=(0.2, 0.5, 3.0)), SCORES, SHARES),
    "binary": Case(L.BinaryCrossEntropy(), SINGLE, MASK),
    "binary-weight": Case(L.BinaryCrossEntropy(pos_weight=3.0), SINGLE, MASK),
    "binary-weights": Case(L.BinaryCrossEntropy(pos_weight=(3.0, 0.5, 1.0)), SCORES, SHARES),
    "binary-ignore": Case(L.BinaryCrossEntropy(ignore_index=255), SINGLE, MASKED_BINARY),
    "binary-labels": Case(L.BinaryCrossEntropy(), SCORES, LABELS),
    "focal": Case(L.Focal(), SCORES, LABELS),
    "focal-power": Case(L.Focal(gamma=0.7, weights=(0.2, 0.5, 3.0)), SCORES, LABELS),
    "focal-ignore": Case(L.Focal(gamma=1.0, ignore_index=255), SCORES, MASKED),
    "focal-binary": Case(L.Focal(alpha=0.25), SINGLE, MASK),
    "focal-sigmoid": Case(L.Focal(activation="sigmoid", gamma=1.5), SCORES, LABELS),
    "dice": Case(L.Dice(), SCORES, LABELS),
    "dice-binary": Case(L.Dice(), SINGLE, MASK),
    "dice-squared": Case(L.Dice(squared=True, background=False), SCORES, LABELS),
    "dice-jaccard": Case(L.Dice(jaccard=True, batch=True), SCORES, LABELS),
    "dice-weights": Case(L.Dice(weights=(1.0, 2.0, 3.0), reduction="sum"), SCORES, HOT),
    "dice-ignore": Case(L.Dice(ignore_index=255), SCORES, MASKED),
    "generalized": Case(L.GeneralizedDice(), SCORES, LABELS),
    "generalized-simple": Case(L.GeneralizedDice(weighting="simple"), SCORES, ABSENT),
    "generalized-uniform": Case(L.GeneralizedDice(weighting="uniform"), SCORES, LABELS),
    "generalized-batch": Case(L.GeneralizedDice(batch=True), SCORES, ABSENT),
    "tversky": Case(L.Tversky(alpha=0.3, beta=0.7), SCORES, LABELS),
    "dice_cross_entropy": Case(L.DiceCrossEntropy(), SCORES, LABELS),
    "dice_binary": Case(L.DiceBinaryCrossEntropy(), SINGLE, MASK),
    "mse": Case(L.MeanSquaredError(), SCORES, NUMBERS),
    "mae": Case(L.MeanAbsoluteError(), SCORES, NUMBERS),
    "mre": Case(L.MeanRelativeError(floor=0.1), SCORES, NUMBERS),
    "msle": Case(L.MeanSquaredLogarithmicError(), SCORES, NUMBERS),
    "huber": Case(L.Huber(delta=0.8), SCORES, NUMBERS),
    "hinge": Case(L.Hinge(), SINGLE, MASK),
    "hinge-squared": Case(L.Hinge(squared=True, margin=0.5), SINGLE, MASK),
    "multi_class_hinge": Case(L.MultiClassHinge(), SCORES, LABELS),
    "multi_class_hinge-squared": Case(L.MultiClassHinge(squared=True), SCORES, LABELS),
    "min": Case(L.Minimize(), SCORES, LABELS),
    "sum": Case(L.WeightedSum((L.CrossEntropy(), L.Focal()), (0.5, 2.0)), SCORES, LABELS),
}
"""Every loss, with every option at least once."""
