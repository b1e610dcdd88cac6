# SPDX-License-Identifier: MIT
"""Schedules against torch's of the same kind, and what they refuse."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ranvier.errors import InputError
from ranvier.training.schedules import (
    Constant,
    Cosine,
    Exponential,
    MultiStep,
    OneCycle,
    Polynomial,
    ReduceOnPlateau,
    Schedule,
    StepDecay,
    WarmUp,
)

STEPS = 40

CASES: list[tuple[Schedule, Callable[[Any, Any], Any]]] = [
    (Constant(), lambda lr, o: lr.ConstantLR(o, factor=1.0)),
    (StepDecay(7, 0.3), lambda lr, o: lr.StepLR(o, 7, 0.3)),
    (MultiStep([5, 5, 20], 0.3), lambda lr, o: lr.MultiStepLR(o, [5, 5, 20], 0.3)),
    (Exponential(0.9), lambda lr, o: lr.ExponentialLR(o, 0.9)),
    (Polynomial(30), lambda lr, o: lr.PolynomialLR(o, 30)),
    (Polynomial(30, 2.5), lambda lr, o: lr.PolynomialLR(o, 30, 2.5)),
    (Cosine(STEPS), lambda lr, o: lr.CosineAnnealingLR(o, STEPS)),
    (Cosine(STEPS, 0.1), lambda lr, o: lr.CosineAnnealingLR(o, STEPS, 0.1)),
    (
        Cosine(STEPS, 0.1, warm_up=8, start=0.2),
        lambda lr, o: lr.SequentialLR(
            o,
            [lr.LinearLR(o, 0.2, total_iters=8), lr.CosineAnnealingLR(o, STEPS - 8, 0.1)],
            [8],
        ),
    ),
    (
        WarmUp(6, StepDecay(5, 0.5), start=0.1),
        lambda lr, o: lr.SequentialLR(
            o, [lr.LinearLR(o, 0.1, total_iters=6), lr.StepLR(o, 5, 0.5)], [6]
        ),
    ),
    (OneCycle(STEPS), lambda lr, o: _one_cycle(lr, o)),
    (OneCycle(STEPS, 0.25, 10, 100), lambda lr, o: _one_cycle(lr, o, 0.25, 10, 100)),
    (
        OneCycle(STEPS, linear=True, three_phases=True),
        lambda lr, o: _one_cycle(lr, o, linear=True, three_phase=True),
    ),
    (OneCycle(STEPS, three_phases=True), lambda lr, o: _one_cycle(lr, o, three_phase=True)),
]


def _one_cycle(
    lr: Any,
    optimizer: Any,
    rise: float = 0.3,
    divisor: float = 25.0,
    final: float = 1e4,
    linear: bool = False,
    three_phase: bool = False,
) -> Any:
    return lr.OneCycleLR(
        optimizer,
        1.0,
        total_steps=STEPS,
        pct_start=rise,
        div_factor=divisor,
        final_div_factor=final,
        anneal_strategy="linear" if linear else "cos",
        three_phase=three_phase,
    )


def torch_optimizer() -> Any:
    """Return an optimizer of torch with a rate of 1."""
    torch = pytest.importorskip("torch")
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)


@pytest.mark.filterwarnings("ignore")  # torch's own schedules warn of their own calls
@pytest.mark.parametrize("case", CASES, ids=lambda c: repr(c[0]))
def test_torch(case: tuple[Schedule, Callable[[Any, Any], Any]]) -> None:
    """Factors are those of torch at every step, which it finds from the one before."""
    schedule, make = case
    optimizer = torch_optimizer()
    import torch

    theirs = make(torch.optim.lr_scheduler, optimizer)
    for step in range(STEPS):
        found, expected = schedule(step), optimizer.param_groups[0]["lr"]
        assert math.isclose(found, expected, rel_tol=1e-9, abs_tol=1e-12), step
        optimizer.step()
        if step < STEPS - 1:
            theirs.step()


@given(
    st.lists(st.floats(0, 2, width=16) | st.just(math.nan), min_size=1, max_size=40),
    st.integers(0, 3),
    st.integers(0, 3),
    st.booleans(),
)
@settings(max_examples=40)
def test_plateaus_as_torch(
    figures: list[float], patience: int, cooldown: int, larger: bool
) -> None:
    """Reductions come when torch's come."""
    optimizer = torch_optimizer()
    import torch

    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer,
        "max" if larger else "min",
        0.5,
        patience,
        cooldown=cooldown,
        min_lr=0.1,
        eps=0.0,
    )
    options: dict[str, Any] = {"larger_is_better": larger, "cooldown": cooldown, "least": 0.1}
    ours = ReduceOnPlateau(0.5, patience, **options)
    for step, figure in enumerate(figures):
        ours.update(figure)
        theirs.step(figure)
        assert math.isclose(ours(step), optimizer.param_groups[0]["lr"], rel_tol=1e-12)
        other = ReduceOnPlateau(0.5, patience, **options)
        other.load(ours.state())
        ours = other


SCHEDULES: list[Schedule] = [c[0] for c in CASES]


@given(st.sampled_from(SCHEDULES), st.integers(0, 10_000))
def test_factors_are_numbers_from_0_to_1(schedule: Schedule, step: int) -> None:
    """Long after the end, too, where the last factor stays."""
    factor = schedule(step)
    assert 0 <= factor <= 1
    if isinstance(schedule, Cosine | OneCycle | Polynomial) and step >= STEPS:
        assert factor == schedule(STEPS)


def test_the_last_rates_stay() -> None:
    """A cosine does not come up again, as torch's does."""
    assert Cosine(10, 0.1)(15) == 0.1
    assert Polynomial(10, final=0.2)(11) == 0.2
    assert np.isclose(OneCycle(10)(100), 1 / (25 * 1e4))


def test_messages() -> None:
    """They show name and value."""
    cases: list[tuple[Callable[[], object], str]] = [
        (lambda: StepDecay(0), "StepDecay: every=0 must be a positive whole number"),
        (lambda: MultiStep([3, -1]), "MultiStep: milestones=-1 must be a positive whole number"),
        (lambda: Exponential(0.0), "Exponential: gamma=0.0 must be a finite number"),
        (lambda: Polynomial(10, -1.0), "Polynomial: power=-1.0 must be"),
        (lambda: Cosine(10, warm_up=10), "Cosine: warm_up=10 must be less than steps=10"),
        (lambda: WarmUp(5, Constant(), 1.0), "WarmUp: start=1.0 must be a number from 0 to below"),
        (lambda: OneCycle(10, 1.0), "OneCycle: rise=1.0 must be a number from 0 to below 1"),
        (
            lambda: OneCycle(10, 0.6, three_phases=True),
            "OneCycle: rise=0.6 must be below 0.5 with three phases",
        ),
        (lambda: Constant(-1.0), "Constant: value=-1.0 must be"),
        (lambda: ReduceOnPlateau(1.5), "ReduceOnPlateau: shrink=1.5 must be"),
        (lambda: ReduceOnPlateau().load({}), "the state has no 'plateau' of four numbers"),
        (lambda: Cosine(10)(-1), "Cosine: step=-1 must be a whole number of at least 0"),
    ]
    for make, message in cases:
        with pytest.raises(InputError, match=message):
            make()
