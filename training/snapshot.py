# SPDX-License-Identifier: MIT
"""A trainer as arrays and JSON: what a checkpoint holds, and how a run is taken up again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import CheckpointError
from ..ir import Array
from .checkpoint import Checkpoint, identity_of, write_checkpoint
from .history import History
from .schedules import ReduceOnPlateau

if TYPE_CHECKING:
    from .trainer import Trainer

PARAMETERS, OPTIMIZER, SCHEDULE = "parameters/", "optimizer/", "schedule/"


@dataclass
class Position:
    """Where a run stands.

    Attributes:
        step: updates done.
        epoch: the epoch under way.
        batch: batches of it that are done.
        accumulated: batches whose gradients wait for the next update.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    accumulated: int = 0


def save(trainer: Trainer, path: Path, running: Mapping[str, Array]) -> None:
    """Write a trainer's state.

    Args:
        trainer: whose.
        path: the file.
        running: arrays of the run under way, by name.

    Raises:
        CheckpointError: it cannot be written.
    """
    parameters = trainer.parameters()
    arrays = {PARAMETERS + k: a for k, a in parameters.items()}
    arrays.update((OPTIMIZER + k, a) for k, a in trainer.updater.state().items())
    if isinstance(trainer.schedule, ReduceOnPlateau):
        arrays.update((SCHEDULE + k, a) for k, a in trainer.schedule.state().items())
    arrays.update(running)
    position = trainer.position
    meta = {
        "step": position.step,
        "epoch": position.epoch,
        "batch": position.batch,
        "accumulated": position.accumulated,
        "model": identity_of(parameters),
        "name": trainer.model.name,
        "history": trainer.history.to_json(),
    }
    write_checkpoint(path, arrays, meta)


def restore(trainer: Trainer, checkpoint: Checkpoint) -> None:
    """Let a trainer be what a checkpoint holds.

    Raises:
        CheckpointError: the checkpoint lacks something.
        InputError: it is of another optimizer.
    """
    arrays = checkpoint.arrays
    trainer.updater.load(under(arrays, OPTIMIZER))
    averages = {k: a.copy() for k, a in trainer.updater.averages.items()}
    trainer.set_parameters(under(arrays, PARAMETERS))
    for name, array in averages.items():  # setting parameters sets their means, too
        np.copyto(trainer.updater.averages[name], array)
    if isinstance(trainer.schedule, ReduceOnPlateau):
        trainer.schedule.load(under(arrays, SCHEDULE))
    numbers = (_number(checkpoint, k) for k in ("step", "epoch", "batch", "accumulated"))
    trainer.position = Position(*numbers)
    trainer.history = History.from_json(checkpoint.meta.get("history"))
    known = (PARAMETERS, OPTIMIZER, SCHEDULE)
    trainer.pending = {k: a for k, a in arrays.items() if not k.startswith(known)}


def under(arrays: Mapping[str, Array], prefix: str) -> dict[str, Array]:
    """Return the arrays whose names start with ``prefix``, without it."""
    return {k.removeprefix(prefix): a for k, a in arrays.items() if k.startswith(prefix)}


def _number(checkpoint: Checkpoint, name: str) -> int:
    value = checkpoint.meta.get(name)
    if type(value) is not int or value < 0:
        raise CheckpointError(f"{checkpoint.path}: meta['{name}'] is {value!r}, expected a count")
    return value


__all__ = ["PARAMETERS", "Position", "restore", "save", "under"]
