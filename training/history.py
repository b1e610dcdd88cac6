# SPDX-License-Identifier: MIT
"""What a run measured: figures of every epoch and of its steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ..errors import TrainingError
from .figures import JSON, Figures, Mode, from_json, improves, to_json

STEPS_KEPT = 10_000
"""Rows of steps above which every second one is dropped."""

Kind = Literal["steps", "epochs"]


@dataclass(frozen=True)
class Row:
    """Figures of one step, or of one epoch.

    Attributes:
        step: updates done when they were taken.
        epoch: number of the epoch, from 0.
        figures: the numbers by name.
    """

    step: int
    epoch: int
    figures: Figures


@dataclass
class History:
    """Figures of a run in the order they came; a resumed run goes on where the saved one ended.

    Of steps no more than 10,000 rows are kept: beyond that only those whose step is a multiple
    of ``stride``, which doubles. It depends on nothing but the steps, so a resumed run keeps
    the same rows. Log files have all of them.

    >>> history = History()
    >>> history.add_epoch(10, 0, {"loss": 0.7, "val_loss": 0.8})
    >>> history.add_epoch(20, 1, {"loss": 0.5, "val_loss": 0.9})
    >>> history.series("val_loss")
    ([0, 1], [0.8, 0.9])
    >>> history.best("val_loss", "min").epoch
    0
    >>> History.from_json(history.to_json()) == history
    True

    Attributes:
        epochs: one row per epoch.
        steps: rows of steps.
        stride: steps are kept where they are a multiple of it.
    """

    epochs: list[Row] = field(default_factory=list)
    steps: list[Row] = field(default_factory=list)
    stride: int = 1

    def add_step(self, step: int, epoch: int, figures: Figures) -> None:
        """Append the figures of a step.

        Raises:
            TrainingError: the step is not later than the last one.
        """
        if step % self.stride:
            return
        _append(self.steps, Row(step, epoch, _copied(figures)), "step", step)
        while len(self.steps) > STEPS_KEPT:
            self.stride *= 2
            self.steps = [row for row in self.steps if row.step % self.stride == 0]

    def add_epoch(self, step: int, epoch: int, figures: Figures) -> None:
        """Append the figures of an epoch, at whose end ``step`` updates have been done.

        Raises:
            TrainingError: the epoch is not later than the last one.
        """
        _append(self.epochs, Row(step, epoch, _copied(figures)), "epoch", epoch)

    def names(self, kind: Kind = "epochs") -> list[str]:
        """Return the names of all figures, in the order in which they first came."""
        return list(dict.fromkeys(name for row in self._rows(kind) for name in row.figures))

    def series(self, name: str, kind: Kind = "epochs") -> tuple[list[int], list[float]]:
        """Return the epochs (or steps) that have a figure, and its values there."""
        rows = [row for row in self._rows(kind) if name in row.figures]
        places = [row.epoch if kind == "epochs" else row.step for row in rows]
        return places, [row.figures[name] for row in rows]

    def best(self, name: str, mode: Mode) -> Row | None:
        """Return the first epoch with the best value of a figure; ``None`` where none has it."""
        found: Row | None = None
        for row in self.epochs:
            best = None if found is None else found.figures[name]
            if name in row.figures and improves(row.figures[name], best, mode):
                found = row
        return found

    def to_json(self) -> dict[str, Any]:
        """Return the history as JSON types."""
        return {
            "stride": self.stride,
            "epochs": [_row_to_json(row) for row in self.epochs],
            "steps": [_row_to_json(row) for row in self.steps],
        }

    @classmethod
    def from_json(cls, data: JSON) -> History:
        """Return the history that ``to_json`` wrote.

        Raises:
            TrainingError: the data is something else; the message says where.
        """
        parts = _object(data, {"stride", "epochs", "steps"}, "history")
        result = cls()
        for index, row in enumerate(_list(parts["epochs"], "history.epochs")):
            read = _row_from_json(row, f"history.epochs[{index}]")
            result.add_epoch(read.step, read.epoch, read.figures)
        stride = _whole(parts["stride"], "history.stride")
        if stride < 1:
            raise TrainingError(f"history.stride: expected at least 1, found {stride}")
        for index, row in enumerate(_list(parts["steps"], "history.steps")):
            read = _row_from_json(row, f"history.steps[{index}]")
            result.add_step(read.step, read.epoch, read.figures)
        result.stride = max(result.stride, stride)
        return result

    def _rows(self, kind: Kind) -> Sequence[Row]:
        return self.epochs if kind == "epochs" else self.steps


def _append(rows: list[Row], row: Row, name: str, place: int) -> None:
    if rows and place <= (last := rows[-1].step if name == "step" else rows[-1].epoch):
        raise TrainingError(
            f"history: {name} {place} after {name} {last}; rows come in order. To train anew, "
            f"start with an empty History"
        )
    rows.append(row)


def _copied(figures: Figures) -> dict[str, float]:
    # As plain floats: NumPy's scalars would keep arrays alive and have no place in JSON.
    return {name: float(value) for name, value in figures.items()}


def _row_to_json(row: Row) -> dict[str, Any]:
    figures = {name: to_json(value) for name, value in row.figures.items()}
    return {"step": row.step, "epoch": row.epoch, "figures": figures}


def _row_from_json(data: JSON, where: str) -> Row:
    parts = _object(data, {"step", "epoch", "figures"}, where)
    step, epoch = (_whole(parts[key], f"{where}.{key}") for key in ("step", "epoch"))
    if not isinstance(parts["figures"], dict):
        raise TrainingError(f"{where}.figures: expected an object")
    figures = parts["figures"].items()
    return Row(step, epoch, {k: from_json(v, f"{where}.figures.{k}") for k, v in figures})


def _object(data: JSON, keys: set[str], where: str) -> dict[str, Any]:
    if not isinstance(data, dict) or data.keys() != keys:
        found = sorted(data) if isinstance(data, dict) else f"{data!r:.80}"
        raise TrainingError(f"{where}: expected an object with {sorted(keys)}, found {found}")
    return data


def _list(data: JSON, where: str) -> list[Any]:
    if not isinstance(data, list):
        raise TrainingError(f"{where}: expected a list, found {data!r:.80}")
    return data


def _whole(data: JSON, where: str) -> int:
    if isinstance(data, bool) or not isinstance(data, int) or data < 0:
        raise TrainingError(f"{where}: expected a whole number, found {data!r:.80}")
    return data
