# SPDX-License-Identifier: MIT
"""Losses beside those of torch and MONAI, where they are installed: values and gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from loss_cases import CASES, HOT, LABELS, Case, gradient, value
from ranvier.training import losses

torch = pytest.importorskip("torch")
F = torch.nn.functional
CLASSES = torch.tensor([0.2, 0.5, 3.0], dtype=torch.float64)
TORCH: dict[str, Callable[[Any, Any], Any]] = {
    "cross_entropy": F.cross_entropy,
    "cross_entropy-sum": lambda x, t: F.cross_entropy(x, t, reduction="sum"),
    "cross_entropy-weights": lambda x, t: F.cross_entropy(x, t, CLASSES),
    "cross_entropy-smooth": lambda x, t: F.cross_entropy(x, t, label_smoothing=0.1),
    "cross_entropy-ignore": lambda x, t: F.cross_entropy(x, t, ignore_index=255),
    "cross_entropy-all": lambda x, t: F.cross_entropy(
        x, t, CLASSES, ignore_index=255, label_smoothing=0.1
    ),
    "cross_entropy-hot": lambda x, t: F.cross_entropy(x, t, label_smoothing=0.2),
    "soft_cross_entropy": F.cross_entropy,
    "soft_cross_entropy-weights": lambda x, t: F.cross_entropy(x, t, CLASSES),
    "binary": lambda x, t: F.binary_cross_entropy_with_logits(x, t.double()),
    "binary-weight": lambda x, t: F.binary_cross_entropy_with_logits(
        x, t.double(), pos_weight=torch.tensor(3.0, dtype=torch.float64)
    ),
    "mse": F.mse_loss,
    "mae": F.l1_loss,
    "huber": lambda x, t: F.huber_loss(x, t, delta=0.8),
    "multi_class_hinge": lambda x, t: F.multi_margin_loss(
        x.movedim(1, -1).reshape(-1, 3), t.reshape(-1)
    ),
    "multi_class_hinge-squared": lambda x, t: F.multi_margin_loss(
        x.movedim(1, -1).reshape(-1, 3), t.reshape(-1), p=2
    ),
}


def compare(
    case: Case, reference: Callable[[Any, Any], Any], rtol: float = 1e-10, atol: float = 1e-12
) -> None:
    x = torch.tensor(case.outputs, requires_grad=True)
    expected = reference(x, torch.tensor(case.targets))
    expected.backward()
    np.testing.assert_allclose(value(*case), expected.item(), rtol)
    np.testing.assert_allclose(gradient(*case), x.grad.numpy(), 100 * rtol, atol)


@pytest.mark.parametrize("name", TORCH)
def test_torch(name: str) -> None:
    compare(CASES[name], TORCH[name])


IN_FLOAT32 = (1e-6, 1e-8)
"""MONAI rounds one-hot labels, weights and what the focal loss computes with to float32."""

MONAI: dict[str, tuple[losses.Loss, str, dict[str, Any]]] = {
    "dice": (losses.Dice(), "DiceLoss", {}),
    "squared": (losses.Dice(squared=True), "DiceLoss", {"squared_pred": True}),
    "jaccard": (losses.Dice(jaccard=True), "DiceLoss", {"jaccard": True}),
    "foreground": (losses.Dice(background=False), "DiceLoss", {"include_background": False}),
    "batch": (losses.Dice(batch=True), "DiceLoss", {"batch": True}),
    "smooth": (
        losses.Dice(smooth=0.3, smooth_denominator=0.7),
        "DiceLoss",
        {"smooth_nr": 0.3, "smooth_dr": 0.7},
    ),
    "weights": (
        losses.Dice(weights=(0.2, 0.5, 3.0)),
        "DiceLoss",
        {"weight": [0.2, 0.5, 3.0]},
    ),
    "sum": (losses.Dice(reduction="sum"), "DiceLoss", {"reduction": "sum"}),
    "tversky": (
        losses.Tversky(alpha=0.3, beta=0.7),
        "TverskyLoss",
        {"alpha": 0.3, "beta": 0.7},
    ),
    "generalized": (
        losses.GeneralizedDice(smooth=0.0, smooth_denominator=1e-12),
        "GeneralizedDiceLoss",
        {"smooth_nr": 0.0, "smooth_dr": 1e-14},
    ),
    "generalized-simple": (
        losses.GeneralizedDice(weighting="simple", smooth=0.0, smooth_denominator=1e-12),
        "GeneralizedDiceLoss",
        {"w_type": "simple", "smooth_nr": 0.0, "smooth_dr": 1e-14},
    ),
    "pair": (
        losses.DiceCrossEntropy(dice=losses.Dice()),
        "DiceCELoss",
        {},
    ),
}


@pytest.mark.parametrize("name", MONAI)
def test_monai(name: str) -> None:
    monai = pytest.importorskip("monai.losses")
    loss, kind, options = MONAI[name]
    reference = getattr(monai, kind)(softmax=True, to_onehot_y=True, **options)
    compare(Case(loss, CASES["dice"].outputs, LABELS[:, None]), reference, *IN_FLOAT32)


def test_monai_focal() -> None:
    monai = pytest.importorskip("monai.losses")
    single = CASES["focal-binary"]
    sigmoid = monai.FocalLoss(gamma=2.0, alpha=0.25)
    compare(single, lambda x, t: sigmoid(x, t.double()), *IN_FLOAT32)
    softmax = monai.FocalLoss(gamma=2.0, use_softmax=True)
    classes = Case(losses.Focal(), CASES["focal"].outputs, HOT)
    # Ours is the mean over elements alone, theirs over classes too.
    compare(classes, lambda x, t: 3 * softmax(x, t), *IN_FLOAT32)
