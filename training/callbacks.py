# SPDX-License-Identifier: MIT
"""What happens around the steps of a run: hooks, stopping early, keeping checkpoints."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np

from ..errors import TrainingError
from ..runtime.dtypes import Array
from .checkpoint import checkpoint_path, claim_folder, prune
from .figures import Figures, Mode, check_count, check_mode, figure, improves
from .history import History

_log = logging.getLogger(__name__)


class Run(Protocol):
    """The run as callbacks see it."""

    @property
    def step(self) -> int:
        """Updates done so far, those before a resume included."""

    @property
    def epoch(self) -> int:
        """Number of the epoch under way, from 0."""

    @property
    def total_steps(self) -> int:
        """Updates after which the run ends unless it is stopped."""

    @property
    def steps_per_epoch(self) -> int:
        """Updates of a whole epoch."""

    @property
    def history(self) -> History:
        """Figures so far; those of the step or epoch that ends are in it."""

    @property
    def learning_rate(self) -> float:
        """The rate of the next update."""

    def stop(self, reason: str) -> None:
        """End the run after this step, or after this epoch when called at its end."""

    def save(self, path: Path) -> None:
        """Write a checkpoint from which the run goes on bit for bit."""

    def parameters(self) -> Mapping[str, Array]:
        """Return parameters, running statistics and running means; whoever keeps them copies."""

    def set_parameters(self, values: Mapping[str, Array]) -> None:
        """Replace them by what ``parameters`` returned."""


class Callback:
    """Hooks that do nothing; a callback overrides those it needs.

    Steps and epochs are called ``on_epoch_begin``, ``on_step_end`` ..., ``on_epoch_end``.
    ``on_train_end`` follows a run that came to its end, stopped early or not; ``close`` follows
    every run, an interrupted one too. What a callback must know after a resume it gives away by
    ``state``: it is kept in checkpoints, and ``load`` gets it back after ``on_train_begin``.
    """

    comes_last: ClassVar[bool] = False
    """Whether it sees a step or an epoch after all others, as what saves the run must."""

    def on_train_begin(self, run: Run) -> None:
        """Begin, or go on after a resume."""

    def on_epoch_begin(self, run: Run, epoch: int) -> None:
        """Begin an epoch."""

    def on_step_end(self, run: Run, step: int, figures: Figures) -> None:
        """End a step: ``step`` updates are done, ``figures`` are of this one."""

    def on_epoch_end(self, run: Run, epoch: int, figures: Figures) -> None:
        """End an epoch; ``figures`` has those of validation too, called ``val_`` and more."""

    def on_train_end(self, run: Run) -> None:
        """End a run that came to its end."""

    def close(self) -> None:
        """Let go of files and of the terminal; called once after every run, whatever happened."""

    def state(self) -> dict[str, Array]:
        """Return what a resumed run needs, as arrays by name."""
        return {}

    def load(self, state: Mapping[str, Array]) -> None:
        """Take up what ``state`` returned when the checkpoint was written."""


class Callbacks(Callback):
    """Several callbacks as one: hooks in order, ends in the reverse order.

    >>> Callbacks([Checkpoints("runs"), EarlyStopping()])
    Callbacks(EarlyStopping, Checkpoints)
    """

    def __init__(self, callbacks: Sequence[Callback] = ()) -> None:
        self.members = sorted(callbacks, key=lambda callback: callback.comes_last)

    def __repr__(self) -> str:
        return f"Callbacks({', '.join(type(member).__name__ for member in self.members)})"

    def on_train_begin(self, run: Run) -> None:
        """Begin with the first."""
        for member in self.members:
            member.on_train_begin(run)

    def on_epoch_begin(self, run: Run, epoch: int) -> None:
        """Begin with the first."""
        for member in self.members:
            member.on_epoch_begin(run, epoch)

    def on_step_end(self, run: Run, step: int, figures: Figures) -> None:
        """Begin with the first."""
        for member in self.members:
            member.on_step_end(run, step, figures)

    def on_epoch_end(self, run: Run, epoch: int, figures: Figures) -> None:
        """Begin with the first."""
        for member in self.members:
            member.on_epoch_end(run, epoch, figures)

    def on_train_end(self, run: Run) -> None:
        """Begin with the last: a checkpoint is written before others change parameters."""
        for member in reversed(self.members):
            member.on_train_end(run)

    def close(self) -> None:
        """Close all, even where one fails; the first error is raised at the end."""
        errors: list[Exception] = []
        for member in reversed(self.members):
            try:
                member.close()
            except Exception as error:  # noqa: BLE001 - raised below, when all are closed
                errors.append(error)
        if errors:
            raise errors[0]

    def state(self) -> dict[str, Array]:
        """Return the states of all, named after their classes."""
        return {
            f"{prefix}{name}": array
            for prefix, member in self._prefixed()
            for name, array in member.state().items()
        }

    def load(self, state: Mapping[str, Array]) -> None:
        """Give each its own state.

        One that the checkpoint knows nothing of begins anew, and what it knows of others is not
        used; both are warnings in the log.
        """
        rest = dict(state)
        for prefix, member in self._prefixed():
            own = {name: rest.pop(name) for name in state if name.startswith(prefix)}
            if own:
                member.load({name.removeprefix(prefix): array for name, array in own.items()})
            else:
                _log.warning("%s begins anew: not in the checkpoint", prefix.rstrip("/"))
        for name in dict.fromkeys(name.partition("/")[0] for name in rest):
            _log.warning("%s is in the checkpoint, but not in this run", name)

    def _prefixed(self) -> list[tuple[str, Callback]]:
        # Counted per class, so that one callback more or less moves no other one's state.
        stateful = [m for m in self.members if type(m).state is not Callback.state]
        classes = [type(m).__name__ for m in stateful]
        return [
            (f"{name}.{classes[:place].count(name)}/", member)
            for place, (name, member) in enumerate(zip(classes, stateful, strict=True))
        ]


class EarlyStopping(Callback):
    """Stops when a figure of the epochs has not improved for a while.

    An epoch improves when its figure is better than the best so far by more than ``min_delta``;
    NaN never is. The run stops after ``patience`` epochs in a row that do not.

    Args:
        monitor: name of a figure, such as ``val_loss``.
        mode: whether less (``min``) or more (``max``) of it is better.
        patience: epochs without improvement after which to stop.
        min_delta: by how much it must be better to count.
        restore_best: at the end of the run, stopped early or not, put back the parameters of
            the best epoch. They are held in memory, and in every checkpoint.

    Raises:
        TrainingError: an argument makes no sense, or no figure has this name.

    References:
        Prechelt, Early stopping - but when?, Neural Networks: Tricks of the Trade, 1998.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        mode: Mode = "min",
        patience: int = 10,
        min_delta: float = 0.0,
        restore_best: bool = False,
    ) -> None:
        check_mode(mode, "EarlyStopping")
        check_count(patience, "patience", "EarlyStopping")
        if not (math.isfinite(min_delta) and min_delta >= 0):
            raise TrainingError(f"EarlyStopping: min_delta={min_delta!r}, expected 0 or more")
        self.monitor = monitor
        self.mode: Mode = mode
        self.patience = patience
        self.min_delta = min_delta
        self.restore_best = restore_best
        self._forget()

    def _forget(self) -> None:
        self.best: float | None = None
        self.best_epoch = -1
        self.waited = 0
        self._kept: dict[str, Array] = {}

    def on_train_begin(self, run: Run) -> None:
        """Start counting anew."""
        self._forget()

    def on_epoch_end(self, run: Run, epoch: int, figures: Figures) -> None:
        """Compare with the best epoch, and stop if it is too long ago."""
        value = figure(figures, self.monitor, "EarlyStopping")
        if improves(value, self.best, self.mode, self.min_delta):
            self.best, self.best_epoch, self.waited = value, epoch, 0
            if self.restore_best:
                self._kept = {name: array.copy() for name, array in run.parameters().items()}
            return
        self.waited += 1
        if self.waited >= self.patience:
            best = "none" if self.best is None else f"{self.best:.6g} of epoch {self.best_epoch}"
            run.stop(f"{self.monitor} has not improved for {self.waited} epochs; best: {best}")

    def on_train_end(self, run: Run) -> None:
        """Put back the best parameters, if asked to."""
        if self._kept:
            run.set_parameters(self._kept)

    def state(self) -> dict[str, Array]:
        """Return the best figure, its epoch, the epochs since and the parameters kept."""
        best = math.nan if self.best is None else self.best
        counts = np.array([self.best_epoch, self.waited], np.int64)
        kept = {f"parameters/{name}": array for name, array in self._kept.items()}
        return {"best": np.array(best, np.float64), "counts": counts, **kept}

    def load(self, state: Mapping[str, Array]) -> None:
        """Go on counting."""
        best = float(part(state, "best", "EarlyStopping"))
        self.best = None if math.isnan(best) else best
        self.best_epoch, self.waited = map(int, part(state, "counts", "EarlyStopping"))
        if self.restore_best:
            prefix = "parameters/"
            self._kept = {
                n.removeprefix(prefix): a.copy() for n, a in state.items() if n.startswith(prefix)
            }


class Checkpoints(Callback):
    """Writes checkpoints into a folder and keeps the last ones and the best one.

    A file is there whole or not at all, and older ones are removed only when a newer one is
    safe on the disk: a run that is killed at any moment leaves its last checkpoint.

    Args:
        folder: where to; made if it is not there. One run, one folder: what is in it of later
            steps than the run has done is of another run, which is an error.
        every_steps: write after so many steps; never within epochs by default.
        every_epochs: write at the end of every so many epochs; ``None`` for never.
        keep: how many of the last to keep.
        monitor: also write and keep the epoch with the best of this figure.
        mode: whether less (``min``) or more (``max``) of it is better.

    Raises:
        TrainingError: an argument makes no sense, or no figure is called ``monitor``.
        CheckpointError: the folder has checkpoints of later steps.
    """

    comes_last = True

    def __init__(
        self,
        folder: str | Path,
        every_steps: int | None = None,
        every_epochs: int | None = 1,
        keep: int = 3,
        monitor: str | None = None,
        mode: Mode = "min",
    ) -> None:
        check_mode(mode, "Checkpoints")
        counts = {"every_steps": every_steps, "every_epochs": every_epochs, "keep": keep}
        for name, count in counts.items():
            if count is not None:
                check_count(count, name, "Checkpoints")
        self.folder = Path(folder)
        self.every_steps = every_steps
        self.every_epochs = every_epochs
        self.keep = keep
        self.monitor = monitor
        self.mode: Mode = mode
        self._forget()

    def _forget(self) -> None:
        self.best: float | None = None
        self.best_step = -1
        self._saved = -1

    @property
    def best_path(self) -> Path | None:
        """File of the best epoch; ``None`` before there is one."""
        return checkpoint_path(self.folder, self.best_step) if self.best_step >= 0 else None

    def on_train_begin(self, run: Run) -> None:
        """Make the folder, or check that what is in it is of the run's past."""
        self._forget()
        claim_folder(self.folder, run.step)

    def on_step_end(self, run: Run, step: int, figures: Figures) -> None:
        """Write if it is time to."""
        if self.every_steps is not None and step % self.every_steps == 0:
            self._save(run, step)

    def on_epoch_end(self, run: Run, epoch: int, figures: Figures) -> None:
        """Write if it is time to, or if this is the best epoch."""
        due = self.every_epochs is not None and (epoch + 1) % self.every_epochs == 0
        if self.monitor is not None:
            value = figure(figures, self.monitor, "Checkpoints")
            if improves(value, self.best, self.mode):
                self.best, self.best_step, due = value, run.step, True
        if due:
            self._save(run, run.step)

    def on_train_end(self, run: Run) -> None:
        """Write the last state if that has not just been done."""
        if self._saved != run.step:
            self._save(run, run.step)

    def state(self) -> dict[str, Array]:
        """Return the best figure and its step."""
        best = math.nan if self.best is None else self.best
        return {"best": np.array(best, np.float64), "step": np.array(self.best_step, np.int64)}

    def load(self, state: Mapping[str, Array]) -> None:
        """Go on comparing with the best so far."""
        best = float(part(state, "best", "Checkpoints"))
        self.best = None if math.isnan(best) else best
        self.best_step = int(part(state, "step", "Checkpoints"))

    def _save(self, run: Run, step: int) -> None:
        run.save(checkpoint_path(self.folder, step))
        self._saved = step
        prune(self.folder, self.keep, protect=() if self.best_step < 0 else (self.best_step,))


class OnEpochEnd(Callback):
    """Calls a function at the end of every epoch.

    >>> OnEpochEnd(lambda run, epoch, figures: print(epoch, figures["loss"])).on_epoch_end(
    ...     None, 3, {"loss": 0.5}
    ... )
    3 0.5
    """

    def __init__(self, function: Callable[[Run, int, Figures], None]) -> None:
        self._function = function

    def on_epoch_end(self, run: Run, epoch: int, figures: Figures) -> None:
        """Call the function."""
        self._function(run, epoch, figures)


def part(state: Mapping[str, Array], name: str, who: str) -> Array:
    """Return an entry of a callback's state.

    Raises:
        TrainingError: it is not there.
    """
    if name not in state:
        raise TrainingError(
            f"the checkpoint has no {name!r} of {who}; resume with the callbacks that the run "
            f"began with"
        )
    return state[name]
