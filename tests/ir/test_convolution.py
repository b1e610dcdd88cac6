# SPDX-License-Identifier: MIT
"""What convolutions and their gradients say of operands that do not fit."""

from __future__ import annotations

import re

import pytest

from ranvier.errors import OpError
from ranvier.ir import TensorType, ops


@pytest.mark.parametrize(
    ("data", "gradient", "message"),
    [
        ((2, 3, 8), (2, 4, 8), "gradient has batch and positions (2, 8), windows of (3,) over"),
        ((2, 3, 8), (1, 4, 6), "gradient has batch and positions (1, 6), windows of (3,) over"),
        ((2, 3, 8), (2, 4, 6, 1), "the gradient (N, O, positions...), found"),
        ((2, 3), (2, 4), "data must be (N, C, spatial...)"),
    ],
)
def test_weight_gradient_names_what_does_not_fit(
    data: tuple[int, ...], gradient: tuple[int, ...], message: str
) -> None:
    op = ops.ConvWeightGradient((3,), (1,), (0,), (0,), (1,), (1,))
    with pytest.raises(OpError, match=re.escape(message)):
        op.infer(TensorType("float32", data), TensorType("float32", gradient))


@pytest.mark.parametrize(
    ("groups", "message"),
    [(2, "input channels per group, data has 3"), (3, "do not split into groups=3")],
)
def test_weight_gradient_checks_groups(groups: int, message: str) -> None:
    op = ops.ConvWeightGradient((3,), (1,), (0,), (0,), (1,), (1,), groups)
    with pytest.raises(OpError, match=re.escape(message)):
        op.infer(TensorType("float32", (2, 3, 8)), TensorType("float32", (2, 4, 6)))
