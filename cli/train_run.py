# SPDX-License-Identifier: MIT
"""The run of ``ranvier train``: its folder, interruptions, lines about epochs, its report."""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from ..errors import CheckpointError, InputError
from ..runtime.atomic import atomic_file
from ..training.callbacks import Callback, Checkpoints, EarlyStopping, Run
from ..training.checkpoint import latest, steps_in
from ..training.figures import VALIDATION, Figures

if TYPE_CHECKING:
    from ..training.kpis import KeyFigures
    from ..training.trainer import Trainer
    from .train_setup import Prepared

_SETTINGS = "settings.json"


@dataclass(frozen=True)
class Folder:
    """A folder of one run: ``checkpoints/``, logs, ``report.html``.

    Attributes:
        path: of the folder.
    """

    path: Path

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.path / "checkpoints"

    def newest(self) -> Path | None:
        """Return the newest checkpoint by name."""
        return max((path for _, path in steps_in(self.checkpoints)), default=None)

    def check_new(self) -> None:
        """Raise if there is a run in the folder already.

        Raises:
            CheckpointError: there is.
        """
        found = self.newest()
        if found is not None:
            raise CheckpointError(
                f"{self.path} has a run already ({found.name}); go on with it by --resume, or name "
                "another --run"
            )

    def take_up(self, trainer: Trainer) -> Path | None:
        """Let a trainer go on from the newest checkpoint that can be read.

        Raises:
            CheckpointError: none can be read, or it is of another model.
            InputError: it is of another optimizer.
        """
        found = latest(self.checkpoints).checkpoint
        if found is None:
            return None
        trainer.resume(found.path)
        return found.path

    def write_settings(self, settings: Mapping[str, str]) -> None:
        """Keep what the run depends on, to compare with when it is resumed."""
        self.path.mkdir(parents=True, exist_ok=True)
        with atomic_file(self.path / _SETTINGS) as file:
            file.write(json.dumps(dict(settings), indent=2).encode())

    def check_settings(self, settings: Mapping[str, str]) -> None:
        """Raise if the run in the folder was begun otherwise.

        Raises:
            InputError: it would not go on as it began.
        """
        try:
            kept = json.loads((self.path / _SETTINGS).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{self.path / _SETTINGS}: cannot be read ({error})") from error
        for name, value in settings.items():
            if isinstance(kept, dict) and kept.get(name) != value:
                raise InputError(
                    f"{self.path}: the run was begun with {name} {kept.get(name)}, not {value}; "
                    "resume it with the same, or name another --run"
                )


class StopOnInterrupt(Callback):
    """Stops after the step under way when Ctrl-C is pressed; pressed again, at once."""

    def __init__(self, say: Any) -> None:
        self._say = say
        self._before: Any = None
        self.asked = False

    def on_train_begin(self, run: Run) -> None:
        """Listen."""
        self._before = signal.signal(signal.SIGINT, self._note)

    def on_step_end(self, run: Run, step: int, figures: Figures) -> None:
        """Stop if it was pressed."""
        self._stop(run)

    def on_epoch_end(self, run: Run, epoch: int, figures: Figures) -> None:
        """Stop if it was pressed while the epoch was scored."""
        self._stop(run)

    def close(self) -> None:
        """Listen no longer."""
        signal.signal(signal.SIGINT, self._before)

    def _stop(self, run: Run) -> None:
        if self.asked:
            run.stop("interrupted")

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        signal.signal(signal.SIGINT, self._before)
        self._say("interrupted: stopping after this step; Ctrl-C again stops at once")


class Lines(Callback):
    """Says a line about every epoch, for logs of batch systems."""

    def __init__(self, say: Any) -> None:
        self._say = say

    def on_epoch_end(self, run: Run, epoch: int, figures: Figures) -> None:
        """Say the figures."""
        total = -(-run.total_steps // run.steps_per_epoch)
        numbers = "  ".join(f"{k} {v:.4g}" for k, v in figures.items() if k != "seconds")
        self._say(f"epoch {epoch + 1}/{total}  {numbers}  {figures['seconds']:.1f} s")


@dataclass
class Watch:
    """The callbacks of a run.

    Attributes:
        interrupt: whether Ctrl-C was pressed.
        others: what else there is.
    """

    interrupt: StopOnInterrupt
    others: list[Callback] = field(default_factory=list)

    @property
    def all(self) -> list[Callback]:
        """Every callback."""
        return [*self.others, self.interrupt]


def monitor_of(prepared: Prepared) -> str:
    """Return the figure by which epochs are compared."""
    return "loss" if prepared.checking is None else f"{VALIDATION}loss"


def stopping(prepared: Prepared, patience: int) -> EarlyStopping:
    """Return what stops a run that gets no better, and brings back its best epoch."""
    return EarlyStopping(monitor_of(prepared), patience=patience, restore_best=True)


def logs_of(folder: Folder, prepared: Prepared, every: int | None) -> list[Callback]:
    """Return what writes into a run's folder: checkpoints and logs."""
    from ..training.logs import CSVLog, JSONLog, TensorBoardLog

    return [
        Checkpoints(folder.checkpoints, every_steps=every, monitor=monitor_of(prepared)),
        CSVLog(folder.path / "epochs.csv"),
        CSVLog(folder.path / "steps.csv", "steps"),
        JSONLog(folder.path / "log.jsonl"),
        TensorBoardLog(folder.path / "tensorboard"),
    ]


def report(folder: Folder, prepared: Prepared, kpis: KeyFigures) -> Path:
    """Write the report of a run into its folder and return the page."""
    from ..training.report import Confusion, TrainingReport, configuration_of, write_report
    from .train_setup import CONFUSION

    trainer, confusion = prepared.trainer, None
    if CONFUSION in trainer.metrics and prepared.checking is not None:
        counts = trainer.metrics[CONFUSION].result().tolist()
        names = [*prepared.classes, *(str(k) for k in range(len(prepared.classes), len(counts)))]
        confusion = Confusion(names, counts)
    learned, checked = prepared.samples
    sizes = {"batch": prepared.learning.batch_size, "samples": learned, "to check with": checked}
    written = TrainingReport(
        f"Training of {trainer.model.name}",
        trainer.history,
        {**configuration_of(trainer), **sizes},
        kpis,
        confusion,
        stopped=trainer.stopped,
    )
    return write_report(written, folder.path / "report")[0]
