# SPDX-License-Identifier: MIT
"""Progress of a run on the terminal: a bar per epoch, and a line when it is over."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from .callbacks import Callback, Run
from .figures import Figures

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

_HIDDEN = frozenset({"seconds", "samples", "learning_rate", "grad_norm"})
"""Figures that are not shown by name."""


class Progress(Callback):
    """Shows loss, metrics, samples per second and the time that the run still takes.

    Silent where the error stream is no terminal.

    Args:
        console: where to; the error stream by default.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console
        self._bar: Bar | None = None
        self._task: TaskID | None = None
        self._rate = _Rate()

    def on_train_begin(self, run: Run) -> None:
        """Show an empty bar, if there is a terminal."""
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
        from rich.progress import Progress as Bar

        console = self._console or Console(stderr=True)
        self._rate = _Rate()
        if console.is_terminal:
            title, text = (
                TextColumn(f"{{task.{name}}}", markup=False)
                for name in ("description", "fields[text]")
            )
            columns = (title, BarColumn(20), MofNCompleteColumn(), text)
            self._bar = Bar(*columns, console=console, transient=True)
            self._bar.start()

    def on_epoch_begin(self, run: Run, epoch: int) -> None:
        """Show the epoch's bar before its first step is done."""
        self._rate.restart()
        self._show(run, epoch)

    def on_step_end(self, run: Run, step: int, figures: Figures) -> None:
        """Advance the bar."""
        self._rate.add(figures)
        self._show(run, run.epoch)
        if self._bar is not None and self._task is not None:
            left = time_left(self._rate.per_step * max(0, run.total_steps - step))
            text = f"{_shown(figures)}  {self._rate}  {left} left"
            done = step - run.epoch * run.steps_per_epoch
            self._bar.update(self._task, completed=max(0, done), text=text)

    def _show(self, run: Run, epoch: int) -> None:
        # Also within an epoch: a resumed run does not begin the one that it goes on with.
        if self._bar is not None and self._task is None:
            self._task = self._bar.add_task(_title(run, epoch), total=run.steps_per_epoch, text="")

    def on_epoch_end(self, run: Run, epoch: int, figures: Figures) -> None:
        """Leave a line with the figures in the place of the bar."""
        if self._bar is not None and self._task is not None:
            from rich.text import Text

            self._bar.remove_task(self._task)
            self._bar.console.print(
                Text(f"{_title(run, epoch)}  {_shown(figures)}  {self._rate}".rstrip())
            )
            self._task = None

    def close(self) -> None:
        """Give the terminal back."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = self._task = None


class _Rate:
    """Samples a second and seconds a step, the newest steps counting most."""

    def __init__(self) -> None:
        self.per_step = 0.0
        self._samples = 0.0
        self._last = time.perf_counter()

    def restart(self) -> None:
        # What lies between epochs is no step.
        self._last = time.perf_counter()

    def add(self, figures: Figures) -> None:
        now = time.perf_counter()
        seconds, self._last = now - self._last, now
        weight = 0.1 if self.per_step else 1.0
        self.per_step += weight * (seconds - self.per_step)
        self._samples += weight * (figures.get("samples", 0.0) - self._samples)

    def __str__(self) -> str:
        if not self.per_step:
            return ""
        if self._samples:
            return f"{self._samples / self.per_step:.4g} samples/s"
        return f"{1 / self.per_step:.4g} steps/s"


def time_left(seconds: float) -> str:
    """Return a time for people.

    >>> time_left(75), time_left(4 * 3600 + 60)
    ('1:15', '4:01:00')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _title(run: Run, epoch: int) -> str:
    return f"epoch {epoch + 1}/{-(-run.total_steps // max(1, run.steps_per_epoch))}"


def _shown(figures: Figures) -> str:
    return "  ".join(
        f"{name} {value:.4g}" for name, value in figures.items() if name not in _HIDDEN
    )
