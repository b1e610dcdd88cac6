# SPDX-License-Identifier: MIT
"""The updater: arenas, groups, clipping, accumulation, running means, constraints, state."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ranvier.codegen.targets.cpu import CpuTarget
from ranvier.errors import InputError
from ranvier.ir import Array
from ranvier.ir.ops import Blend
from ranvier.runtime.team import Workers
from ranvier.training.arena import BLOCK, Layout
from ranvier.training.block_program import BlockProgram
from ranvier.training.groups import (
    L1,
    L1L2,
    L2,
    ClipNorm,
    ClipValue,
    Constraint,
    Group,
    MaxNorm,
    MinMaxNorm,
    NonNeg,
    UnitNorm,
    unit_axes,
    vectors,
)
from ranvier.training.optimizers import LAMB, LARS, SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop
from ranvier.training.update import Average, Updater

SHAPES = {"conv": (5, 3, 3, 3), "fc": (60, 40), "bias": (40,), "scalar": ()}


def weights(seed: int = 0) -> dict[str, Array]:
    """Return parameters by name."""
    rng = np.random.default_rng(seed)
    return {k: np.asarray(rng.standard_normal(s), np.float32) for k, s in SHAPES.items()}


def fill(updater: Updater, seed: int) -> dict[str, Array]:
    """Write gradients and return copies."""
    rng = np.random.default_rng(1000 + seed)
    for g in updater.gradients.values():
        g[...] = rng.standard_normal(g.shape)
    return {k: g.copy() for k, g in updater.gradients.items()}


def trained(updater: Updater, steps: range) -> dict[str, Array]:
    """Make some steps and return the parameters."""
    for k in steps:
        fill(updater, k)
        updater.step()
    return {k: a.copy() for k, a in updater.parameters.items()}


def _arrays(updater: Updater) -> list[tuple[str, Array]]:
    return [*updater.parameters.items(), *updater.gradients.items()]


def equal(found: dict[str, Array], expected: dict[str, Array]) -> None:
    """Compare bits."""
    assert list(found) == list(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


# Arenas


@given(st.lists(st.lists(st.integers(0, 40), max_size=3).map(tuple), min_size=1, max_size=6))
def test_tensors_lie_apart_from_block_to_block(shapes: list[tuple[int, ...]]) -> None:
    """Views are aligned, hold what is written, and sums of blocks are sums of tensors."""
    layout = Layout({str(k): s for k, s in enumerate(shapes)})
    arena = layout.arena()
    views = layout.views(arena)
    for k, (name, view) in enumerate(views.items()):
        view[...] = k + 1
        assert view.shape == shapes[k], name
        assert view.flags.c_contiguous
        assert view.size == 0 or view.ctypes.data % (4 * BLOCK) == arena.ctypes.data % (4 * BLOCK)
    sums = layout.gathered(arena.sum(axis=1))
    assert sums.tolist() == [(k + 1) * math.prod(s) for k, s in enumerate(shapes)]
    assert layout.spread(np.arange(len(shapes))).shape == (layout.blocks,)


def test_arrays_stay_where_they_are() -> None:
    """Steps, sums and loading change what arrays hold, not where they are."""
    updater = Updater(weights(), Adam(), groups=[Group("fc", frozen=True)], threads=1)
    before = [a.ctypes.data for _, a in _arrays(updater)]
    fill(updater, 0)
    updater.accumulate()
    updater.step()
    updater.load(updater.state())
    updater.assign(weights(1))
    assert before == [a.ctypes.data for _, a in _arrays(updater)]
    assert list(updater.parameters) == list(SHAPES)
    assert all(
        a.flags.c_contiguous and a.ctypes.data % 64 == 0 for a in updater.parameters.values()
    )


@pytest.mark.parametrize("optimizer", [SGD(0.1, 0.9), AdamW(), LARS(), LAMB()], ids=repr)
def test_a_part_is_updated_as_the_whole(optimizer: Optimizer) -> None:
    """Parameters that are updated apart are what they are among others."""
    whole = Updater(weights(), optimizer, threads=2)
    parts = {k: Updater({k: a}, optimizer, threads=1) for k, a in weights().items()}
    for step in range(3):
        for name, g in fill(whole, step).items():
            parts[name].gradients[name][...] = g
            parts[name].step()
        whole.step()
    equal(dict(whole.parameters), {k: p.parameters[k] for k, p in parts.items()})


def test_targets_without_such_kernels_work_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where an op is taken to pieces, results have memory of their own before they are copied."""
    expected = trained(Updater(weights(), AdamW(), threads=1), range(3))
    monkeypatch.setattr(CpuTarget, "keeps", lambda *_: False)
    program = BlockProgram(Blend(), 3, Workers(1))
    assert not program.in_place
    found = trained(Updater(weights(), AdamW(), threads=1), range(3))
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-6, atol=1e-7)


# Groups


def test_groups() -> None:
    """Rates are multiplied, decays replaced, frozen parameters stay; the first group counts."""
    groups = [
        Group("conv", learning_rate=0.5, weight_decay=0.0),
        Group(["b*", "scalar"], weight_decay=0.5),
        Group("b*", frozen=True),
        Group("fc", frozen=True),
    ]
    start = weights()
    updater = Updater(start, SGD(0.1, weight_decay=0.2), groups=groups, threads=1)
    assert list(updater.gradients) == ["conv", "bias", "scalar"]
    g = fill(updater, 0)
    updater.step()
    expected = {
        "conv": start["conv"] - 0.05 * g["conv"],
        "fc": start["fc"],
        "bias": start["bias"] - 0.1 * (g["bias"] + 0.5 * start["bias"]),
        "scalar": start["scalar"] - 0.1 * (g["scalar"] + 0.5 * start["scalar"]),
    }
    for name, array in expected.items():
        np.testing.assert_allclose(updater.parameters[name], array, rtol=1e-6, atol=1e-6)


def test_vectors_without_decay() -> None:
    """Biases, scales and single numbers can be kept from decay by one group."""
    assert vectors(weights()) == ("bias", "scalar")


@pytest.mark.parametrize("optimizer", [SGD(0.1), Adam(0.1)], ids=repr)
def test_penalties_join_the_gradient(optimizer: Optimizer) -> None:
    """A penalty is the gradient of ``l1 |x| + l2 x**2``."""
    regulariser = L1L2(0.1, 0.3)
    updater = Updater(
        weights(), optimizer, groups=[Group("fc", regulariser=regulariser)], threads=1
    )
    plain = Updater(weights(), optimizer, threads=1)
    for k in range(3):
        for name, g in fill(updater, k).items():
            plain.gradients[name][...] = g
        x = plain.parameters["fc"]
        plain.gradients["fc"][...] += 0.1 * np.sign(x) + 2 * 0.3 * x
        updater.step()
        plain.step()
    for name, array in plain.parameters.items():
        np.testing.assert_allclose(updater.parameters[name], array, rtol=1e-5, atol=1e-6)
    assert (L1(0.2), L2(0.2)) == (L1L2(0.2, 0.0), L1L2(0.0, 0.2))


def test_penalties_equal_decay_in_gradient_descent() -> None:
    """L2 of ``d / 2`` is a weight decay of ``d``, up to rounding."""
    decay = trained(Updater(weights(), SGD(0.1, weight_decay=0.25), threads=1), range(4))
    group = Group("*", regulariser=L2(0.125))
    penalty = trained(Updater(weights(), SGD(0.1), groups=[group], threads=1), range(4))
    for name, array in decay.items():
        np.testing.assert_allclose(penalty[name], array, rtol=1e-5, atol=1e-6)


def _norms(x: Array) -> Array:
    squares = x.astype(np.float64) ** 2
    return np.asarray(np.sqrt(squares.sum(unit_axes(x.shape), keepdims=True)))


@pytest.mark.parametrize(
    ("constraint", "wanted"),
    [
        (MaxNorm(1.5), lambda n: np.minimum(n, 1.5)),
        (MinMaxNorm(1.0, 1.5), lambda n: np.clip(n, 1.0, 1.5)),
        (MinMaxNorm(1.0, 1.5, 0.25), lambda n: 0.25 * np.clip(n, 1.0, 1.5) + 0.75 * n),
        (UnitNorm(), np.ones_like),
    ],
    ids=["at-most", "between", "towards", "one"],
)
@pytest.mark.parametrize("name", list(SHAPES))
def test_norms_are_constrained(
    name: str, constraint: Constraint, wanted: Callable[[Array], Array]
) -> None:
    """After a step, ``w = w wanted(norm) / (norm + 1e-7)`` per output unit, as in Keras."""
    group = Group(name, constraint=constraint)
    updater = Updater(weights(), SGD(0.1), groups=[group], threads=2)
    plain = Updater(weights(), SGD(0.1), threads=1)
    free = trained(plain, range(1))
    held = trained(updater, range(1))
    x = free[name]
    free[name] = x * wanted(_norms(x)) / (_norms(x) + 1e-7)
    for key, array in free.items():
        np.testing.assert_allclose(held[key], array, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("optimizer", [SGD(0.1), Adam(), LARS(), LAMB()], ids=repr)
def test_no_element_is_negative(optimizer: Optimizer) -> None:
    """Of the parameters that a group names; the others are free."""
    updater = Updater(weights(), optimizer, groups=[Group("fc", constraint=NonNeg())], threads=1)
    found = trained(updater, range(2))
    assert found["fc"].min() == 0
    assert found["conv"].min() < 0


# Clipping and accumulation


@given(st.floats(1e-3, 1e3), st.integers(0, 1000))
@settings(max_examples=20)
def test_clipping_by_norm(limit: float, seed: int) -> None:
    """Gradients shorter than the limit stay, others get its length; the norm is told."""
    updater = Updater(weights(), SGD(1.0), clip=ClipNorm(limit), threads=1)
    g = fill(updater, seed)
    norm = math.sqrt(sum((a.astype(np.float64) ** 2).sum() for a in g.values()))
    found = updater.step()
    assert math.isclose(found.norm, norm, rel_tol=1e-12)
    factor = min(1.0, limit / (norm + 1e-6))
    for name, array in weights().items():
        moved = array - factor * g[name].astype(np.float64)
        np.testing.assert_allclose(updater.parameters[name], moved, rtol=1e-5, atol=1e-5)


def test_clipping_as_torch() -> None:
    """``clip_grad_norm_`` and ``clip_grad_value_`` do the same."""
    torch = pytest.importorskip("torch")
    for clip, theirs in (
        (ClipNorm(2.0), torch.nn.utils.clip_grad_norm_),
        (ClipValue(0.3), torch.nn.utils.clip_grad_value_),
    ):
        updater = Updater(weights(), SGD(0.1), clip=clip, threads=1)
        tensors = {k: torch.nn.Parameter(torch.tensor(a)) for k, a in weights().items()}
        for name, g in fill(updater, 0).items():
            tensors[name].grad = torch.tensor(g)
        theirs(tensors.values(), clip.limit)
        torch.optim.SGD(tensors.values(), lr=0.1).step()
        updater.step()
        for name, tensor in tensors.items():
            np.testing.assert_allclose(
                updater.parameters[name], tensor.detach().numpy(), rtol=1e-6, atol=1e-7
            )


@pytest.mark.parametrize("clip", [None, ClipNorm(0.5)], ids=repr)
@pytest.mark.parametrize("optimizer", [SGD(0.1, 0.9), Adam(), LARS(), LAMB()], ids=repr)
def test_accumulation_is_the_mean(optimizer: Optimizer, clip: ClipNorm | None) -> None:
    """Steps along sums of micro-batches are steps along their mean."""
    updater = Updater(weights(), optimizer, clip=clip, threads=2)
    whole = Updater(weights(), optimizer, clip=clip, threads=1)
    for step in range(2):
        micro = []
        for k in range(4):
            micro.append(fill(updater, 10 * step + k))
            updater.accumulate()
        for name, g in whole.gradients.items():
            g[...] = sum(m[name].astype(np.float64) for m in micro) / 4
        assert math.isclose(updater.step().norm, whole.step().norm, rel_tol=1e-6)
    for name, array in whole.parameters.items():
        np.testing.assert_allclose(updater.parameters[name], array, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_noticed(number: float) -> None:
    """By the norm; a clipped step is not made, and the next one is as if nothing had been."""
    for clip in (None, ClipNorm(1.0)):
        updater = Updater(weights(), SGD(0.1), clip=clip, threads=1)
        fill(updater, 0)
        updater.gradients["fc"][3, 5] = number
        assert not math.isfinite(updater.gradient_norm())
        found = updater.step()
        assert not found.finite
        assert found.applied == (clip is None)
        if clip is not None:
            equal(dict(updater.parameters), weights())
            assert updater.count == 0


def test_large_gradients_are_finite() -> None:
    """Squares are added in float64, where those of float32 do not overflow."""
    updater = Updater({"x": np.zeros(3, np.float32)}, SGD(0.0), threads=1)
    updater.gradients["x"][:] = 3e38
    assert updater.step(0.0).norm == pytest.approx(3e38 * math.sqrt(3), rel=1e-6)


# Running means


@pytest.mark.parametrize("average", [Average(0.9), Average(0.99, warm_up=True)], ids=repr)
def test_running_means(average: Average) -> None:
    """They begin with the parameters and follow them after constraints."""
    groups = [Group("fc", constraint=MaxNorm(0.5)), Group("bias", frozen=True)]
    updater = Updater(weights(), SGD(0.1), groups=groups, average=average, threads=1)
    means = {k: a.astype(np.float64) for k, a in weights().items() if k != "bias"}
    for step in range(1, 5):
        fill(updater, step)
        updater.step()
        keep = min(0.99, (1 + step) / (10 + step)) if average.warm_up else 0.9
        means = {
            name: keep * mean + (1 - keep) * updater.parameters[name]
            for name, mean in means.items()
        }
    assert list(updater.averages) == list(means)
    for name, array in means.items():
        np.testing.assert_allclose(updater.averages[name], array, rtol=1e-5, atol=1e-6)


# State

OPTIMIZERS: list[Optimizer] = [
    SGD(0.1),
    SGD(0.1, 0.9, 0.1),
    AdamW(amsgrad=True),
    Adagrad(0.1, initial_square=0.1),
    RMSprop(momentum=0.9, centered=True),
    LARS(),
    LAMB(),
]


@given(st.sampled_from(OPTIMIZERS), st.integers(0, 3), st.integers(1, 3), st.booleans())
@settings(max_examples=25)
def test_a_run_goes_on_bit_for_bit(
    optimizer: Optimizer, before: int, after: int, accumulating: bool
) -> None:
    """From parameters and state alone, in an updater with other threads."""
    options: dict[str, Any] = {"average": Average(0.9), "groups": [Group("b*", frozen=True)]}
    first = Updater(weights(), optimizer, threads=1, **options)
    trained(first, range(before))
    if accumulating:
        fill(first, 77)
        first.accumulate()
    state, parameters = first.state(), {k: a.copy() for k, a in first.parameters.items()}
    expected = trained(first, range(50, 50 + after))
    second = Updater(weights(9), optimizer, threads=2, **options)
    trained(second, range(5))
    second.assign(parameters)
    second.load(state)
    equal(trained(second, range(50, 50 + after)), expected)
    equal(second.state(), first.state())


def test_states_are_named_by_parameters() -> None:
    """Checkpoints do not depend on arenas."""
    updater = Updater(weights(), Adam(), groups=[Group("fc", frozen=True)], threads=1)
    names = [
        f"{state}/{name}" for state in ("mean", "square") for name in ("conv", "bias", "scalar")
    ]
    assert list(updater.state()) == [*names, "count"]
    assert updater.state()["mean/conv"].shape == SHAPES["conv"]


# Messages


def test_messages() -> None:
    """They say what was expected, what was found and what to do."""
    cases: list[tuple[Callable[[], object], str]] = [
        (lambda: Updater({}, SGD()), "Updater: there are no parameters"),
        (
            lambda: Updater({"x": np.zeros(2)}, SGD()),
            "Updater: parameter 'x' is float64, expected float32; convert it",
        ),
        (
            lambda: Updater(weights(), SGD(), groups=[Group("*", frozen=True)]),
            "Updater: every parameter is frozen; leave one to learn",
        ),
        (
            lambda: Updater(weights(), SGD(), groups=[Group("cnv")]),
            r"Group: no parameter is called 'cnv'; is it 'conv'\?",
        ),
        (
            lambda: Updater(weights(), SGD(), threads=1).step(-1.0),
            r"step: rate=-1.0 must be a finite number of at least 0",
        ),
        (
            lambda: Updater(weights(), SGD(), threads=1).assign({"conv": np.zeros(3, np.float32)}),
            r"parameter 'conv' must be float32\[5, 3, 3, 3\], found float32\[3\]",
        ),
        (
            lambda: Updater(weights(), SGD(), threads=1).assign({"c": np.zeros(3, np.float32)}),
            r"there is no parameter 'c'; there are conv, fc",
        ),
        (lambda: Group("x", learning_rate=-1.0), "Group: learning_rate=-1.0 must be a finite"),
        (lambda: Group("x", frozen=1), "Group: frozen=1 must be True or False"),  # type: ignore[arg-type]
        (lambda: ClipNorm(0.0), "ClipNorm: limit=0.0 must be a finite number"),
        (lambda: ClipValue(-1.0), "ClipValue: limit=-1.0 must be"),
        (lambda: Average(1.0), "Average: decay=1.0 must be a number from 0 to below 1"),
        (lambda: MinMaxNorm(2.0, 1.0), "MinMaxNorm: least=2.0 must be at most limit=1.0"),
        (lambda: MaxNorm(0.0), "MaxNorm: limit=0.0 must be"),
        (lambda: L1L2(-1.0), "L1L2: l1=-1.0 must be"),
    ]
    for make, message in cases:
        with pytest.raises(InputError, match=message):
            make()


def test_a_state_of_something_else_changes_nothing() -> None:
    """A state that lacks, adds or changes an array is refused before anything is copied."""
    updater = Updater(weights(), Adam(), threads=1)
    trained(updater, range(2))
    good = updater.state()
    bad = [
        (Updater(weights(), SGD(0.1, 0.9), threads=1).state(), "lacks 'mean/bias', which Adam has"),
        ({**good, "mean/x": np.zeros(2, np.float32)}, "there is no state 'mean/x'"),
        (
            {**good, "mean/fc": np.zeros(2, np.float32)},
            r"state 'mean/fc' must be float32\[60, 40\]",
        ),
        ({k: a for k, a in good.items() if k != "count"}, "'count' must be a whole number"),
        ({**good, "count": np.array(-1)}, "'count' must be a whole number of at least 0"),
    ]
    for state, message in bad:
        with pytest.raises(InputError, match=message):
            updater.load(state)
        equal(updater.state(), good)
