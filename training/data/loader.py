# SPDX-License-Identifier: MIT
"""Batches of an epoch: the same for any number of ranks and threads, made ahead of their use."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import KW_ONLY, dataclass, field

import numpy as np

from ...errors import DataError
from ...ir import Array
from .dataset import Batch, Dataset, as_indices, reader_of, stacked
from .order import Sampler, Sequential, Shuffled, repetitions, sample_keys

RESERVED = ("index", "key")


@dataclass(eq=False)
class DataLoader:
    """Yields the batches of an epoch.

    Batch ``k`` of an epoch holds the samples ``order[k * batch_size : (k + 1) * batch_size]``,
    where the order is a function of the sampler, the seed and the epoch. It is the same set on
    any number of ranks: of its ``m`` samples rank ``r`` gets those from ``m * r // world_size``
    to before ``m * (r + 1) // world_size``. All ranks have equally many batches; with a last
    batch smaller than the number of ranks, some get one of no samples.

    A batch has the fields of the samples, stacked along axis 0, ``index`` (int64 (N,), the
    numbers of the samples) and ``key`` (uint32 (N, 4), see
    :func:`~ranvier.training.data.order.sample_keys`).

    With threads, whole batches are made ahead, each by one thread, and come in order; a loop
    that ends early, or whose iterator is closed, waits for those that are being made alone.

    Attributes:
        dataset: where samples come from.
        batch_size: samples of a step on all ranks together.
        shuffle: whether the order is a new one in each epoch.
        seed: of the order and of the keys.
        drop_last: whether samples that do not fill a batch are left out.
        threads: that read samples; with 0 they are read when they are asked for.
        prefetch: batches made ahead at most; twice the number of threads if it is left out.
        rank: number of this process.
        world_size: number of processes.
        sampler: says which samples an epoch takes, instead of ``shuffle``.
        seconds: how long the consumer has waited for data, in all epochs so far.
        work_seconds: how long threads have read and stacked samples, added up over threads.

    Raises:
        DataError: there are no samples, sizes do not fit together, or a sampler names samples
            that do not exist.

    >>> import numpy as np
    >>> from ranvier.training.data import ArrayDataset, DataLoader
    >>> loader = DataLoader(ArrayDataset(x=np.arange(5)), 2)
    >>> [batch["x"].tolist() for batch in loader.epoch(0)]
    [[0, 1], [2, 3], [4]]
    >>> [batch["x"].tolist() for batch in loader.epoch(0, start_step=2)]
    [[4]]
    """

    dataset: Dataset
    batch_size: int
    _: KW_ONLY
    shuffle: bool = False
    seed: int = 0
    drop_last: bool = False
    threads: int = 0
    prefetch: int | None = None
    rank: int = 0
    world_size: int = 1
    sampler: Sampler | None = None
    seconds: float = field(default=0.0, init=False)
    work_seconds: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._reader = reader_of(self.dataset)
        if self.sampler is not None and self.shuffle:
            raise DataError("shuffle=True and a sampler both say the order; give one of them")
        count = len(self.dataset)
        order = (Shuffled if self.shuffle else Sequential)(count)
        self._order: Sampler = order if self.sampler is None else self.sampler
        self._check_sizes(count)
        self._ahead = 2 * self.threads if self.prefetch is None else self.prefetch
        if self.threads and self._ahead < self.threads:
            raise DataError(
                f"prefetch={self._ahead} batches keep only as many of threads={self.threads} busy"
            )

    def _check_sizes(self, count: int) -> None:
        if not 0 < count <= 2**32:
            raise DataError(f"expected 1 to 2**32 samples, found {count}")
        if self.batch_size < 1 or self.threads < 0:
            raise DataError(f"batch_size={self.batch_size} or threads={self.threads} is too small")
        if not 0 <= self.rank < self.world_size:
            raise DataError(f"rank={self.rank} must be below world_size={self.world_size}")
        if self.batch_size % self.world_size:
            raise DataError(
                f"batch_size={self.batch_size} counts the samples of all ranks and must be a "
                f"multiple of world_size={self.world_size}"
            )
        if not len(self):
            raise DataError(
                f"{len(self._order)} samples do not fill a batch of {self.batch_size}; "
                "take a smaller batch or drop_last=False"
            )

    def __len__(self) -> int:
        """Return the number of batches of an epoch."""
        whole, rest = divmod(len(self._order), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    @property
    def sample_count(self) -> int:
        """Samples that an epoch takes on all ranks together."""
        return min(len(self._order), len(self) * self.batch_size)

    def epoch(self, number: int, start_step: int = 0) -> Generator[Batch, None, None]:
        """Return the batches of an epoch.

        Args:
            number: of the epoch, from 0 on.
            start_step: batches to leave out, of an epoch that is resumed.

        Raises:
            DataError: there is no such step; later, a sample cannot be read.
        """
        if not 0 <= number < 2**32 or not 0 <= start_step <= len(self):
            raise DataError(
                f"epoch {number} from step {start_step} on: an epoch has {len(self)} steps"
            )
        plan = _Plan(self, number)
        steps = range(start_step, len(self))
        return self._timed(self._batches(plan.batch, steps), number)

    def _timed(
        self, batches: Generator[Batch, None, None], epoch: int
    ) -> Generator[Batch, None, None]:
        try:
            while True:
                begin = time.perf_counter()
                batch = next(batches, None)
                self.seconds += time.perf_counter() - begin
                if batch is None:
                    return
                yield batch
        except DataError as error:
            raise DataError(f"epoch {epoch}: {error}") from error.__cause__
        finally:
            batches.close()

    def _batches(self, make: Callable[[int], Batch], steps: range) -> Generator[Batch, None, None]:
        if not self.threads:
            yield from map(make, steps)
            return
        waiting: deque[Future[Batch]] = deque()
        pool = ThreadPoolExecutor(self.threads, "loader")
        try:
            for step in steps:
                waiting.append(pool.submit(make, step))
                if len(waiting) >= self._ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def read(self, indices: Array) -> Batch:
        """Return samples stacked along axis 0, without ``index`` and ``key``.

        Raises:
            DataError: a sample cannot be read, or has a field of a reserved name.
        """
        begin = time.perf_counter()
        # A batch of no samples has the shapes of one that has some.
        numbers = indices if len(indices) else np.zeros(1, np.int64)
        read = self._reader or (lambda numbers: stacked(self.dataset, numbers))
        batch = read(numbers)
        for name in RESERVED:
            if name in batch:
                raise DataError(f"samples have a field '{name}', which the loader adds; rename it")
        if not len(indices):
            batch = {name: array[:0] for name, array in batch.items()}
        with self._lock:
            self.work_seconds += time.perf_counter() - begin
        return batch


class _Plan:
    """What one epoch takes, in order."""

    def __init__(self, loader: DataLoader, epoch: int) -> None:
        self._loader = loader
        self._epoch = epoch
        order = loader._order.order(loader.seed, epoch)
        self._order = as_indices(order, len(loader.dataset), "the sampler")
        self._repeats = repetitions(self._order)

    def batch(self, step: int) -> Batch:
        """Return this rank's part of a batch."""
        loader = self._loader
        start = step * loader.batch_size
        count = min(loader.batch_size, len(self._order) - start)
        low, high = (start + count * r // loader.world_size for r in (loader.rank, loader.rank + 1))
        indices = self._order[low:high]
        keys = sample_keys(loader.seed, self._epoch, indices, self._repeats[low:high])
        return {**loader.read(indices), "index": indices, "key": keys}


__all__ = ["DataLoader"]
