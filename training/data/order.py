# SPDX-License-Identifier: MIT
"""In which order an epoch takes samples: functions of seed and epoch, the same on every rank."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from ...errors import DataError
from ...ir import Array


class Sampler(Protocol):
    """Says which samples an epoch takes, in order; a function of its arguments alone."""

    def __len__(self) -> int:
        """Return how many samples an epoch has."""
        ...

    def order(self, seed: int, epoch: int) -> Array:
        """Return the numbers of samples (int64), perhaps with repetitions."""
        ...


class Sequential:
    """Every sample once, by number."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        """Return the number of samples."""
        return self._count

    def order(self, seed: int, epoch: int) -> Array:
        """Return ``0, 1, 2...``."""
        return np.arange(self._count)


class Shuffled:
    """Every sample once, in an order that is new in each epoch.

    >>> order = Shuffled(5)
    >>> sorted(order.order(seed=1, epoch=0).tolist())
    [0, 1, 2, 3, 4]
    """

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        """Return the number of samples."""
        return self._count

    def order(self, seed: int, epoch: int) -> Array:
        """Return a permutation."""
        return permutation(self._count, seed, epoch)


class Weighted:
    """Samples drawn with probabilities that are proportional to their weights.

    With replacement every draw is independent; without, a sample is drawn at most once and the
    weights of the others stay in proportion (the ``count`` largest ``log(u) / weight``).

    Args:
        weights: one number per sample, not negative; 0 is never drawn.
        count: of draws in an epoch; as many as there are samples if it is left out.
        replacement: whether a sample may be drawn again.

    Raises:
        DataError: weights are negative, not finite or all zero, or too few for ``count``.

    References:
        Efraimidis and Spirakis, Weighted random sampling with a reservoir, IPL 2006.

    >>> drawn = Weighted([0.0, 1.0, 3.0], count=1000).order(seed=0, epoch=0)
    >>> np.bincount(drawn, minlength=3).tolist()
    [0, ..., ...]
    """

    def __init__(
        self,
        weights: Sequence[float] | Array,
        count: int | None = None,
        replacement: bool = True,
    ) -> None:
        self._weights = np.asarray(weights, np.float64)
        self._count = len(self._weights) if count is None else count
        self._replacement = replacement
        if self._weights.ndim != 1 or not np.isfinite(self._weights).all():
            raise DataError("weights of samples must be a list of finite numbers")
        if (self._weights < 0).any() or not self._weights.any():
            raise DataError("weights of samples must not be negative, and not all zero")
        available = int((self._weights > 0).sum())
        if self._count < 1 or (not replacement and self._count > available):
            raise DataError(
                f"count={self._count} samples cannot be drawn without replacement from "
                f"{available} with a positive weight"
            )

    def __len__(self) -> int:
        """Return the number of draws."""
        return self._count

    def order(self, seed: int, epoch: int) -> Array:
        """Draw."""
        if self._replacement:
            bounds = np.cumsum(self._weights)
            drawn = uniform(self._count, seed, epoch) * bounds[-1]
            # The last sample that can be drawn: a rounded product may reach the upper bound.
            last = np.flatnonzero(self._weights)[-1]
            found: Array = np.searchsorted(bounds, drawn, "right").astype(np.int64)
            return np.clip(found, 0, int(last))
        chosen = np.flatnonzero(self._weights)
        drawn = uniform(len(self._weights), seed, epoch)[chosen]
        rank = np.argsort(np.log1p(-drawn) / self._weights[chosen], kind="stable")
        first: Array = chosen[rank[::-1][: self._count]]
        return first


class ClassBalanced:
    """Every class equally often, whatever its share of the samples.

    The samples of a class are taken in passes, each a new permutation, until there are enough:
    none is repeated before all its class was taken.

    Args:
        labels: the class of every sample.
        per_class: samples of each class in an epoch; the size of the largest class if left out.

    Raises:
        DataError: there are no labels.

    >>> order = ClassBalanced([0, 0, 0, 1]).order(seed=0, epoch=0)
    >>> np.bincount(order, minlength=4).tolist()
    [1, 1, 1, 3]
    """

    def __init__(self, labels: Sequence[int] | Array, per_class: int | None = None) -> None:
        flat = np.asarray(labels).reshape(-1)
        if not flat.size:
            raise DataError("balancing classes needs the label of every sample, found none")
        _, inverse = np.unique(flat, return_inverse=True)
        self._members = [np.flatnonzero(inverse == k) for k in range(inverse.max() + 1)]
        self._per_class = per_class or max(map(len, self._members))

    def __len__(self) -> int:
        """Return the number of classes times the samples of each."""
        return len(self._members) * self._per_class

    def order(self, seed: int, epoch: int) -> Array:
        """Take passes through each class, then shuffle."""
        taken = []
        for number, members in enumerate(self._members):
            passes = -(-self._per_class // len(members))
            orders = [
                members[permutation(len(members), seed, epoch, f"class {number} pass {k}")]
                for k in range(passes)
            ]
            taken.append(np.concatenate(orders)[: self._per_class])
        together = np.concatenate(taken)
        return together[permutation(len(together), seed, epoch)]


def permutation(count: int, seed: int, epoch: int, use: str = "order") -> Array:
    """Return the numbers below ``count`` in random order: sorted by 64 random bits each."""
    return np.argsort(random_words(count, seed, epoch, use), kind="stable")


def uniform(count: int, seed: int, epoch: int, use: str = "draws") -> Array:
    """Return float64 numbers in [0, 1) of 53 random bits."""
    numbers: Array = (random_words(count, seed, epoch, use) >> np.uint64(11)) * 2.0**-53
    return numbers


def random_words(count: int, seed: int, epoch: int, use: str) -> Array:
    """Return uint64 random bits, a function of seed, epoch and what they are used for.

    The raw bits of this counter-based generator are what NumPy promises never to change; the
    key is hashed so that no two uses, and no key of a sample, give the same numbers.
    """
    key = hashlib.sha256(f"{use}:{seed}:{epoch}".encode()).digest()[:16]
    return np.random.Philox(key=int.from_bytes(key, "little")).random_raw(count)


def sample_keys(seed: int, epoch: int, indices: Array, repeats: Array | int = 0) -> Array:
    """Return the key of each sample for the random numbers of an epoch.

    Key ``n`` is ``key_of(seed, stream=indices[n], step=epoch)`` of :mod:`ranvier.ir.ops.random`
    and thus depends neither on the batch nor on the rank. Where a sampler takes a sample again
    within an epoch, the number of times before is added to the upper word of the seed, so that
    it is augmented anew.

    Shapes: indices (N,), repeats () or (N,), result uint32 (N, 4).

    >>> sample_keys(7, 2, np.array([5, 0])).tolist()
    [[7, 0, 5, 2], [7, 0, 0, 2]]
    """
    keys = np.empty((len(indices), 4), np.uint32)
    keys[:, 0] = seed & 0xFFFFFFFF
    keys[:, 1] = ((seed >> 32) + np.asarray(repeats, np.int64)) & 0xFFFFFFFF
    keys[:, 2] = indices
    keys[:, 3] = epoch
    return keys


def repetitions(order: Array) -> Array:
    """Return how often each entry has occurred before it.

    >>> repetitions(np.array([4, 2, 4, 4, 2])).tolist()
    [0, 0, 1, 2, 1]
    """
    ranked = np.argsort(order, kind="stable")
    starts = np.flatnonzero(np.diff(order[ranked], prepend=-1))
    lengths = np.diff(starts, append=len(order))
    counted = np.empty(len(order), np.int64)
    counted[ranked] = np.arange(len(order)) - np.repeat(starts, lengths)
    return counted


__all__ = [
    "ClassBalanced",
    "Sampler",
    "Sequential",
    "Shuffled",
    "Weighted",
    "permutation",
    "repetitions",
    "sample_keys",
]
