# SPDX-License-Identifier: MIT
"""First weights: distributions, the same numbers everywhere, schemes, layers that choose."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ranvier.errors import LayerError
from ranvier.frontend import builder as nn
from ranvier.frontend import zoo
from ranvier.frontend.builder.quantile import normal_quantile
from ranvier.frontend.builder.weights import Fans
from ranvier.ir import Array, TensorType
from ranvier.ir.printer import digest

LARGE = TensorType("float32", (400, 500))


def drawn(initialiser: nn.Initialiser, type: TensorType = LARGE, name: str = "w") -> Array:
    """Return what a parameter of a layer with fans of 400 and 600 holds."""
    return initialiser.fitted(Fans(400, 600)).draw(0, name, type)


@given(st.floats(2e-11, 1 - 2e-11))
def test_quantiles(p: float) -> None:
    """They are those of Python's own normal distribution."""
    (found,) = normal_quantile(np.array([p]))
    assert math.isclose(found, NormalDist().inv_cdf(p), rel_tol=1e-12, abs_tol=1e-14)


def test_normal_numbers_are_the_same_everywhere() -> None:
    """On every machine and with every NumPy."""
    numbers = nn.Normal(0.0, 0.5).draw(7, "conv1.weight", TensorType("float32", (30, 50)))
    assert digest(numbers).startswith("a54d97c615dfff9d")


def test_normal_numbers() -> None:
    """Mean, deviation, and shares within one, two and three deviations."""
    numbers = (drawn(nn.Normal(3.0, 2.0)) - 3) / 2
    assert abs(numbers.mean()) < 0.01
    assert abs(numbers.std() - 1) < 0.01
    for bound, share in ((1, 0.6827), (2, 0.9545), (3, 0.9973)):
        assert abs((np.abs(numbers) < bound).mean() - share) < 0.003


def test_truncated_numbers() -> None:
    """None is beyond two deviations; within, shares are those of the whole distribution."""
    numbers = drawn(nn.truncated_normal(1.0, 0.5)) - 1
    assert np.abs(numbers).max() <= 1
    assert abs(numbers.std() / 0.5 - 0.8796) < 0.003
    assert abs((np.abs(numbers) < 0.5).mean() - 0.6827 / 0.9545) < 0.003


@pytest.mark.parametrize(
    ("initialiser", "variance"),
    [
        (nn.glorot_normal(), 1 / 500),
        (nn.glorot_uniform(), 1 / 500),
        (nn.he_normal(), 2 / 400),
        (nn.he_normal("out"), 2 / 600),
        (nn.he_uniform(), 2 / 400),
        (nn.lecun_normal(), 1 / 400),
        (nn.lecun_uniform(), 1 / 400),
        (nn.VarianceScaling(3.0, "average", "truncated"), 3 / 500),
    ],
    ids=repr,
)
def test_variances(initialiser: nn.VarianceScaling, variance: float) -> None:
    """Mean 0 and the variance that the fans ask for, uniform up to its limit or normal."""
    numbers = drawn(initialiser)
    assert abs(numbers.mean()) < 0.02 * math.sqrt(variance)
    assert abs(numbers.var() / variance - 1) < 0.02
    limits = {"uniform": math.sqrt(3), "truncated": 2 / 0.8796}
    limit = limits.get(initialiser.distribution, 6.4) * math.sqrt(variance)
    assert np.abs(numbers).max() <= limit * (1 + 1e-4)


def test_variances_as_torch() -> None:
    """Deviations of torch's initialisers for the same convolution."""
    torch = pytest.importorskip("torch")
    weight = torch.empty(64, 32, 3, 3)
    x = nn.input("x", (1, 32, 8, 8))
    for ours, theirs in (
        (nn.he_normal(), lambda w: torch.nn.init.kaiming_normal_(w, nonlinearity="relu")),
        (nn.he_normal("out"), lambda w: torch.nn.init.kaiming_normal_(w, mode="fan_out")),
        (nn.glorot_uniform(), torch.nn.init.xavier_uniform_),
    ):
        network = nn.network("n", [x], [nn.conv(x, 64, 3, initial=ours, name="c")])
        theirs(weight)
        found = network.initial()["c.weight"]
        assert abs(found.std() / float(weight.std()) - 1) < 0.03


@pytest.mark.parametrize("shape", [(8, 8), (4, 9), (9, 4), (6, 3, 3, 3), (40, 2, 2)])
def test_orthogonal_matrices(shape: tuple[int, ...]) -> None:
    """Rows or columns, whichever are fewer, are orthonormal, times the gain."""
    matrix = drawn(nn.Orthogonal(2.0), TensorType("float32", shape)).reshape(shape[0], -1)
    small = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
    np.testing.assert_allclose(small, 4 * np.eye(len(small)), atol=1e-5)


def test_identities() -> None:
    """Matrices and convolutions that hand on what they get."""
    x = nn.input("x", (1, 3, 5, 5))
    y = nn.conv(x, 4, 3, padding=1, bias=False, initial=nn.Identity(2.0), name="c")
    weight = nn.network("n", [x], [y]).initial()["c.weight"]
    assert weight.sum() == 6
    assert all(weight[k, k, 1, 1] == 2 for k in range(3))
    np.testing.assert_array_equal(drawn(nn.Identity(), TensorType("float32", (2, 3))), np.eye(2, 3))
    assert (drawn(nn.Filled(0.5)) == 0.5).all()


# Schemes


def network(initial: nn.Initialiser | None = None) -> nn.Network:
    """Return a network of all layers that have parameters."""
    x = nn.input("x", (2, 16, 8, 8))
    y = nn.prelu(
        nn.batch_norm(nn.conv(x, 32, 3, name="conv", initial=initial), name="bn"), name="act"
    )
    y = nn.group_norm(
        nn.conv_transpose(y, 16, 2, stride=2, name="up", initial=initial), 4, name="gn"
    )
    y = nn.layer_norm(nn.flatten(nn.global_average_pool(y)), name="ln")
    return nn.network("n", [x], [nn.linear(y, 10, name="fc", initial=initial)])


def test_the_scheme_of_training() -> None:
    """Norms do nothing at first, biases are 0, weights keep the size of signals."""
    first = network().initial(scheme="training")
    for name, array in first.items():
        role = name.split(".")[-1]
        if role in ("bias", "mean"):
            assert (array == 0).all(), name
        elif role in ("scale", "variance"):
            assert (array == 1).all(), name
    assert (first["act.weight"] == 0.25).all()
    assert abs(first["conv.weight"].std() / math.sqrt(2 / 144) - 1) < 0.05
    assert abs(first["up.weight"].std() / math.sqrt(2 / 32) - 1) < 0.05
    assert np.abs(first["fc.weight"]).max() <= math.sqrt(6 / 26)


def test_schemes_depend_on_seed_and_name() -> None:
    """The default one is as before."""
    one, two = (network().initial(k, "training")["conv.weight"] for k in (0, 1))
    assert not np.array_equal(one, two)
    np.testing.assert_array_equal(one, network().initial(0, "training")["conv.weight"])
    noticed = network().initial(0)
    assert all(np.ptp(a) > 0 for a in noticed.values())


def test_layers_choose() -> None:
    """What a layer is given holds in every scheme."""
    chosen = network(nn.Filled(0.5))
    for scheme in ("noticed", "training"):
        first = chosen.initial(scheme=scheme)
        assert all((first[f"{name}.weight"] == 0.5).all() for name in ("conv", "up", "fc"))


def test_a_large_model_starts_with_signals_of_unit_size() -> None:
    """Every parameter of a known architecture has a first value for training."""
    parameters = zoo.resnet18().parameters
    first = zoo.resnet18().initial(scheme="training")
    assert list(first) == list(parameters)
    assert all(np.isfinite(a).all() and a.dtype == np.float32 for a in first.values())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: network().initial(scheme="best"), "scheme='best' must be one of noticed, trai"),
        (lambda: nn.VarianceScaling(0.0), "VarianceScaling: scale=0.0 must be a positive number"),
        (
            lambda: nn.VarianceScaling(1.0, "both"),  # type: ignore[arg-type]
            "VarianceScaling: mode='both' must be one of in, out, average",
        ),
        (
            lambda: nn.VarianceScaling(1.0, "in", "cauchy"),  # type: ignore[arg-type]
            "distribution='cauchy' must be one of normal, truncated, uniform",
        ),
        (
            lambda: nn.Orthogonal().draw(0, "b", TensorType("float32", (3,))),
            r"parameter 'b': Orthogonal needs two axes, found float32\[3\]",
        ),
        (lambda: nn.Identity().draw(0, "b", TensorType("float32", (3,))), "Identity needs two"),
        (
            lambda: nn.he_normal().draw(0, "token", TensorType("float32", (3,))),
            "parameter 'token': belongs to no layer with fans; give it a deviation",
        ),
    ],
)
def test_messages(make: Callable[[], object], message: str) -> None:
    """They show name and value."""
    with pytest.raises(LayerError, match=message):
        make()
