# SPDX-License-Identifier: MIT
"""Key figures of a training run as a whole: times, samples a second, memory, energy."""

from __future__ import annotations

import resource
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, final

from ..errors import TrainingError
from .energy import Energy

T = TypeVar("T")

_STATUS = Path("/proc/self/status")
_SAMPLE_EVERY = 30.0


@dataclass(frozen=True)
class KeyFigures:
    """What ``Kpis`` measured; what could not be is ``None``, and ``missing`` says why.

    Attributes:
        totm: time of training models: seconds inside ``Kpis.training``.
        toppi: time of preprocessing images: seconds for which the run waited for data.
        ttmip: time to model in production: seconds from the beginning to ``Kpis.exported``.
        seconds: from the beginning to the end.
        cpu_seconds: processor time of all threads of this process.
        samples: trained on, repeated ones each time.
        samples_per_second: ``samples / totm``.
        peak_memory: resident bytes of this process at its peak, from the process's start.
        energy: joules by counter.
        missing: by figure or counter, why it is not there.

    References:
        DeepHealth, evaluation criteria: totm, toppi and ttmip.
    """

    totm: float
    toppi: float
    ttmip: float | None
    seconds: float
    cpu_seconds: float
    samples: int
    samples_per_second: float | None
    peak_memory: int | None
    energy: dict[str, float] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON types."""
        return dict(vars(self))


@final
class Kpis:
    """Measures a run, from the first file that is read to the model that can be used.

    >>> with Kpis() as kpis:
    ...     with kpis.preprocessing():
    ...         batches = [[1, 2], [3, 4]]
    ...     with kpis.training():
    ...         for batch in kpis.waiting(batches):
    ...             kpis.add_samples(len(batch))
    ...     kpis.exported()
    >>> figures = kpis.result()
    >>> figures.samples, 0 < figures.totm < figures.ttmip < figures.seconds
    (4, True)

    Args:
        energy: the counters; all that this machine has by default.
        clock: seconds.
    """

    def __init__(
        self, energy: Energy | None = None, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._given = energy
        self._clock = clock
        self._spent = {"training": 0.0, "preprocessing": 0.0}
        self._samples = 0
        self._exported: float | None = None
        self._result: KeyFigures | None = None
        self._stop = threading.Event()

    def __enter__(self) -> Kpis:
        self._energy = self._given or Energy.of_this_machine()
        self._cpu = time.process_time()
        self._begin = self._clock()
        # Counters of energy wrap around, so somebody must look at them now and then.
        self._sampler = threading.Thread(target=self._keep_sampling, daemon=True, name="kpis")
        self._sampler.start()
        return self

    def __exit__(self, *error: object) -> None:
        end, cpu = self._clock(), time.process_time()
        self._stop.set()
        self._sampler.join()
        self._energy.sample()
        self._result = self._figures(end - self._begin, cpu - self._cpu)

    @contextmanager
    def training(self) -> Iterator[None]:
        """Count the time of the block as training (`totm`), what it waits for data included."""
        with self._counted("training"):
            yield

    @contextmanager
    def preprocessing(self) -> Iterator[None]:
        """Count the time of the block as preprocessing (`toppi`); for the run's own thread."""
        with self._counted("preprocessing"):
            yield

    def waiting(self, batches: Iterable[T]) -> Iterator[T]:
        """Yield batches and count the time until each is there as preprocessing (`toppi`)."""
        iterator = iter(batches)
        while True:
            with self._counted("preprocessing"):
                try:
                    batch = next(iterator)
                except StopIteration:
                    return
            yield batch

    def add_samples(self, count: int) -> None:
        """Count samples that have been trained on."""
        self._samples += count

    def exported(self) -> None:
        """Note that the model is there as a file that can be loaded; the last call counts."""
        self._exported = self._clock() - self._begin

    def result(self) -> KeyFigures:
        """Return the figures.

        Raises:
            TrainingError: the block has not ended.
        """
        if self._result is None:
            raise TrainingError("key figures are there when the block `with Kpis()` has ended")
        return self._result

    @contextmanager
    def _counted(self, what: str) -> Iterator[None]:
        begin = self._clock()
        try:
            yield
        finally:
            self._spent[what] += self._clock() - begin

    def _keep_sampling(self) -> None:
        while not self._stop.wait(_SAMPLE_EVERY):
            self._energy.sample()

    def _figures(self, seconds: float, cpu_seconds: float) -> KeyFigures:
        missing = dict(self._energy.missing)
        if self._exported is None:
            missing["ttmip"] = "no model was exported"
        totm = self._spent["training"]
        rate = self._samples / totm if self._samples and totm > 0 else None
        if rate is None:
            missing["samples_per_second"] = "nothing was trained on"
        peak = peak_memory()
        if peak is None:
            missing["peak_memory"] = "this system does not tell"
        return KeyFigures(
            totm=totm,
            toppi=self._spent["preprocessing"],
            ttmip=self._exported,
            seconds=seconds,
            cpu_seconds=cpu_seconds,
            samples=self._samples,
            samples_per_second=rate,
            peak_memory=peak,
            energy=dict(self._energy.joules),
            missing=missing,
        )


def peak_memory(status: Path = _STATUS) -> int | None:
    """Return the most bytes that this process has had in memory; ``None`` where nobody tells.

    From ``VmHWM`` where there is ``/proc``: what ``getrusage`` reports includes the memory of the
    process that started this one.
    """
    try:
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    # Kilobytes on Linux, bytes on macOS.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit or None
