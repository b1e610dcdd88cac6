# SPDX-License-Identifier: MIT
"""Datasets: what parts, joins and changes hold; archives; what is refused and how it is said."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ranvier.errors import DataError
from ranvier.training.data import (
    ArrayDataset,
    Concatenation,
    Dataset,
    Mapped,
    Sample,
    Subset,
    read_npz,
    samples,
    stratified_split,
)
from ranvier.training.data.dataset import reader_of, stacked


def numbered(count: int, start: int = 0) -> ArrayDataset:
    x = np.arange(start, start + count)
    return ArrayDataset(x=x, image=np.repeat(x, 6).reshape(count, 2, 3).astype(np.float32))


def plain(sample: Sample) -> Sample:
    return {"x": sample["x"], "image": sample["image"] + 1}


DATASETS: dict[str, Dataset] = {
    "arrays": numbered(7),
    "subset": Subset(numbered(9), [8, 0, 3, 3]),
    "joined": Concatenation(numbered(3), Subset(numbered(5, 50), [4, 1]), numbered(2, 90)),
    "mapped": Mapped(numbered(4), plain),
    "joined mapped": Concatenation(numbered(3), Mapped(numbered(3), plain)),
}


@pytest.mark.parametrize("name", DATASETS)
def test_samples_read_together_are_those_read_alone(name: str) -> None:
    dataset = DATASETS[name]
    assert isinstance(dataset, Dataset)
    numbers = np.array([2, 0, len(dataset) - 1, 2])
    expected = [dataset[int(n)] for n in numbers]
    reader = reader_of(dataset)
    assert (reader is None) == ("mapped" in name)
    for batch in (stacked(dataset, numbers), reader(numbers) if reader else {}):
        for field, array in batch.items():
            np.testing.assert_array_equal(array, [s[field] for s in expected])
            assert array.dtype == expected[0][field].dtype


def test_a_dataset_kept_as_arrays() -> None:
    kept = ArrayDataset.of(DATASETS["mapped"])
    np.testing.assert_array_equal(kept.arrays["image"], numbered(4).arrays["image"] + 1)


class Broken:
    """Sample 3 cannot be read, sample 5 has another shape, sample 6 other fields."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int, /) -> Sample:
        if index == 3:
            raise OSError("disk on fire")
        if index == 6:
            return {"y": np.zeros(2)}
        return {"x": np.zeros(3 if index == 5 else 2)}


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (lambda: ArrayDataset(), "a dataset of arrays needs at least one"),
        (lambda: ArrayDataset(x=np.zeros(2), y=np.zeros(3)), "found lengths {'x': 2, 'y': 3}"),
        (lambda: ArrayDataset(x=np.zeros(())), "field 'x': expected an array of numbers"),
        (lambda: ArrayDataset(x=np.array([None])), "found object of shape"),
        (lambda: ArrayDataset.of(Subset(numbered(2), [])), "without samples"),
        (lambda: Subset(numbered(2), [0, 2]), "asks for sample 2 of a dataset with 2 samples"),
        (lambda: Subset(numbered(2), [-1]), "asks for sample -1"),
        (lambda: Subset(numbered(2), np.array([0.5])), "needs a list of whole numbers"),
        (lambda: stacked(Broken(), np.array([1, 3])), "sample 3 cannot be read: OSError: disk on"),
        (
            lambda: stacked(Broken(), np.array([1, 5])),
            "sample 5: field 'x' is float64 [3], in sample 1 float64 [2]; samples of a batch must",
        ),
        (lambda: stacked(Broken(), np.array([0, 6])), "sample 6 has the fields ['y'], sample 0"),
        (
            lambda: stacked(Mapped(numbered(1), lambda _: {"x": np.array("a")}), np.array([0])),
            "field 'x' holds <U1, expected numbers",
        ),
        (
            lambda: reader_of(Concatenation(numbered(2), ArrayDataset(x=np.zeros(1))))(  # type: ignore[misc]
                np.array([1, 2])
            ),
            "sample 2 has the fields ['x'], sample 1 ['image', 'x']",
        ),
    ],
)
def test_mistakes_are_named(mistake: Callable[[], object], message: str) -> None:
    with pytest.raises(DataError) as caught:
        mistake()
    assert message in str(caught.value)


def test_joined_datasets_end() -> None:
    with pytest.raises(IndexError):
        Concatenation(numbered(2), numbered(1))[3]


# Archives


def test_an_archive_is_read_back(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", x=np.arange(3), y=np.ones((2, 2), np.float16))
    found = read_npz(tmp_path / "a.npz")
    assert {k: (str(a.dtype), a.shape) for k, a in found.items()} == {
        "x": ("int64", (3,)),
        "y": ("float16", (2, 2)),
    }


class Hostile:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (self.path,)


def test_an_archive_runs_nothing(tmp_path: Path) -> None:
    trap = tmp_path / "trapped"
    np.savez(tmp_path / "a.npz", x=np.array([Hostile(str(trap))], object))
    with pytest.raises(DataError, match="holds Python objects instead of numbers"):
        read_npz(tmp_path / "a.npz")
    assert not trap.exists()


def test_archives_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with pytest.raises(DataError, match=r"a\.npz' cannot be read: .*No such file"):
        read_npz(path)
    np.savez(path, x=np.arange(1000))
    whole = path.read_bytes()
    for cut in (0, 3, 100, len(whole) // 2, len(whole) - 5):
        path.write_bytes(whole[:cut])
        with pytest.raises(DataError, match=r"a\.npz' is damaged"):
            read_npz(path)
    np.save(tmp_path / "b.npy", np.arange(3))
    with pytest.raises(DataError, match=r"b\.npy' holds one array; expected an \.npz file"):
        read_npz(tmp_path / "b.npy")


# Splits


@given(
    st.lists(st.integers(0, 3), min_size=40, max_size=200),
    st.sampled_from([(0.5, 0.5), (0.8, 0.1, 0.1), (0.34, 0.33, 0.33)]),
    st.integers(0, 5),
)
def test_every_part_has_its_share_of_every_class(
    labels: list[int], fractions: tuple[float, ...], seed: int
) -> None:
    parts = stratified_split(labels, fractions, seed)
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(labels)))
    counts = np.bincount(labels, minlength=4)
    for part, fraction in zip(parts, fractions, strict=True):
        found = np.bincount(np.asarray(labels)[part], minlength=4)
        assert (np.abs(found - fraction * counts) <= 1).all()


@given(st.lists(st.integers(1, 6), min_size=40, max_size=80), st.integers(0, 3), st.integers(0, 5))
def test_no_group_is_in_two_parts(sizes: list[int], classes: int, seed: int) -> None:
    groups = np.repeat([f"patient {k}" for k in range(len(sizes))], sizes)
    labels = np.random.default_rng(seed).integers(0, classes + 1, len(groups))
    fractions = (0.7, 0.3)
    parts = stratified_split(labels, fractions, seed, groups)
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(labels)))
    assert not set(groups[parts[0]]) & set(groups[parts[1]])
    shares = [len(part) / len(labels) for part in parts]
    np.testing.assert_allclose(shares, fractions, atol=0.06)


def test_splits_keep_classes_where_patients_have_one_each() -> None:
    labels = np.repeat([0, 1], [400, 40])
    groups = np.arange(440) // 4
    for part, share in zip(
        stratified_split(labels, [0.8, 0.2], 3, groups), (0.8, 0.2), strict=True
    ):
        np.testing.assert_allclose(np.bincount(labels[part]), [400 * share, 40 * share], atol=4)


def test_splits_are_repeated_by_their_seed() -> None:
    labels = np.arange(50) % 3
    one, two, other = (stratified_split(labels, [0.5, 0.5], seed)[0] for seed in (1, 1, 2))
    assert one.tolist() == two.tolist() != other.tolist()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0, 1], [0.5, 0.6]), "must be positive and add up to 1"),
        (([0, 1], [1.5, -0.5]), "must be positive and add up to 1"),
        (([0], [0.5, 0.5]), "would be empty: 1 samples for fractions=[0.5, 0.5]"),
        (([], [0.5, 0.5]), "would be empty: 0 samples"),
        (([0, 1], [0.5, 0.5], 0, ["a", "a"]), "would be empty: 2 samples in too few groups"),
        (([0, 1], [0.5, 0.5], 0, ["a"]), "2 labels need as many groups, found 1"),
    ],
)
def test_splits_that_cannot_be(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(DataError) as caught:
        stratified_split(*arguments)  # type: ignore[arg-type]
    assert message in str(caught.value)


# Images of the package


def test_pneumonia_is_balanced_and_apart() -> None:
    train, validation = samples.pneumonia()
    for part, count in ((train, 2428), (validation, 270)):
        image, label = part.arrays["image"], part.arrays["label"]
        assert image.shape == (count, 1, 28, 28)
        assert image.dtype == np.float32
        assert (float(image.min()), float(image.max())) == (0.0, 1.0)
        assert label.dtype == np.int64
        assert np.bincount(label).tolist() == [count // 2, count // 2]


def test_images_of_the_package_are_small_and_attributed() -> None:
    folder = Path(samples.__file__).parent
    for path in folder.glob("*.npz"):
        assert path.stat().st_size < 2_500_000
        assert "CC BY 4.0" in path.with_suffix(".LICENSE.txt").read_text(encoding="utf-8")
