# SPDX-License-Identifier: MIT
"""A run that is killed and started again ends as one that was not, bit for bit."""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import train_program
from ranvier.errors import CheckpointError
from ranvier.training.callbacks import EarlyStopping
from ranvier.training.checkpoint import Checkpoint, load_checkpoint, steps_in, write_checkpoint
from ranvier.training.kpis import Kpis
from ranvier.training.losses import CrossEntropy
from ranvier.training.optimizers import Adam
from ranvier.training.report import TrainingReport, configuration_of, write_report
from ranvier.training.trainer import Options, Trainer
from ranvier.training.update import Average

TIMES = {"seconds", "time"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    train_program.train(folder)
    return folder


def without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_times(item) for name, item in value.items() if name not in TIMES}
    return [without_times(item) for item in value] if isinstance(value, list) else value


def checkpoints(folder: Path) -> dict[int, Checkpoint]:
    return {step: load_checkpoint(path) for step, path in steps_in(folder / "checkpoints")}


def assert_same_run(folder: Path, whole: Path) -> None:
    found, expected = checkpoints(folder), checkpoints(whole)
    assert found.keys() == expected.keys()
    for step, checkpoint in expected.items():
        assert without_times(dict(found[step].meta)) == without_times(dict(checkpoint.meta))
        assert found[step].arrays.keys() == checkpoint.arrays.keys()
        for name, array in checkpoint.arrays.items():
            assert found[step].arrays[name].tobytes() == array.tobytes(), name
    for name in ("epochs.csv", "steps.csv"):
        tables = [csv.DictReader((f / name).read_text().splitlines()) for f in (folder, whole)]
        rows, others = (without_times(list(table)) for table in tables)
        assert rows == others
    logs = [(f / "log.jsonl").read_text().splitlines() for f in (folder, whole)]
    lines, others = (without_times(list(map(json.loads, log))) for log in logs)
    assert lines == others


def start(folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, train_program.__file__, str(folder)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def wait_for_checkpoint(folder: Path, process: subprocess.Popen[bytes]) -> None:
    before = list(steps_in(folder / "checkpoints"))
    while process.poll() is None and list(steps_in(folder / "checkpoints")) == before:
        time.sleep(0.001)


def test_killed_run_goes_on_bit_for_bit(whole: Path, tmp_path: Path) -> None:
    moments = random.Random(3)
    for _ in range(3):
        process = start(tmp_path)
        wait_for_checkpoint(tmp_path, process)
        time.sleep(moments.uniform(0, 0.02))
        process.kill()
        _, errors = process.communicate(timeout=120)
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, errors.decode()
    process = start(tmp_path)
    out, errors = process.communicate(timeout=120)
    assert (process.returncode, out) == (0, b"done\n"), errors.decode()
    assert_same_run(tmp_path, whole)


class Interrupted(Exception):
    """Stands for a key that was pressed."""


@pytest.mark.parametrize("at", [1, 2, 3, 4, 7])
def test_interrupted_run_goes_on_bit_for_bit(
    at: int, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted when ``at`` checkpoints are there, which lie within epochs and between them."""
    left = at

    def interrupted(*arguments: Any) -> None:
        nonlocal left
        if left == 0:
            raise Interrupted
        left -= 1
        write_checkpoint(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr("ranvier.training.snapshot.write_checkpoint", interrupted)
        with pytest.raises(Interrupted):
            train_program.train(tmp_path)
    train_program.train(tmp_path)
    assert_same_run(tmp_path, whole)


def test_damaged_checkpoint_costs_steps_and_nothing_else(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(train_program, "EPOCHS", 2)
        train_program.train(tmp_path)
    *_, (_, newest) = steps_in(tmp_path / "checkpoints")
    newest.write_bytes(newest.read_bytes()[:-7])
    train_program.train(tmp_path)
    assert_same_run(tmp_path, whole)


def test_folder_without_a_sound_checkpoint_is_not_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "step-000000009.safetensors").write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match="none of 1 checkpoints can be read"):
        train_program.train(tmp_path)


@pytest.mark.parametrize("average", [None, Average(0.5)], ids=["weights", "means"])
def test_best_epoch_comes_back(average: Average | None) -> None:
    """What was scored is what comes back, be it the weights or their running means."""
    trainer = Trainer(
        train_program.net,
        CrossEntropy(),
        Adam(0.3),
        options=Options(threads=1, average=average),
    )
    stop = EarlyStopping(patience=2, restore_best=True)
    data = train_program.Points(2)
    history = trainer.fit(train_program.Points(1), 12, validation=data, callbacks=[stop])
    _, losses = history.series("val_loss")
    assert min(losses) < losses[-1], "else nothing comes back"
    assert trainer.evaluate(data)["loss"] == min(losses)
    assert trainer.stopped.startswith("val_loss has not improved for 2 epochs; best: ")


def test_key_figures_of_a_run() -> None:
    options = Options(threads=1, accumulate=4)
    trainer = Trainer(train_program.net, CrossEntropy(), Adam(0.01), options=options)
    with Kpis() as kpis:
        trainer.fit(train_program.Points(1), 2, kpis=kpis)
    found = kpis.result()
    assert found.samples == 44
    assert 0 < found.toppi < found.totm < found.seconds
    # Of 22 points in batches of 4 a step has 16, and the last one what remains.
    assert trainer.history.series("samples", "steps") == ([1, 2, 3, 4], [16, 6, 16, 6])


def test_report_of_a_run(whole: Path, tmp_path: Path) -> None:
    trainer = train_program.train(whole)  # has come to its end, so nothing is trained
    report = TrainingReport("points", trainer.history, configuration_of(trainer))
    assert report.configuration["parameters"] == 5 * 6 + 6 + 4 * 6 + 6 * 2 + 2
    assert report.configuration["parameters that are trained"] == 5 * 6 + 6 + 2 * 6 + 6 * 2 + 2
    assert report.configuration["optimizer"].startswith("Adam(learning_rate=0.02")
    assert report.configuration["schedule"] == "ReduceOnPlateau"
    assert report.configuration["options"]["accumulate"] == "2"
    page, twin = write_report(report, tmp_path / "report")
    losses = [
        row["figures"]["val_loss"] for row in json.loads(twin.read_text())["history"]["epochs"]
    ]
    assert losses == trainer.history.series("val_loss")[1]
    assert np.isfinite(losses).all()
    assert "val_loss" in page.read_text()
