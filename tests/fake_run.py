# SPDX-License-Identifier: MIT
"""A run without a model: its one parameter counts steps, its figures are given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ranvier.runtime.dtypes import Array
from ranvier.training.callbacks import Callback, Callbacks
from ranvier.training.checkpoint import Checkpoint, write_checkpoint
from ranvier.training.figures import Figures
from ranvier.training.history import History


class FakeRun:
    """Calls callbacks as the trainer does; ``epochs`` are the figures of every epoch."""

    def __init__(self, epochs: Sequence[Figures], steps_per_epoch: int = 4) -> None:
        self._epochs = epochs
        self.steps_per_epoch = steps_per_epoch
        self.total_steps = steps_per_epoch * len(epochs)
        self.step = 0
        self.epoch = 0
        self.history = History()
        self.learning_rate = 0.1
        self.reason = ""
        self.weight = np.zeros(3, np.float32)
        self.callbacks = Callbacks()

    def stop(self, reason: str) -> None:
        """Note why."""
        self.reason = reason

    def save(self, path: Path) -> None:
        """Write all that there is."""
        state = {f"callbacks/{name}": array for name, array in self.callbacks.state().items()}
        meta = {"step": self.step, "epoch": self.epoch, "history": self.history.to_json()}
        write_checkpoint(path, {"parameters/weight": self.weight, **state}, meta)

    def parameters(self) -> dict[str, Array]:
        """Return the one parameter, not a copy."""
        return {"weight": self.weight}

    def set_parameters(self, values: Mapping[str, Array]) -> None:
        """Set the one parameter."""
        self.weight[:] = values["weight"]

    def fit(self, callbacks: Sequence[Callback], resume: Checkpoint | None = None) -> FakeRun:
        """Run to the end, or until stopped; with ``resume`` from the epoch it was saved after."""
        self.callbacks = Callbacks(callbacks)
        begin = 0
        if resume is not None:
            self.history = History.from_json(resume.meta["history"])
            self.step, begin = resume.meta["step"], len(self.history.epochs)
            self.weight[:] = resume.arrays["parameters/weight"]
        try:
            self.callbacks.on_train_begin(self)
            if resume is not None:
                own = {n: a for n, a in resume.arrays.items() if n.startswith("callbacks/")}
                self.callbacks.load({n.removeprefix("callbacks/"): a for n, a in own.items()})
            for epoch in range(begin, len(self._epochs)):
                self._one_epoch(epoch)
                if self.reason:
                    break
            self.callbacks.on_train_end(self)
        finally:
            self.callbacks.close()
        return self

    def _one_epoch(self, epoch: int) -> None:
        self.epoch = epoch
        self.callbacks.on_epoch_begin(self, epoch)
        for _ in range(self.steps_per_epoch):
            self.step += 1
            self.weight += 1
            figures = {"loss": 1.0 / self.step, "seconds": 0.01, "samples": 8.0}
            self.history.add_step(self.step, epoch, figures)
            self.callbacks.on_step_end(self, self.step, figures)
        self.history.add_epoch(self.step, epoch, self._epochs[epoch])
        self.callbacks.on_epoch_end(self, epoch, self._epochs[epoch])
