# SPDX-License-Identifier: MIT
"""Parts of a dataset that have the same share of every class, and no patient in two of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...errors import DataError
from ...ir import Array
from .order import permutation


def stratified_split(
    labels: Sequence[int] | Array,
    fractions: Sequence[float],
    seed: int = 0,
    groups: Sequence[object] | Array | None = None,
) -> list[Array]:
    """Return the numbers of the samples in each part, ascending.

    Without groups each part has its fraction of every class, give or take one sample. With
    groups, such as patients, all samples of a group are in one part; groups are dealt out from
    large to small, each to the part whose classes it brings nearest to what they should be.

    Args:
        labels: the class of every sample.
        fractions: of the parts; they add up to 1.
        seed: of the choice.
        groups: what every sample belongs to.

    Raises:
        DataError: fractions do not add up to 1, lengths differ, or a part would be empty.

    >>> train, test = stratified_split([0, 0, 0, 0, 1, 1, 1, 1], [0.75, 0.25])
    >>> len(train), len(test)
    (6, 2)
    >>> _, test = stratified_split([0, 1, 0, 1], [0.5, 0.5], groups=["a", "a", "b", "b"])
    >>> test.tolist() in ([0, 1], [2, 3])
    True
    """
    classes = np.asarray(labels).reshape(-1)
    shares = np.asarray(fractions, np.float64)
    if shares.ndim != 1 or (shares <= 0).any() or abs(shares.sum() - 1) > 1e-6:
        raise DataError(f"fractions={list(fractions)} must be positive and add up to 1")
    _, kinds = np.unique(classes, return_inverse=True)
    if groups is None:
        parts = _by_class(kinds.reshape(-1), shares, seed)
    else:
        parts = _by_group(kinds.reshape(-1), shares, seed, np.asarray(groups))
    for number, part in enumerate(parts):
        if not len(part):
            raise DataError(
                f"part {number} of {len(parts)} would be empty: {len(classes)} samples"
                f"{'' if groups is None else ' in too few groups'} for fractions={list(fractions)}"
            )
    return parts


def _by_class(kinds: Array, shares: Array, seed: int) -> list[Array]:
    part_of = np.empty(len(kinds), np.int64)
    bounds = np.concatenate([[0.0], np.cumsum(shares)])
    for kind in range(kinds.max(initial=-1) + 1):
        members = np.flatnonzero(kinds == kind)
        members = members[permutation(len(members), seed, kind, "split")]
        cuts = np.rint(bounds * len(members)).astype(np.int64)
        part_of[members] = np.repeat(np.arange(len(shares)), np.diff(cuts))
    return [np.flatnonzero(part_of == part) for part in range(len(shares))]


def _by_group(kinds: Array, shares: Array, seed: int, groups: Array) -> list[Array]:
    if len(groups) != len(kinds):
        raise DataError(f"{len(kinds)} labels need as many groups, found {len(groups)}")
    names, group_of = np.unique(groups, return_inverse=True)
    group_of = group_of.reshape(-1)
    counts = np.zeros((len(names), kinds.max(initial=-1) + 1))
    np.add.at(counts, (group_of, kinds), 1)
    total = counts.sum(0)
    # In units of what a class should have: a rare class weighs as much as a frequent one.
    missing = np.tile(shares[:, None], (1, len(total)))
    part_of = np.empty(len(names), np.int64)
    order = permutation(len(names), seed, 0, "split of groups")
    for group in order[np.argsort(-counts[order].sum(1), kind="stable")]:
        brought = counts[group] / total
        change = ((missing - brought) ** 2 - missing**2).sum(1)
        part = int(np.argmin(change / shares))
        missing[part] -= brought
        part_of[group] = part
    return [np.flatnonzero(part_of[group_of] == part) for part in range(len(shares))]


__all__ = ["stratified_split"]
