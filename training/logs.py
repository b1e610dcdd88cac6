# SPDX-License-Identifier: MIT
"""Figures of a run in files: CSV, lines of JSON, TensorBoard."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TextIO

from ..errors import TrainingError
from ..runtime.atomic import atomic_file
from .callbacks import Callback, Run
from .figures import VALIDATION, Figures, to_json
from .history import Kind
from .tensorboard import EventFile

_PLACES = ("epoch", "step")


class CSVLog(Callback):
    """Writes figures as a table: one row per epoch, or per step.

    Every row is in the file when the next step begins. A figure that comes up later makes a new
    column, which is empty above. A resumed run keeps the rows of its past and drops those of
    steps that it repeats; a new run replaces the file.

    Args:
        path: the file; its folder is made if it is not there.
        kind: ``epochs`` or ``steps``.

    Raises:
        TrainingError: the file cannot be written.
    """

    def __init__(self, path: str | Path, kind: Kind = "epochs") -> None:
        self.path = Path(path)
        self._kind = _known(kind, "CSVLog")
        self._columns = list(_PLACES)
        self._file: TextIO | None = None

    def on_train_begin(self, run: Run) -> None:
        """Keep the rows of the run's past."""
        rows = [row for row in self._rows() if _is_past(run, self._kind, row)] if run.step else []
        self._columns = list(dict.fromkeys([*_PLACES, *(name for row in rows for name in row)]))
        self._rewrite(rows)

    def on_step_end(self, run: Run, step: int, figures: Figures) -> None:
        """Append a row, if they are of steps."""
        if self._kind == "steps":
            self._append({"epoch": run.epoch, "step": step, **figures})

    def on_epoch_end(self, run: Run, epoch: int, figures: Figures) -> None:
        """Append a row, if they are of epochs."""
        if self._kind == "epochs":
            self._append({"epoch": epoch, "step": run.step, **figures})

    def close(self) -> None:
        """Close the file."""
        _close(self._file)
        self._file = None

    def _append(self, row: dict[str, Any]) -> None:
        new = [name for name in row if name not in self._columns]
        if new:
            self._columns += new
            self._rewrite(self._rows())
        assert self._file is not None, "on_train_begin opens it"
        with _writing(self.path):
            self._file.write(self._line(row))
            self._file.flush()

    def _line(self, row: dict[str, Any]) -> str:
        text = io.StringIO()
        # With its own end of lines, because otherwise it does not quote a "\r".
        csv.writer(text).writerow([row.get(name, "") for name in self._columns])
        return text.getvalue().removesuffix("\r\n") + "\n"

    def _rewrite(self, rows: Sequence[dict[str, Any]]) -> None:
        self.close()
        lines = [self._line(dict(zip(self._columns, self._columns, strict=True)))]
        self._file = _open(self.path, lines + [self._line(row) for row in rows])

    def _rows(self) -> list[dict[str, Any]]:
        """Return the rows in the file, without columns that are empty in them."""
        rows = csv.reader(_whole_lines(self.path))
        columns = next(rows, [])
        full = [zip(columns, row, strict=True) for row in rows if len(row) == len(columns)]
        return [{name: value for name, value in row if value != ""} for row in full]


class JSONLog(Callback):
    """Writes figures as lines of JSON, in the order in which they come.

    A line is ``{"kind": "step", "epoch": 0, "step": 1, "time": "...", "figures": {...}}``; NaN
    and infinities are the texts ``"nan"``, ``"inf"``, ``"-inf"``. Every line is in the file when
    the next step begins. A resumed run keeps the lines of its past and drops those of steps that
    it repeats; a new run replaces the file.

    Args:
        path: the file; its folder is made if it is not there.
        kinds: which lines to write, of ``epochs`` and ``steps``.

    Raises:
        TrainingError: the file cannot be written.
    """

    def __init__(self, path: str | Path, kinds: Sequence[Kind] = ("epochs", "steps")) -> None:
        self.path = Path(path)
        self._kinds = [_known(kind, "JSONLog") for kind in kinds]
        self._file: TextIO | None = None

    def on_train_begin(self, run: Run) -> None:
        """Keep the lines of the run's past."""
        past = _whole_lines(self.path) if run.step else []
        self._file = _open(self.path, [line for line in past if _is_past_line(run, line)])

    def on_step_end(self, run: Run, step: int, figures: Figures) -> None:
        """Append a line, if there are any of steps."""
        if "steps" in self._kinds:
            self._append("step", run.epoch, step, figures)

    def on_epoch_end(self, run: Run, epoch: int, figures: Figures) -> None:
        """Append a line, if there are any of epochs."""
        if "epochs" in self._kinds:
            self._append("epoch", epoch, run.step, figures)

    def close(self) -> None:
        """Close the file."""
        _close(self._file)
        self._file = None

    def _append(self, kind: str, epoch: int, step: int, figures: Figures) -> None:
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        numbers = {name: to_json(value) for name, value in figures.items()}
        line = {"kind": kind, "epoch": epoch, "step": step, "time": now, "figures": numbers}
        assert self._file is not None, "on_train_begin opens it"
        with _writing(self.path):
            self._file.write(json.dumps(line, allow_nan=False) + "\n")
            self._file.flush()


class TensorBoardLog(Callback):
    """Writes figures as event files: ``tensorboard --logdir FOLDER`` shows their curves.

    There is a run called ``train`` and one called ``validation``, so that ``epoch/loss`` of both
    is one chart. A resumed run adds files; TensorBoard drops what older ones have of steps that it
    repeats.

    Args:
        folder: made if it is not there.
        every: write each so many steps.

    Raises:
        TrainingError: a file cannot be written.
    """

    def __init__(self, folder: str | Path, every: int = 1) -> None:
        self.folder = Path(folder)
        self._every = every
        self._first = 0
        self._files: dict[str, EventFile] = {}

    def on_train_begin(self, run: Run) -> None:
        """Note where the run goes on; files are made with their first figure."""
        self._first = run.step + 1

    def on_step_end(self, run: Run, step: int, figures: Figures) -> None:
        """Append the figures, if it is time to."""
        if step % self._every == 0:
            self._add("step", step, figures)

    def on_epoch_end(self, run: Run, epoch: int, figures: Figures) -> None:
        """Append the figures."""
        self._add("epoch", run.step, figures)

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()
        self._files = {}

    def _add(self, kind: str, step: int, figures: Figures) -> None:
        runs: dict[str, dict[str, float]] = {"train": {}, "validation": {}}
        for name, value in figures.items():
            run = "validation" if name.startswith(VALIDATION) else "train"
            runs[run][f"{kind}/{name.removeprefix(VALIDATION)}"] = value
        with _writing(self.folder):
            for run, scalars in runs.items():
                if scalars:
                    self._file_of(run).add(step, scalars)

    def _file_of(self, run: str) -> EventFile:
        if run not in self._files:
            self._files[run] = EventFile(self.folder / run, self._first)
        return self._files[run]


def _known(kind: Kind, who: str) -> Kind:
    if kind not in {"epochs", "steps"}:
        raise TrainingError(f"{who}: kind {kind!r}, expected 'epochs' or 'steps'")
    return kind


def _is_past(run: Run, kind: str, row: dict[str, Any]) -> bool:
    """Return whether a row is of what the run has done; one that cannot be read is not."""
    try:
        epoch, step = int(row["epoch"]), int(row["step"])
    except (KeyError, TypeError, ValueError):
        return False
    if kind == "steps":
        return step <= run.step
    return bool(run.history.epochs) and epoch <= run.history.epochs[-1].epoch


def _is_past_line(run: Run, line: str) -> bool:
    try:
        row = json.loads(line)
    except ValueError:
        return False
    return isinstance(row, dict) and _is_past(run, f"{row.get('kind')}s", row)


def _whole_lines(path: Path) -> list[str]:
    """Return the lines of a file, but not one that a killed process left unfinished."""
    if not path.exists():
        return []
    with _writing(path):
        text = path.read_bytes().decode(errors="replace")
    return [f"{line}\n" for line in text.split("\n")[:-1]]


def _open(path: Path, lines: Sequence[str]) -> TextIO:
    """Replace a file by one with these lines, whole or not at all, and open it to append."""
    with _writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path, durable=False) as file:
            file.write("".join(lines).encode())
        return path.open("a", encoding="utf-8", newline="")


def _close(file: TextIO | None) -> None:
    if file is not None:
        file.close()


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise TrainingError(f"{path}: cannot write the log ({error})") from error
