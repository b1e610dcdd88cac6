# SPDX-License-Identifier: MIT
"""Converters of elementwise operators: old forms, mixed types, what breaks the standard.

The current form of each operator is covered by the conformance suite.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from onnx_text import imported
from ranvier.errors import ModelError
from ranvier.frontend import StagedRunner, interpreted

X = np.arange(24, dtype=np.float32).reshape(2, 3, 4) - 7
PAIR, TRIPLE = np.array([2, 3], np.float32), np.array([1, 2, 4], np.float32)


def run(graph: str, *inputs: Any, opset: int = 20) -> Any:
    """Return the output of a model in the text syntax."""
    (result,) = StagedRunner(imported(f"g {graph}", opset), interpreted)(inputs)
    return result


LIMITED = [
    ("Add<broadcast = 1>", "4", np.arange(4, dtype=np.float32), X + np.arange(4)),
    ("Sub<broadcast = 1, axis = 0>", "2", PAIR, X - PAIR[:, None, None]),
    ("Mul<broadcast = 1, axis = 1>", "3", TRIPLE, X * TRIPLE[:, None]),
    ("Div<broadcast = 1, axis = 0>", "2,3", X[:, :, 1], X / X[:, :, 1:2]),
    ("Pow<broadcast = 1>", "1,1", np.array([[2]], np.float32), X**2),
    (
        "Add<broadcast = 1, axis = 2, consumed_inputs = [0, 0]>",
        "1",
        np.array([5], np.float32),
        X + 5,
    ),
]


@pytest.mark.parametrize(("node", "shape", "y", "expected"), LIMITED)
def test_limited_broadcasting(node: str, shape: str, y: Any, expected: Any) -> None:
    name, settings = node.split("<")
    graph = (
        f"(float[2,3,4] x, float[{shape}] y) => (float[2,3,4] z) {{ z = {name}<{settings}(x, y) }}"
    )
    opset = 1 if "consumed" in node else 6
    np.testing.assert_array_equal(run(graph, X, y, opset=opset), expected.astype(np.float32))


def test_limited_comparison() -> None:
    graph = (
        "(float[2,3,4] x, float[3] y) => (bool[2,3,4] z)"
        "{ z = Greater<broadcast = 1, axis = 1>(x, y) }"
    )
    np.testing.assert_array_equal(run(graph, X, TRIPLE, opset=1), TRIPLE[:, None] < X)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("", "'broadcast' is not set"),
        ("<broadcast = 1, axis = 2>", "do not broadcast"),
        ("<broadcast = 1, axis = 7>", "axis 7 does not exist"),
    ],
)
def test_limited_broadcasting_refuses(settings: str, message: str) -> None:
    graph = f"(float[2,3,4] x, float[3] y) => (float[2,3,4] z) {{ z = Add{settings}(x, y) }}"
    with pytest.raises(ModelError, match=message):
        run(graph, X, TRIPLE, opset=6)


POWERS = [
    (
        "float",
        "int64",
        np.array([-2, 3], np.float32),
        np.array([3, -1]),
        np.array([-8, 1 / 3], np.float32),
    ),
    ("int64", "float", np.array([4, 9]), np.array([0.5, 2], np.float32), np.array([2, 81])),
    ("int32", "int64", np.array([2, -1], np.int32), np.array([5, 3]), np.array([32, -1], np.int32)),
    (
        "float",
        "double",
        np.array([2, 4], np.float32),
        np.array([0.5, -1]),
        np.array([2**0.5, 0.25], np.float32),
    ),
    (
        "float16",
        "float",
        np.array([2, 4], np.float16),
        np.array([3, 0.5], np.float32),
        np.array([8, 2], np.float16),
    ),
]


@pytest.mark.parametrize(("base", "exponent", "x", "y", "expected"), POWERS)
def test_powers_of_mixed_types(base: str, exponent: str, x: Any, y: Any, expected: Any) -> None:
    graph = f"({base}[2] x, {exponent}[2] y) => ({base}[2] z) {{ z = Pow(x, y) }}"
    z = run(graph, x, y)
    assert z.dtype == expected.dtype
    np.testing.assert_allclose(z, expected, 1e-6)


def test_any_number_of_operands() -> None:
    ends = "(float[3] a, float[2,1] b, float[] c) => (float[2,3] y) {{ y = {}(a, b, c) }}"
    operands = [TRIPLE, PAIR[:, None], np.float32(2.5)]
    a, b, c = operands
    assert np.array_equal(run(ends.format("Sum"), *operands), a + b + c)
    assert np.array_equal(run(ends.format("Mean"), *operands), (a + b + c) / np.float32(3))
    assert np.array_equal(run(ends.format("Max"), *operands), np.maximum(np.maximum(a, b), c))
    alone = "(float[3] a) => (float[3] y) { y = Min(a) }"
    assert np.array_equal(run(alone, a), a)


def test_cast_by_name() -> None:
    graph = '(float[2,3,4] x) => (int32[2,3,4] y) { y = Cast<to = "INT32">(x) }'
    np.testing.assert_array_equal(run(graph, X, opset=1), X.astype(np.int32))
    with pytest.raises(ModelError, match="name of an element type, found 'WORD'"):
        run(graph.replace("INT32", "WORD"), X, opset=1)


def test_cast_to_text_and_back() -> None:
    graph = "(float[2,3,4] x) => (float[2,3,4] y) { s = Cast<to = 8>(x) y = Cast<to = 1>(s) }"
    np.testing.assert_array_equal(run(graph, X / 3), X / 3)


def test_strings_are_compared_and_chosen() -> None:
    graph = (
        "(string[2] x, string[2] y, bool[2] c) => (string[2] z)"
        "{ same = Equal(x, y) either = Or(same, c) z = Where(either, x, y) }"
    )
    x, y = np.array(["node", "axon"], object), np.array(["node", "myelin"], object)
    assert run(graph, x, y, np.array([False, False])).tolist() == ["node", "myelin"]
    assert run(graph, x, y, np.array([False, True])).tolist() == ["node", "axon"]


def test_bit_cast_needs_equal_widths() -> None:
    graph = "(float[2] x) => (int64[2] y) { y = BitCast<to = 7>(x) }"
    with pytest.raises(ModelError, match="float32 has 32 bits, int64 has 64"):
        run(graph, PAIR, opset=26)


def test_shift_direction() -> None:
    graph = '(uint8[2] x, uint8[2] y) => (uint8[2] z) { z = BitShift<direction = "UP">(x, y) }'
    x = np.array([1, 2], np.uint8)
    with pytest.raises(ModelError, match="LEFT or RIGHT, found 'UP'"):
        run(graph, x, x)
