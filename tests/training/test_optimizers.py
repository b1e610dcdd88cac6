# SPDX-License-Identifier: MIT
"""Optimizers against torch and against a restatement in float64; hyperparameters; messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from optimizer_reference import reference
from ranvier.errors import InputError
from ranvier.ir import Array
from ranvier.training.groups import Group
from ranvier.training.optimizers import (
    LAMB,
    LARS,
    SGD,
    Adadelta,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    AMSGrad,
    NAdam,
    Optimizer,
    RMSprop,
)
from ranvier.training.update import Updater

STEPS = 24
SHAPES = {"conv": (7, 3, 3, 3), "fc": (45, 31), "bias": (31, 1), "scalar": ()}

CASES: list[tuple[Optimizer, str, dict[str, Any]]] = [
    (SGD(0.1), "SGD", {}),
    (SGD(0.1, weight_decay=0.1), "SGD", {"weight_decay": 0.1}),
    (SGD(0.1, 0.9, 0.3), "SGD", {"momentum": 0.9, "dampening": 0.3}),
    (
        SGD(0.1, 0.9, nesterov=True, weight_decay=0.01),
        "SGD",
        {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
    ),
    (Adam(0.01), "Adam", {}),
    (
        Adam(0.01, 0.8, 0.95, 1e-4, weight_decay=0.1),
        "Adam",
        {"betas": (0.8, 0.95), "eps": 1e-4, "weight_decay": 0.1},
    ),
    (AdamW(0.01), "AdamW", {}),
    (AdamW(0.01, amsgrad=True, weight_decay=0.2), "AdamW", {"amsgrad": True, "weight_decay": 0.2}),
    (AMSGrad(0.01), "Adam", {"amsgrad": True}),
    (NAdam(0.01), "NAdam", {}),
    (
        NAdam(0.01, weight_decay=0.1, decoupled=True),
        "NAdam",
        {"weight_decay": 0.1, "decoupled_weight_decay": True},
    ),
    (Adamax(0.01, weight_decay=0.1), "Adamax", {"weight_decay": 0.1}),
    (RMSprop(0.01), "RMSprop", {}),
    (
        RMSprop(0.01, momentum=0.8, centered=True, weight_decay=0.1),
        "RMSprop",
        {"momentum": 0.8, "centered": True, "weight_decay": 0.1},
    ),
    (Adagrad(0.1), "Adagrad", {}),
    (
        Adagrad(0.1, 0.1, 0.5, weight_decay=0.1),
        "Adagrad",
        {"lr_decay": 0.1, "initial_accumulator_value": 0.5, "weight_decay": 0.1},
    ),
    (Adadelta(), "Adadelta", {}),
    (Adadelta(0.5, 0.8, weight_decay=0.1), "Adadelta", {"rho": 0.8, "weight_decay": 0.1}),
    (LARS(weight_decay=0.01), "", {}),
    (LAMB(0.01), "", {}),
    (LAMB(0.01, weight_decay=0.0), "", {}),
]
"""Our optimizer, torch's and its options."""

_IDS = [f"{type(o).__name__}-{k}" for k, (o, _, _) in enumerate(CASES)]


def start(seed: int = 3) -> dict[str, Array]:
    """Return parameters that differ in size."""
    rng = np.random.default_rng(seed)
    return {k: rng.standard_normal(s).astype(np.float32) for k, s in SHAPES.items()}


def gradients(step: int) -> dict[str, Array]:
    """Return the gradients of a step: some are large, some zero."""
    rng = np.random.default_rng(100 + step)
    found = {k: rng.standard_normal(s).astype(np.float32) for k, s in SHAPES.items()}
    found["fc"] *= 10
    found["fc"][:, 3] = 0
    return found


def rate_of(optimizer: Optimizer, step: int) -> float:
    """Return a learning rate that changes."""
    return optimizer.learning_rate * (1 - 0.02 * step)


def ours(optimizer: Optimizer, threads: int = 2) -> dict[str, Array]:
    """Return the parameters after all steps."""
    updater = Updater(start(), optimizer, threads=threads)
    for step in range(STEPS):
        for name, g in gradients(step).items():
            updater.gradients[name][...] = g
        updater.step(rate_of(optimizer, step))
    return dict(updater.parameters)


def agree(found: dict[str, Array], expected: dict[str, Array]) -> None:
    """Compare parameters: each step rounds a few times, so their errors add up to some ulps."""
    for name, array in expected.items():
        scale = float(np.abs(array).max())
        np.testing.assert_allclose(found[name], array, rtol=2e-6, atol=2e-6 * scale, err_msg=name)


@pytest.mark.parametrize("case", CASES, ids=_IDS)
def test_float64(case: tuple[Optimizer, str, dict[str, Any]]) -> None:
    """Parameters stay within rounding of the same steps in float64."""
    optimizer = case[0]
    expected = {}
    for name, x in start().items():
        step, array = reference(optimizer), x.astype(np.float64)
        for t in range(STEPS):
            g = gradients(t)[name].astype(np.float64)
            array = np.asarray(step(array, g, t + 1, rate_of(optimizer, t)))
        expected[name] = array
    agree(ours(optimizer), expected)


@pytest.mark.parametrize("case", [c for c in CASES if c[1]], ids=str)
def test_torch(case: tuple[Optimizer, str, dict[str, Any]]) -> None:
    """Parameters are those of torch's optimizer of the same name, in float64."""
    torch = pytest.importorskip("torch")
    optimizer, name, options = case
    tensors = {
        k: torch.nn.Parameter(torch.tensor(a, dtype=torch.float64)) for k, a in start().items()
    }
    theirs = getattr(torch.optim, name)(tensors.values(), lr=optimizer.learning_rate, **options)
    for step in range(STEPS):
        for k, g in gradients(step).items():
            tensors[k].grad = torch.tensor(g, dtype=torch.float64)
        theirs.param_groups[0]["lr"] = rate_of(optimizer, step)
        theirs.step()
    agree(ours(optimizer), {k: t.detach().numpy() for k, t in tensors.items()})


@pytest.mark.parametrize("case", CASES, ids=_IDS)
def test_threads(case: tuple[Optimizer, str, dict[str, Any]]) -> None:
    """Any number of threads gives the same bits."""
    one, three = ours(case[0], 1), ours(case[0], 3)
    for name, array in one.items():
        np.testing.assert_array_equal(three[name], array)


@pytest.mark.parametrize("optimizer", [LARS(), LAMB()], ids=lambda o: o.name)
def test_a_parameter_of_zeros_moves(optimizer: Optimizer) -> None:
    """Where a norm is 0 the trust ratio is 1, as it is for groups that are not adapted."""
    zeros = {"x": np.zeros(5, np.float32), "y": np.ones(5, np.float32)}
    updater = Updater(zeros, optimizer, groups=[Group("y", adapted=False)], threads=1)
    for g in updater.gradients.values():
        g[...] = 1
    updater.step(0.5)
    np.testing.assert_allclose(updater.parameters["x"], -0.5, rtol=1e-4)
    decay = optimizer.weight_decay * 0.5
    np.testing.assert_allclose(updater.parameters["y"], 0.5 - decay, rtol=1e-4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SGD(-0.1), "SGD: learning_rate=-0.1 must be a finite number of at least 0"),
        (lambda: SGD(float("nan")), "SGD: learning_rate=nan must be a finite"),
        (lambda: SGD(0.1, True), "SGD: momentum=True must be a number from 0 to below 1"),
        (lambda: SGD(0.1, nesterov=True), "SGD: nesterov=True must be False without momentum"),
        (lambda: SGD(0.1, weight_decay=-1), "SGD: weight_decay=-1 must be a finite number"),
        (lambda: Adam(beta2=1.0), "Adam: beta2=1.0 must be a number from 0 to below 1"),
        (lambda: AdamW(epsilon=0.0), "AdamW: epsilon=0.0 must be a finite number of at least"),
        (lambda: Adam(amsgrad=1), "Adam: amsgrad=1 must be True or False"),  # type: ignore[arg-type]
        (lambda: Adagrad(rate_decay=-1.0), "Adagrad: rate_decay=-1.0 must be"),
        (lambda: LARS(momentum=0.0), "LARS: momentum=0.0 must be more than 0"),
        (lambda: LAMB(decoupled=True), "LAMB: decoupled=True must be False"),
        (lambda: NAdam(momentum_decay=-1.0), "NAdam: momentum_decay=-1.0 must be"),
    ],
)
def test_hyperparameters_are_checked(make: Callable[[], Optimizer], message: str) -> None:
    """What is out of range is refused at once, by name and value."""
    with pytest.raises(InputError, match=message.replace("(", r"\(")):
        make()
