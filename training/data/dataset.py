# SPDX-License-Identifier: MIT
"""Datasets: numbered samples, each a few named arrays; parts, joins and changes of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np

from ...errors import DataError
from ...ir import Array

Sample: TypeAlias = dict[str, Array]
"""Named arrays of one sample, without a batch axis."""
Batch: TypeAlias = dict[str, Array]
"""Named arrays of several samples, stacked along axis 0."""
Reader: TypeAlias = Callable[[Array], Batch]
"""Reads the samples of given numbers (int64) at once."""


@runtime_checkable
class Dataset(Protocol):
    """Numbered samples.

    Samples of one dataset have the same fields; a field has one shape and element type. Several
    threads may read at once. A dataset that can read many samples faster than one after the
    other has a method ``reader() -> Reader | None`` as well.
    """

    def __len__(self) -> int:
        """Return the number of samples."""
        ...

    def __getitem__(self, index: int, /) -> Sample:
        """Return a sample; numbers from 0 to below the length."""
        ...


def reader_of(dataset: Dataset) -> Reader | None:
    """Return how a dataset reads many samples at once, if it can."""
    method: Callable[[], Reader | None] | None = getattr(dataset, "reader", None)
    return method() if method is not None else None


class ArrayDataset:
    """Samples that are rows of arrays in memory, or of arrays mapped from files.

    >>> import numpy as np
    >>> data = ArrayDataset(image=np.zeros((5, 1, 4, 4)), label=np.arange(5))
    >>> len(data), data[3]["label"].item(), data[3]["image"].shape
    (5, 3, (1, 4, 4))

    Raises:
        DataError: there are no arrays, or their lengths differ.
    """

    def __init__(self, **arrays: Array) -> None:
        if not arrays:
            raise DataError("a dataset of arrays needs at least one, such as image=...")
        self.arrays = {name: np.asanyarray(array) for name, array in arrays.items()}
        for name, array in self.arrays.items():
            if array.ndim == 0 or array.dtype.hasobject:
                raise DataError(
                    f"field '{name}': expected an array of numbers with one row per sample, "
                    f"found {array.dtype} of shape {list(array.shape)}"
                )
        lengths = {name: len(array) for name, array in self.arrays.items()}
        if len(set(lengths.values())) > 1:
            raise DataError(f"all fields need one row per sample, found lengths {lengths}")

    @classmethod
    def of(cls, dataset: Dataset) -> ArrayDataset:
        """Return all samples of a dataset, read once and kept in memory.

        Raises:
            DataError: there are none, or they differ in shape.
        """
        if len(dataset) == 0:
            raise DataError("a dataset without samples cannot be kept as arrays")
        reader = reader_of(dataset)
        numbers = np.arange(len(dataset))
        return cls(**(reader(numbers) if reader is not None else stacked(dataset, numbers)))

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(next(iter(self.arrays.values())))

    def __getitem__(self, index: int, /) -> Sample:
        """Return the rows of a number; views, not copies."""
        return {name: np.asarray(array[index]) for name, array in self.arrays.items()}

    def reader(self) -> Reader:
        """Return how rows are gathered."""
        return lambda numbers: {k: np.asarray(a[numbers]) for k, a in self.arrays.items()}


class Subset:
    """The samples of a dataset with given numbers, in their order.

    >>> import numpy as np
    >>> part = Subset(ArrayDataset(x=np.arange(9)), [7, 2])
    >>> [part[k]["x"].item() for k in range(len(part))]
    [7, 2]

    Raises:
        DataError: a number is outside the dataset.
    """

    def __init__(self, source: Dataset, indices: Sequence[int] | Array) -> None:
        self.source = source
        self.indices = as_indices(indices, len(source), "a subset")

    def __len__(self) -> int:
        """Return how many numbers there are."""
        return len(self.indices)

    def __getitem__(self, index: int, /) -> Sample:
        """Return the sample of the number at ``index``."""
        return self.source[int(self.indices[index])]

    def reader(self) -> Reader | None:
        """Return the source's reader of other numbers."""
        source = reader_of(self.source)
        return None if source is None else lambda numbers: source(self.indices[numbers])


class Concatenation:
    """The samples of several datasets one after the other.

    >>> import numpy as np
    >>> both = Concatenation(ArrayDataset(x=np.arange(3)), ArrayDataset(x=np.arange(2)))
    >>> len(both), both[4]["x"].item()
    (5, 1)
    """

    def __init__(self, *sources: Dataset) -> None:
        self.sources = sources
        self._starts = np.cumsum([0, *map(len, sources)])

    def __len__(self) -> int:
        """Return the sum of lengths."""
        return int(self._starts[-1])

    def __getitem__(self, index: int, /) -> Sample:
        """Return the sample of the dataset that ``index`` falls into."""
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        part = int(np.searchsorted(self._starts, index, "right")) - 1
        return self.sources[part][index - int(self._starts[part])]

    def reader(self) -> Reader | None:
        """Return how each source reads its share, if all of them read many at once."""
        readers = [r for r in map(reader_of, self.sources) if r is not None]
        if len(readers) < len(self.sources):
            return None

        def read(numbers: Array) -> Batch:
            parts = np.searchsorted(self._starts, numbers, "right") - 1
            batch: Batch = {}
            for part in np.unique(parts):
                rows = np.flatnonzero(parts == part)
                read = readers[part](numbers[rows] - self._starts[part])
                if not batch:
                    first = int(numbers[rows[0]])
                    batch = {
                        k: np.empty((len(numbers), *a.shape[1:]), a.dtype) for k, a in read.items()
                    }
                sample = {name: array[0] for name, array in read.items()}
                check_alike(batch, sample, int(numbers[rows[0]]), first)
                for name, array in read.items():
                    batch[name][rows] = array
            return batch

        return read


class Mapped:
    """The samples of a dataset, each changed by a function when it is read.

    >>> import numpy as np
    >>> data = Mapped(ArrayDataset(x=np.arange(3)), lambda sample: {"y": sample["x"] * 2})
    >>> data[2]["y"].item()
    4
    """

    def __init__(self, source: Dataset, function: Callable[[Sample], Sample]) -> None:
        self.source = source
        self.function = function

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.source)

    def __getitem__(self, index: int, /) -> Sample:
        """Return the changed sample."""
        return self.function(self.source[index])


def as_indices(indices: Sequence[int] | Array, count: int, who: str) -> Array:
    """Return numbers of samples as int64.

    Raises:
        DataError: they are no whole numbers, or outside the dataset.
    """
    array = np.asarray(indices)
    if array.ndim != 1 or (array.dtype.kind not in "iu" and array.size):
        raise DataError(f"{who} needs a list of whole numbers, found {array.dtype} {array.shape}")
    wrong = array[(array < 0) | (array >= count)]
    if wrong.size:
        raise DataError(f"{who} asks for sample {wrong[0]} of a dataset with {count} samples")
    return array.astype(np.int64)


def stacked(dataset: Dataset, numbers: Array) -> Batch:
    """Return the samples of some numbers, read one by one and stacked along axis 0.

    Raises:
        DataError: a sample cannot be read, or is unlike the first; the message has its number.
    """
    batch: Batch = {}
    for row, number in enumerate(numbers.tolist()):
        sample = _read(dataset, number)
        if row == 0:
            batch = {k: np.empty((len(numbers), *a.shape), a.dtype) for k, a in sample.items()}
        check_alike(batch, sample, number, int(numbers[0]))
        for name, array in sample.items():
            batch[name][row] = array
    return batch


def _read(dataset: Dataset, number: int) -> Sample:
    try:
        sample = dataset[number]
        return {name: _numbers(name, array) for name, array in sample.items()}
    except Exception as error:
        raise DataError(
            f"sample {number} cannot be read: {type(error).__name__}: {error}"
        ) from error


def _numbers(name: str, value: object) -> Array:
    array = np.asarray(value)
    if array.dtype.kind in "OSU":
        raise DataError(f"field '{name}' holds {array.dtype}, expected numbers")
    return array


def check_alike(batch: Batch, sample: Sample, number: int, first: int) -> None:
    """Raise unless a sample has the fields, shapes and types of the batch that ``first`` began."""
    if batch.keys() != sample.keys():
        raise DataError(
            f"sample {number} has the fields {sorted(sample)}, sample {first} {sorted(batch)}"
        )
    for name, array in sample.items():
        expected = batch[name]
        if array.shape != expected.shape[1:] or array.dtype != expected.dtype:
            raise DataError(
                f"sample {number}: field '{name}' is {array.dtype} {list(array.shape)}, in sample "
                f"{first} {expected.dtype} {list(expected.shape[1:])}; samples of a batch must "
                "be alike: resize or crop them, for example with Mapped"
            )


__all__ = [
    "ArrayDataset",
    "Batch",
    "Concatenation",
    "Dataset",
    "Mapped",
    "Reader",
    "Sample",
    "Subset",
    "as_indices",
    "reader_of",
    "stacked",
]
