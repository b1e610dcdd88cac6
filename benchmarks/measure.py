# SPDX-License-Identifier: MIT
"""Interleaved rounds, medians, and ratios with their spread."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Take = Callable[[], Sequence[float]]
"""Takes one turn: runs a few times and returns the seconds of each run."""

FEWEST_ROUNDS = 2


@dataclass(frozen=True)
class Summary:
    """Middle and spread of numbers.

    Attributes:
        median: the middle.
        low: the first quartile.
        high: the third quartile.
    """

    median: float
    low: float
    high: float


def summary(numbers: Iterable[float]) -> Summary:
    """Return median and quartiles (linear between neighbours) of at least one number.

    >>> summary([4.0, 1.0, 2.0, 3.0, 5.0])
    Summary(median=3.0, low=2.0, high=4.0)
    """
    ordered = sorted(numbers)
    if len(ordered) == 1:
        return Summary(ordered[0], ordered[0], ordered[0])
    low, median, high = statistics.quantiles(ordered, n=4, method="inclusive")
    return Summary(median, low, high)


def order(names: Sequence[str], turn: int) -> list[str]:
    """Return the order of a round.

    The first engine changes every two rounds, and the second of them goes around the other way:
    nobody always follows the same engine, or comes first.

    >>> [" ".join(order(["a", "b", "c"], k)) for k in range(4)]
    ['a b c', 'a c b', 'c a b', 'c b a']
    """
    if not names:
        return []
    start = turn // 2 * (len(names) - 1) % len(names)
    rotated = [*names[start:], *names[:start]]
    return [rotated[0], *reversed(rotated[1:])] if turn % 2 else rotated


def interleave(
    takes: Mapping[str, Take],
    rounds: int,
    budget: float = float("inf"),
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[tuple[float, ...] | None]]:
    """Let every engine take one turn per round.

    An engine whose next turn would exceed its equal share of the budget sits out, so that one
    slow engine does not take the time of all; every engine has two turns at least.

    Args:
        takes: what a turn of each engine is.
        rounds: how many rounds.
        budget: seconds for all turns together.
        clock: tells the time in seconds.

    Returns:
        Per engine and round the seconds of each run, ``None`` where the engine sat out.
    """
    share = budget / max(1, len(takes))
    spent = dict.fromkeys(takes, 0.0)
    found: dict[str, list[tuple[float, ...] | None]] = {name: [] for name in takes}
    for turn in range(rounds):
        for name in order(list(takes), turn):
            if turn >= FEWEST_ROUNDS and spent[name] * (turn + 1) / turn > share:
                found[name].append(None)
                continue
            start = clock()
            found[name].append(tuple(takes[name]()))
            spent[name] += clock() - start
    return found


def medians(rounds: Iterable[Sequence[float] | None]) -> list[float | None]:
    """Return the median of each round."""
    return [None if times is None else statistics.median(times) for times in rounds]


def time_of(rounds: Iterable[Sequence[float] | None]) -> Summary:
    """Return the summary of the rounds' medians."""
    return summary(m for m in medians(rounds) if m is not None)


def best_of(rounds: Iterable[Sequence[float] | None]) -> float:
    """Return the shortest run of all."""
    return min(t for times in rounds if times is not None for t in times)


def speedup(
    rounds: Sequence[Sequence[float] | None], reference: Sequence[Sequence[float] | None]
) -> Summary:
    """Return how many times faster ``rounds`` are than ``reference``.

    Each round gives one ratio, of two medians taken within seconds of each other, so that what
    slows the machine down for a while slows both.
    """
    pairs = zip(medians(reference), medians(rounds), strict=True)
    return summary(b / a for b, a in pairs if a is not None and b is not None)


def fastest(found: Mapping[str, Sequence[Sequence[float] | None]], own: str) -> str | None:
    """Return the name of the fastest engine besides ``own``, by median; ``None`` if alone."""
    peers = {name: time_of(rounds).median for name, rounds in found.items() if name != own}
    return min(peers, key=lambda name: peers[name]) if peers else None


def as_lists(found: Sequence[Sequence[float] | None]) -> list[Any]:
    """Return rounds as JSON types."""
    return [None if times is None else list(times) for times in found]
