# SPDX-License-Identifier: MIT
"""The loop over epochs and batches, from wherever a run stands to its end."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from ..ir import Array
from .batches import Batches
from .callbacks import Callback, Callbacks
from .figures import VALIDATION
from .history import History
from .kpis import Kpis
from .schedules import ReduceOnPlateau
from .scores import Scores
from .snapshot import save, under

if TYPE_CHECKING:
    from .trainer import Trainer

AVERAGE = "average/"
"""How the names of running means begin among the parameters that callbacks see."""


class Fitting:
    """A call of :meth:`~ranvier.training.Trainer.fit`: the run as callbacks see it.

    Args:
        trainer: what learns; its position moves on.
        data: batches of training.
        epochs: after how many the run ends.
        validation: scored after every epoch.
        callbacks: called around steps and epochs.
    """

    def __init__(
        self,
        trainer: Trainer,
        data: Batches,
        epochs: int,
        validation: Batches | None,
        callbacks: Sequence[Callback],
    ) -> None:
        if epochs < 0:
            raise InputError(f"fit: epochs={epochs} must be at least 0")
        self.trainer = trainer
        self.data = data
        self.epochs = epochs
        self.validation = validation
        self.callbacks = Callbacks(callbacks)
        self.stopped = trainer.stopped = ""
        self._epoch = trainer.position.epoch
        self._scores = Scores({}, trainer.model)

    # The run, for callbacks

    @property
    def step(self) -> int:
        """Updates done so far, those before a resume included."""
        return self.trainer.position.step

    @property
    def epoch(self) -> int:
        """Number of the epoch under way, from 0."""
        return self._epoch

    @property
    def steps_per_epoch(self) -> int:
        """Updates of a whole epoch."""
        return -(-len(self.data) // self.trainer.options.accumulate)

    @property
    def total_steps(self) -> int:
        """Updates after which the run ends unless it is stopped."""
        return self.epochs * self.steps_per_epoch

    @property
    def history(self) -> History:
        """Figures so far."""
        return self.trainer.history

    @property
    def learning_rate(self) -> float:
        """The rate of the next update."""
        return self.trainer.learning_rate

    def stop(self, reason: str) -> None:
        """End the run after this step, or after this epoch when called at its end."""
        self.stopped = self.trainer.stopped = reason or "stopped"

    def save(self, path: Path) -> None:
        """Write a checkpoint from which the run goes on bit for bit."""
        running = {f"callbacks/{k}": a for k, a in self.callbacks.state().items()}
        if self.trainer.position.batch:
            running.update((f"scores/{k}", a) for k, a in self._scores.state().items())
        save(self.trainer, path, running)

    def parameters(self) -> Mapping[str, Array]:
        """Return parameters and statistics by name, and running means where they are kept."""
        means = {AVERAGE + k: a for k, a in self.trainer.updater.averages.items()}
        return {**self.trainer.parameters(), **means}

    def set_parameters(self, values: Mapping[str, Array]) -> None:
        """Replace parameters, statistics and running means."""
        means = {AVERAGE + k: a for k, a in self.trainer.updater.averages.items()}
        self.trainer.set_parameters({k: a for k, a in values.items() if k not in means})
        for name in values.keys() & means.keys():  # after parameters, which set their means, too
            np.copyto(means[name], values[name])

    # The loop

    def run(self, kpis: Kpis) -> None:
        """Go from the trainer's position to the last epoch, or to where the run is stopped."""
        position = self.trainer.position
        try:
            self.callbacks.on_train_begin(self)
            self._take_up()
            while position.epoch < self.epochs and not self.stopped:
                with kpis.training():
                    self._run_epoch(kpis)
            self.callbacks.on_train_end(self)
        finally:
            self.callbacks.close()

    def _take_up(self) -> None:
        """Give callbacks and sums what a checkpoint held of them."""
        pending, self.trainer.pending = self.trainer.pending, {}
        if pending or self.step:  # else there is nothing to take up
            self.callbacks.load(under(pending, "callbacks/"))
        if sums := under(pending, "scores/"):
            self._scores.load(sums)

    def _run_epoch(self, kpis: Kpis) -> None:
        position = self.trainer.position
        self._epoch = position.epoch
        begun = time.perf_counter()
        if not position.batch:
            self._scores = Scores({}, self.trainer.model)
            self.callbacks.on_epoch_begin(self, self._epoch)
        count, samples, seconds = len(self.data), 0, 0.0
        for fields in kpis.waiting(self.data.epoch(self._epoch, position.batch)):
            started = time.perf_counter()
            # The last batch of an epoch does not wait for others to be accumulated.
            last = position.batch + 1 == count
            figures = self.trainer.learn(fields, self._scores, now=last)
            kpis.add_samples(_samples(fields))
            samples += _samples(fields)
            seconds += time.perf_counter() - started
            if figures is not None:
                self._end_step({**figures, "samples": samples, "seconds": seconds})
                samples, seconds = 0, 0.0
            if self.stopped:
                return
        figures = {**self._scores.figures(), "learning_rate": self.learning_rate}
        if self.validation is not None:
            figures.update(self.trainer.evaluate(self.validation, prefix=VALIDATION))
        figures["seconds"] = time.perf_counter() - begun
        self._end_epoch(figures)

    def _end_step(self, figures: Mapping[str, float]) -> None:
        self.history.add_step(self.step, self._epoch, figures)
        self.callbacks.on_step_end(self, self.step, figures)

    def _end_epoch(self, figures: dict[str, float]) -> None:
        position = self.trainer.position
        position.epoch, position.batch = self._epoch + 1, 0
        if isinstance(self.trainer.schedule, ReduceOnPlateau):
            watched = figures.get(f"{VALIDATION}loss", figures["loss"])
            self.trainer.schedule.update(watched)
        self.history.add_epoch(self.step, self._epoch, figures)
        self.callbacks.on_epoch_end(self, self._epoch, figures)


def _samples(fields: Mapping[str, Array]) -> int:
    return len(next(iter(fields.values())))


__all__ = ["Fitting"]
