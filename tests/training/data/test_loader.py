# SPDX-License-Identifier: MIT
"""The loader: which samples a batch holds, on any rank and with any threads, and how it ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ranvier.errors import DataError
from ranvier.ir import ops
from ranvier.training.data import (
    ArrayDataset,
    Batch,
    ClassBalanced,
    DataLoader,
    Mapped,
    Sample,
    Sampler,
    Shuffled,
    Weighted,
    sample_keys,
)


def numbered(count: int) -> ArrayDataset:
    return ArrayDataset(x=np.arange(count), image=np.arange(count * 2.0).reshape(count, 2))


def indices(loader: DataLoader, epoch: int = 0) -> list[list[int]]:
    return [batch["index"].tolist() for batch in loader.epoch(epoch)]


def assert_same(one: list[Batch], two: list[Batch]) -> None:
    assert len(one) == len(two)
    for a, b in zip(one, two, strict=True):
        assert a.keys() == b.keys()
        for name in a:
            assert a[name].dtype == b[name].dtype
            np.testing.assert_array_equal(a[name], b[name])


@given(
    st.integers(1, 40),
    st.integers(1, 4),
    st.integers(1, 4),
    st.booleans(),
    st.booleans(),
    st.integers(0, 3),
)
def test_ranks_share_the_batches_of_one(
    count: int, per_rank: int, world: int, shuffle: bool, drop_last: bool, epoch: int
) -> None:
    size = per_rank * world
    if drop_last and size > count:
        return

    def loader(rank: int, world: int) -> DataLoader:
        return DataLoader(
            numbered(count),
            size,
            shuffle=shuffle,
            seed=5,
            drop_last=drop_last,
            rank=rank,
            world_size=world,
        )

    whole = list(loader(0, 1).epoch(epoch))
    ranks = [list(loader(rank, world).epoch(epoch)) for rank in range(world)]
    joined = [
        {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        for parts in zip(*ranks, strict=True)
    ]
    assert_same(joined, whole)
    assert len(loader(0, 1)) == len(whole)
    taken = [i for batch in whole for i in batch["index"].tolist()]
    assert len(set(taken)) == len(taken) == loader(0, 1).sample_count
    assert drop_last or len(taken) == count


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("slow", [False, True])
def test_threads_change_nothing(threads: int, slow: bool) -> None:
    def delayed(sample: Sample) -> Sample:
        time.sleep(0.002 * (int(sample["x"]) % 3))
        return sample

    dataset = Mapped(numbered(23), delayed) if slow else numbered(23)
    alone = DataLoader(dataset, 4, shuffle=True, seed=2)
    shared = DataLoader(dataset, 4, shuffle=True, seed=2, threads=threads)
    for epoch in (0, 1):
        assert_same(list(shared.epoch(epoch)), list(alone.epoch(epoch)))


def test_epochs_and_seeds_shuffle_anew() -> None:
    loader = DataLoader(numbered(50), 50, shuffle=True, seed=1)
    first = indices(loader)
    assert first == indices(loader)
    assert first != indices(loader, 1)
    assert first != indices(DataLoader(numbered(50), 50, shuffle=True, seed=2))
    assert sorted(first[0]) == list(range(50))
    assert indices(DataLoader(numbered(5), 2), 3) == [[0, 1], [2, 3], [4]]


def test_the_order_of_a_seed_never_changes() -> None:
    # Runs that are resumed, and results that are published, depend on it.
    assert Shuffled(8).order(7, 3).tolist() == [3, 6, 4, 1, 7, 2, 5, 0]


def test_every_order_is_equally_likely() -> None:
    places = np.stack([Shuffled(5).order(0, epoch) for epoch in range(5000)])
    counts = [np.bincount(column, minlength=5) for column in places.T]
    np.testing.assert_allclose(counts, 1000, atol=130)


@pytest.mark.parametrize("threads", [0, 2])
def test_an_epoch_is_resumed_at_any_step(threads: int) -> None:
    loader = DataLoader(numbered(17), 4, shuffle=True, threads=threads)
    whole = list(loader.epoch(3))
    for step in range(len(loader) + 1):
        assert_same(list(loader.epoch(3, step)), whole[step:])


# Keys


def test_keys_depend_on_seed_epoch_and_index_alone() -> None:
    one = DataLoader(numbered(12), 5, shuffle=True, seed=2**40 + 3)
    two = DataLoader(numbered(12), 3, seed=2**40 + 3)
    for epoch in (0, 6):
        keys = [
            {
                int(i): key.tolist()
                for b in loader.epoch(epoch)
                for i, key in zip(b["index"], b["key"], strict=True)
            }
            for loader in (one, two)
        ]
        assert keys[0] == keys[1]
        assert keys[0][7] == ops.key_of(2**40 + 3, stream=7, step=epoch).tolist()


def test_a_sample_that_is_taken_again_gets_another_key() -> None:
    loader = DataLoader(numbered(2), 6, sampler=ClassBalanced([0, 1], per_class=3))
    (batch,) = loader.epoch(0)
    assert len({tuple(key) for key in batch["key"].tolist()}) == 6


def test_keys_of_a_negative_seed_are_those_of_its_bits() -> None:
    assert sample_keys(-1, 0, np.array([3])).tolist() == [[2**32 - 1, 2**32 - 1, 3, 0]]


# Samplers


def test_weights_are_probabilities() -> None:
    order = Weighted([1.0, 0.0, 3.0, 4.0], count=8000).order(0, 0)
    shares = np.bincount(order, minlength=4) / 8000
    np.testing.assert_allclose(shares, [0.125, 0, 0.375, 0.5], atol=0.02)


def test_the_first_draw_without_replacement_has_the_probabilities_too() -> None:
    sampler = Weighted([1.0, 0.0, 3.0, 4.0], count=3, replacement=False)
    orders = np.stack([sampler.order(0, epoch) for epoch in range(4000)])
    assert all(sorted(order) == [0, 2, 3] for order in orders.tolist())
    shares = np.bincount(orders[:, 0], minlength=4) / 4000
    np.testing.assert_allclose(shares, [0.125, 0, 0.375, 0.5], atol=0.03)
    # Of the other two, the second is drawn by the weights that are left.
    second = orders[orders[:, 0] == 3, 1]
    assert abs(np.mean(second == 2) - 0.75) < 0.03


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.integers(0, 9))
def test_classes_are_equally_frequent(labels: list[int], epoch: int) -> None:
    sampler = ClassBalanced(labels)
    order = sampler.order(3, epoch)
    assert len(order) == len(sampler)
    taken = np.asarray(labels)[order]
    assert len(set(np.bincount(taken)[np.unique(labels)].tolist())) == 1
    for label in set(labels):
        times = np.bincount(order[taken == label], minlength=len(labels))
        times = times[np.asarray(labels) == label]
        assert times.max() - times.min() <= 1


class Wrong:
    def __len__(self) -> int:
        return 1

    def order(self, seed: int, epoch: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
        return np.array([9])


# What goes wrong


def failing(sample: Sample) -> Sample:
    if sample["x"] == 6:
        raise ZeroDivisionError("half a patient")
    return sample


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_a_failing_sample_is_named(threads: int) -> None:
    loader = DataLoader(Mapped(numbered(20), failing), 4, threads=threads)
    batches = loader.epoch(2)
    assert next(batches)["index"].tolist() == [0, 1, 2, 3]
    with pytest.raises(DataError) as caught:
        next(batches)
    assert (
        str(caught.value) == "epoch 2: sample 6 cannot be read: ZeroDivisionError: half a patient"
    )
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert not loaders()


def loaders() -> list[threading.Thread]:
    """Return the threads of loaders that are alive."""
    return [t for t in threading.enumerate() if t.name.startswith("loader")]


def test_no_thread_outlives_a_loop_that_ends_early() -> None:
    read: list[int] = []

    def noted(sample: Sample) -> Sample:
        read.append(int(sample["x"]))
        return sample

    loader = DataLoader(Mapped(numbered(1000), noted), 2, threads=2, prefetch=3)
    batches = loader.epoch(0)
    next(batches)
    assert loaders()
    batches.close()
    assert not loaders()
    assert len(read) < 20  # no more than was to be made ahead

    for _ in loader.epoch(1):
        break
    assert not loaders()


def test_a_bounded_number_of_batches_is_made_ahead() -> None:
    made: list[int] = []

    def noted(sample: Sample) -> Sample:
        made.append(int(sample["x"]))
        return sample

    loader = DataLoader(Mapped(numbered(100), noted), 1, threads=2, prefetch=4)
    batches = loader.epoch(0)
    for taken in range(1, 10):
        next(batches)
        time.sleep(0.01)
        assert len(made) <= taken + 4


def test_time_is_measured() -> None:
    def slow(sample: Sample) -> Sample:
        time.sleep(0.01)
        return sample

    loader = DataLoader(Mapped(numbered(6), slow), 2)
    assert loader.seconds == 0
    list(loader.epoch(0))
    assert 0.06 <= loader.work_seconds <= loader.seconds


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: DataLoader(ArrayDataset(x=np.zeros(0)), 1),
            "expected 1 to 2**32 samples, found 0",
        ),
        (lambda: DataLoader(numbered(3), 0), "batch_size=0 or threads=0 is too small"),
        (lambda: DataLoader(numbered(3), 1, threads=-1), "threads=-1 is too small"),
        (lambda: DataLoader(numbered(3), 2, world_size=2, rank=2), "rank=2 must be below"),
        (lambda: DataLoader(numbered(3), 3, world_size=2), "batch_size=3 counts the samples of"),
        (lambda: DataLoader(numbered(3), 4, drop_last=True), "3 samples do not fill a batch of 4"),
        (lambda: DataLoader(numbered(3), 1, threads=4, prefetch=2), "prefetch=2 batches keep only"),
        (
            lambda: DataLoader(numbered(3), 1, shuffle=True, sampler=Shuffled(3)),
            "shuffle=True and a sampler both say the order",
        ),
        (lambda: DataLoader(numbered(3), 1).epoch(-1), "epoch -1 from step 0 on"),
        (lambda: DataLoader(numbered(3), 1).epoch(0, 4), "an epoch has 3 steps"),
        (
            lambda: DataLoader(numbered(3), 1, sampler=Wrong()).epoch(0),
            "the sampler asks for sample 9 of a dataset with 3 samples",
        ),
        (
            lambda: list(DataLoader(ArrayDataset(key=np.zeros(2)), 1).epoch(0)),
            "samples have a field 'key', which the loader adds; rename it",
        ),
        (lambda: Weighted([1, -1]), "must not be negative"),
        (lambda: Weighted([0.0, 0.0]), "not all zero"),
        (lambda: Weighted([1.0, np.nan]), "a list of finite numbers"),
        (lambda: Weighted([1.0, 0.0], 2, replacement=False), "count=2 samples cannot be drawn"),
        (lambda: ClassBalanced([]), "needs the label of every sample"),
    ],
)
def test_mistakes_are_named(make: Callable[[], object], message: str) -> None:
    with pytest.raises(DataError) as caught:
        make()
    assert message in str(caught.value)


def test_samplers_are_what_the_protocol_says() -> None:
    sampler: Sampler = Weighted([1.0])
    assert len(sampler) == 1
