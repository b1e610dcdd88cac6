# SPDX-License-Identifier: MIT
"""Functions that losses are written with: what NumPy computes, and mistakes explained."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from arrays import integers, normal, uniform
from ranvier.errors import LayerError
from ranvier.frontend import builder as nn
from ranvier.ir import Array, interpret, verify

X = normal(2, 3, 4)
Y = normal(2, 3, 4, seed=1)
POSITIVE = uniform(2, 3, 4, low=0.1)
ELEMENTWISE: dict[str, tuple[Callable[..., nn.Tensor], Callable[..., Array], tuple[Array, ...]]] = {
    "exp": (nn.exp, np.exp, (X,)),
    "expm1": (nn.expm1, np.expm1, (X,)),
    "log": (nn.log, np.log, (POSITIVE,)),
    "log1p": (nn.log1p, np.log1p, (POSITIVE,)),
    "sqrt": (nn.sqrt, np.sqrt, (POSITIVE,)),
    "abs": (nn.abs, np.abs, (X,)),
    "square": (nn.square, np.square, (X,)),
    "power": (nn.power, np.power, (POSITIVE, Y)),
    "power of a number": (lambda x: x**3, lambda x: x**3, (X,)),
    "maximum": (nn.maximum, np.maximum, (X, Y)),
    "maximum with a number": (lambda x: nn.maximum(x, 0.5), lambda x: np.maximum(x, 0.5), (X,)),
    "minimum": (nn.minimum, np.minimum, (X, Y)),
    "softplus": (nn.softplus, lambda x: np.logaddexp(x, 0), (X,)),
    "log_softmax": (
        nn.log_softmax,
        lambda x: x - np.log(np.exp(x).sum(-1, keepdims=True)),
        (X,),
    ),
    "negative": (lambda x: -x, lambda x: -x, (X,)),
    "quotient of a number": (lambda x: 2 / x, lambda x: 2 / x, (POSITIVE,)),
    "constant": (
        lambda x: x * nn.constant([1, 2, 3, 4], x),
        lambda x: x * np.array([1, 2, 3, 4], np.float32),
        (X,),
    ),
    "equal": (nn.equal, np.equal, (X, Y)),
    "not_equal": (nn.not_equal, np.not_equal, (X, Y)),
    "less": (nn.less, np.less, (X, Y)),
    "less_equal": (nn.less_equal, np.less_equal, (X, Y)),
    "greater": (nn.greater, np.greater, (X, Y)),
    "greater_equal": (nn.greater_equal, np.greater_equal, (X, Y)),
    "both": (nn.both, np.logical_and, (X > 0, Y > 0)),
    "either": (nn.either, np.logical_or, (X > 0, Y > 0)),
    "where": (nn.where, np.where, (X > 0, X, Y)),
    "where a number": (
        lambda c, x: nn.where(c, 0, x),
        lambda c, x: np.where(c, np.float32(0), x),
        (X > 0, X),
    ),
    "cast": (lambda x: nn.cast(x, "int32"), lambda x: x.astype(np.int32), (3 * X,)),
    "sum": (nn.sum, np.sum, (X,)),
    "sum of axes": (
        lambda x: nn.sum(x, (-1, 0), keep=True),
        lambda x: x.sum((2, 0), keepdims=True),
        (X,),
    ),
    "mean": (lambda x: nn.mean(x, 1), lambda x: x.mean(1), (X,)),
    "max": (lambda x: nn.max(x, -1), lambda x: x.max(-1), (X,)),
    "min": (lambda x: nn.min(x, 0), lambda x: x.min(0), (X,)),
    "argmax": (lambda x: nn.argmax(x, 1), lambda x: x.argmax(1), (X,)),
    "crop": (lambda x: nn.crop(x, 2, 1, 4, step=2), lambda x: x[:, :, 1:4:2], (X,)),
}


def run(function: Callable[..., nn.Tensor], *arrays: Array) -> Array:
    inputs = [nn.input(f"x{k}", a.shape, str(a.dtype)) for k, a in enumerate(arrays)]
    graph = nn.graph("g", inputs, {"y": function(*inputs)})
    result: Array = interpret(verify(graph), list(arrays))[0]
    return result


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_function_is_that_of_numpy(name: str) -> None:
    function, reference, arrays = ELEMENTWISE[name]
    expected, found = np.asarray(reference(*arrays)), run(function, *arrays)
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    np.testing.assert_allclose(found, expected, 1e-5)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64"])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_one_hot(dtype: str, axis: int) -> None:
    labels = integers(2, 5, low=0, high=4, dtype=dtype)
    expected = np.moveaxis(np.eye(3, dtype=np.float32)[np.minimum(labels, 2)], -1, axis)
    expected = expected * np.expand_dims(labels < 3, axis)  # 3 is no class
    np.testing.assert_array_equal(run(lambda x: nn.one_hot(x, 3, axis=axis), labels), expected)


def test_cast_to_the_same_type_is_nothing() -> None:
    x = nn.input("x", (2,))
    assert nn.cast(x, "float32") is x


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda x: nn.sum(x, 3), r"sum 'sum': axis 3 does not exist in float32\[2, 3\]"),
        (lambda x: nn.mean(x, (1, -1)), r"axes \[1, -1\] of float32\[2, 3\] name an axis twice"),
        (lambda x: nn.where(nn.less(x, 0), 1, 0), r"where 'where': 1 and 0 are both numbers"),
        (lambda x: nn.where(x, x, 0), r"where 'where': condition must be bool, found float32"),
        (lambda x: nn.one_hot(x, 3), r"expected integers and a class or more, found float32\[2, 3"),
        (lambda x: nn.one_hot(nn.cast(x, "int8"), 3, axis=4), r"axis 4 does not exist behind int8"),
        (lambda x: nn.cross_entropy(x, x), r"cross_entropy 'cross_entropy': labels float32"),
    ],
)
def test_mistakes_are_explained(make: Callable[[nn.Tensor], nn.Tensor], message: str) -> None:
    with pytest.raises(LayerError, match=message):
        make(nn.input("x", (2, 3)))
