# SPDX-License-Identifier: MIT
"""The Gradient operator: values by name, other values in their place, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from onnx_text import parse
from ranvier.errors import ModelError, UnsupportedError
from ranvier.frontend import StagedRunner, interpreted, load

DOMAIN = "ai.onnx.preview.training"
X = np.array([0.5, -1.0, 2.0], np.float32)
Z = np.array([3.0, 4.0, 5.0], np.float32)


def run(graph: str, *inputs: Any) -> list[Any]:
    """Run a model that may use the training domain."""
    model = parse(graph)
    model.opset_import.add(domain=DOMAIN, version=1)
    return StagedRunner(load(model.SerializeToString()), interpreted)(inputs)


def test_y_need_not_be_an_output() -> None:
    (dx,) = run(
        """g (float[3] x) => (float[3] dx) {
            y = Mul(x, x)
            dx = ai.onnx.preview.training.Gradient <xs = ["x"], y = "y"> (x)
        }""",
        X,
    )
    np.testing.assert_allclose(dx, 2 * X)


def test_gradients_of_gradients() -> None:
    (second,) = run(
        """g (float[3] x) => (float[3] second) {
            square = Mul(x, x)
            y = Mul(square, x)
            first = ai.onnx.preview.training.Gradient <xs = ["x"], y = "y"> (x)
            second = ai.onnx.preview.training.Gradient <xs = ["x"], y = "first"> (x)
        }""",
        X,
    )
    np.testing.assert_allclose(second, 6 * X, rtol=1e-6)


def test_other_values_stand_for_the_named_ones() -> None:
    dx, dz = run(
        """g (float[3] x, float[3] z) => (float[3] dx, float[3] dz) {
            y = Mul(x, z)
            dx, dz = ai.onnx.preview.training.Gradient <xs = ["x", "z"], y = "y"> (z, x)
        }""",
        X,
        Z,
    )
    np.testing.assert_allclose(dx, X)
    np.testing.assert_allclose(dz, Z)


def test_intermediate_value_is_independent() -> None:
    (dh,) = run(
        """g (float[3] x) => (float[3] dh) {
            h = Exp(x)
            y = Mul(h, h)
            dh = ai.onnx.preview.training.Gradient <xs = ["h"], y = "y"> (h)
        }""",
        X,
    )
    np.testing.assert_allclose(dh, 2 * np.exp(X), rtol=1e-6)


def test_value_without_influence_has_gradient_zero() -> None:
    _, dz = run(
        """g (float[3] x, float[3] z) => (float[3] dx, float[3] dz) {
            y = Exp(x)
            dx, dz = ai.onnx.preview.training.Gradient <xs = ["x", "z"], y = "y"> (x, z)
        }""",
        X,
        Z,
    )
    np.testing.assert_array_equal(dz, np.zeros(3, np.float32))


def test_leaf_that_is_not_named_is_refused() -> None:
    with pytest.raises(ModelError, match=r"'y' depends on \['z'\] too; name them in zs"):
        run(
            """g (float[3] x, float[3] z) => (float[3] dx) {
                y = Mul(x, z)
                dx = ai.onnx.preview.training.Gradient <xs = ["x"], y = "y"> (x)
            }""",
            X,
            Z,
        )


def test_gradient_by_a_constant_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="gradient by the constant 'w'"):
        run(
            """g (float[3] x) => (float[3] dw)
            <float[3] w = {1.0, 2.0, 3.0}> {
                y = Mul(x, w)
                dw = ai.onnx.preview.training.Gradient <xs = ["w"], zs = ["x"], y = "y"> (w, x)
            }""",
            X,
        )
