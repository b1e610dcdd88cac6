# SPDX-License-Identifier: MIT
"""Statistics and the order of turns."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ranvier.benchmarks.measure import (
    Take,
    best_of,
    fastest,
    interleave,
    order,
    speedup,
    summary,
    time_of,
)

NAMES = st.lists(st.text(min_size=1), unique=True, min_size=1, max_size=6)


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=40))
def test_summary_agrees_with_numpy(numbers: list[float]) -> None:
    found = summary(numbers)
    expected = np.percentile(numbers, [25, 50, 75])
    np.testing.assert_allclose([found.low, found.median, found.high], expected, rtol=1e-12)


@given(NAMES, st.integers(0, 50))
def test_everyone_has_one_turn_in_a_round(names: list[str], turn: int) -> None:
    assert sorted(order(names, turn)) == sorted(names)


@given(NAMES)
def test_everyone_comes_first_and_last(names: list[str]) -> None:
    orders = [order(names, turn) for turn in range(2 * len(names))]
    assert {o[0] for o in orders} == set(names)
    assert {o[-1] for o in orders} == set(names)


def test_neighbours_change() -> None:
    orders = [order(["a", "b", "c"], turn) for turn in range(6)]
    after_a = {o[o.index("a") + 1] for o in orders if o[-1] != "a"}
    assert after_a == {"b", "c"}


class Clock:
    """A clock that only turns move."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def taking(self, seconds: float) -> Take:
        def take() -> list[float]:
            self.now += seconds
            return [seconds]

        return take


def test_rounds_interleave() -> None:
    turns: list[str] = []

    def taking(name: str) -> Take:
        def take() -> list[float]:
            turns.append(name)
            return [1.0]

        return take

    takes = {name: taking(name) for name in "abc"}
    found = interleave(takes, rounds=4)
    assert turns == [name for k in range(4) for name in order(["a", "b", "c"], k)]
    assert {name: len(rounds) for name, rounds in found.items()} == {"a": 4, "b": 4, "c": 4}


def test_slow_engine_sits_out_and_others_do_not() -> None:
    clock = Clock()
    takes = {"slow": clock.taking(30.0), "fast": clock.taking(1.0)}
    found = interleave(takes, rounds=7, budget=120.0, clock=clock)
    assert found["slow"] == [(30.0,), (30.0,), *[None] * 5]
    assert found["fast"] == [(1.0,)] * 7


def test_speedup_is_taken_round_by_round() -> None:
    # The machine is three times slower in the second round; the ratio does not notice.
    ours = [(1.0, 1.2, 0.8), (3.0,), (1.0,)]
    theirs = [(2.0,), (6.0, 6.0), (2.0,)]
    assert speedup(ours, theirs) == summary([2.0, 2.0, 2.0])


def test_rounds_that_one_sat_out_give_no_ratio() -> None:
    assert speedup([(1.0,), None, (1.0,)], [(2.0,), (50.0,), (4.0,)]) == summary([2.0, 4.0])


def test_time_is_the_median_of_medians() -> None:
    rounds = [(1.0, 9.0, 2.0), None, (4.0,), (3.0,)]
    assert time_of(rounds).median == pytest.approx(3.0)
    assert best_of(rounds) == pytest.approx(1.0)


def test_fastest_peer_is_not_ours() -> None:
    found = {"ours": [(1.0,)], "a": [(3.0,)], "b": [(2.0,)]}
    assert fastest(found, "ours") == "b"
    assert fastest({"ours": [(1.0,)]}, "ours") is None
