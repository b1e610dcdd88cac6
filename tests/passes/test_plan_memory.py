# SPDX-License-Identifier: MIT
"""Memory plans: nothing live overlaps, nothing beats the peak, and how close plans come."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ranvier.errors import PassError
from ranvier.passes.plan_memory import ALIGNMENT, Buffer, aligned, peak, plan

SIZES = st.one_of(st.integers(0, 300), st.sampled_from([64, 128, 4096]))
LIVES = st.tuples(st.integers(0, 12), st.integers(0, 6))


@st.composite
def buffers(draw: st.DrawFn) -> list[Buffer]:
    """Draw buffers of many sizes and lifetimes."""
    drawn = draw(st.lists(st.tuples(SIZES, LIVES), max_size=14))
    return [Buffer(f"b{k}", n, first, first + more) for k, (n, (first, more)) in enumerate(drawn)]


@given(buffers())
def test_live_buffers_do_not_overlap(drawn: list[Buffer]) -> None:
    placed = plan(drawn)
    for a, b in itertools.combinations(drawn, 2):
        if a.overlaps(b) and a.nbytes and b.nbytes:
            low, high = sorted((a, b), key=lambda x: placed.offsets[x.name])
            assert placed.offsets[low.name] + low.nbytes <= placed.offsets[high.name]


@given(buffers())
def test_total_holds_everything(drawn: list[Buffer]) -> None:
    placed = plan(drawn)
    assert placed.offsets.keys() == {b.name for b in drawn}
    assert all(placed.offsets[b.name] + b.nbytes <= placed.total for b in drawn)
    assert all(offset % ALIGNMENT == 0 for offset in placed.offsets.values())
    assert placed.total >= peak(drawn)


@given(buffers(), st.randoms(use_true_random=False))
def test_order_of_buffers_does_not_matter(drawn: list[Buffer], random: object) -> None:
    mixed = list(drawn)
    random.shuffle(mixed)  # type: ignore[attr-defined]
    assert plan(mixed) == plan(drawn)


def test_a_chain_needs_two_buffers() -> None:
    chain = [Buffer(f"b{k}", 1000, k, k + 1) for k in range(20)]
    assert plan(chain).total == 2 * aligned(1000) == peak(chain)


def test_disjoint_lives_share_memory() -> None:
    assert plan([Buffer("a", 64, 0, 3), Buffer("b", 64, 4, 5)]).total == 64


def test_touching_lives_do_not() -> None:
    assert plan([Buffer("a", 64, 0, 3), Buffer("b", 64, 3, 5)]).total == 128


def test_smallest_gap_that_fits_is_taken() -> None:
    fixed = [Buffer("a", 640, 0, 9), Buffer("wide", 512, 0, 1), Buffer("c", 384, 0, 9)]
    fixed += [Buffer("tight", 256, 0, 1), Buffer("d", 192, 0, 9)]
    placed = plan([*fixed, Buffer("late", 128, 2, 9)])
    assert placed.offsets["late"] == placed.offsets["tight"]
    assert placed.total == plan(fixed).total


def test_skip_connections_come_close_to_the_peak() -> None:
    """A U-Net: each level is kept until the way up reads it."""
    depth = 6
    down = [Buffer(f"down{k}", 2**20 >> k, k, 2 * depth - k) for k in range(depth)]
    up = [Buffer(f"up{k}", 2**20 >> k, 2 * depth - k, 2 * depth - k + 1) for k in range(depth)]
    assert plan(down + up).total <= 1.1 * peak(down + up)


def test_nothing_needs_nothing() -> None:
    assert plan([]).total == 0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([Buffer("a", 1, 0, 1), Buffer("a", 1, 2, 3)], "two buffers are called 'a'"),
        ([Buffer("a", -1, 0, 1)], "negative size or lifetime"),
        ([Buffer("a", 1, 2, 1)], "negative size or lifetime"),
    ],
)
def test_bad_buffers_are_refused(given: list[Buffer], message: str) -> None:
    with pytest.raises(PassError, match=message):
        plan(given)
