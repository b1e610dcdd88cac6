# SPDX-License-Identifier: MIT
"""A training run as a program that is killed: started again, it goes on from its checkpoints.

``python train_program.py FOLDER`` trains to the end and prints ``done``.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from ranvier.frontend import builder as nn
from ranvier.frontend.builder import Network
from ranvier.runtime.dtypes import Array
from ranvier.training.callbacks import Checkpoints, EarlyStopping
from ranvier.training.checkpoint import latest
from ranvier.training.logs import CSVLog, JSONLog
from ranvier.training.losses import CrossEntropy
from ranvier.training.optimizers import Adam
from ranvier.training.schedules import ReduceOnPlateau
from ranvier.training.trainer import Options, Trainer

EPOCHS = 6


class Points:
    """Noisy points of two classes, in an order of its own every epoch."""

    def __init__(self, seed: int, count: int = 22, size: int = 4) -> None:
        generator = np.random.default_rng(seed)
        self._label = np.arange(count) % 2
        shift = np.where(self._label, 0.5, -0.5)[:, None]
        self._x = (generator.standard_normal((count, 5)) + shift).astype(np.float32)
        self._size = size

    def __len__(self) -> int:
        return math.ceil(len(self._label) / self._size)

    def epoch(self, number: int, start_step: int = 0) -> Iterator[Mapping[str, Array]]:
        """Yield batches; the last one is smaller."""
        order = np.random.default_rng(number).permutation(len(self._label))
        for k in range(start_step, len(self)):
            rows = order[k * self._size : (k + 1) * self._size]
            yield {"x": self._x[rows], "label": self._label[rows], "index": rows}


def net(samples: int) -> Network:
    """Two linear layers with a batch norm between them, whose statistics are state too."""
    x = nn.input("x", (samples, 5))
    y = nn.relu(nn.batch_norm(nn.linear(x, 6, name="first"), name="norm"))
    return nn.network("net", [x], {"scores": nn.linear(y, 2, name="last")})


def train(folder: Path) -> Trainer:
    """Train, from the newest checkpoint if there is one, with all that has a state."""
    trainer = Trainer(
        net,
        CrossEntropy(),
        Adam(0.02),
        schedule=ReduceOnPlateau(patience=0),
        options=Options(threads=1, accumulate=2),
    )
    found = latest(folder / "checkpoints").checkpoint
    if found is not None:
        trainer.resume(found.path)
    callbacks = [
        EarlyStopping(patience=3, restore_best=True),
        Checkpoints(folder / "checkpoints", every_steps=1, keep=2, monitor="val_loss"),
        CSVLog(folder / "epochs.csv"),
        CSVLog(folder / "steps.csv", "steps"),
        JSONLog(folder / "log.jsonl"),
    ]
    trainer.fit(Points(1), EPOCHS, validation=Points(2), callbacks=callbacks)
    return trainer


if __name__ == "__main__":
    train(Path(sys.argv[1]))
    sys.stdout.write("done\n")
