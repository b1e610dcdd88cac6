# SPDX-License-Identifier: MIT
"""Callbacks: when they stop, what they keep, and that a resumed run makes them no different."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fake_run import FakeRun
from ranvier.errors import CheckpointError, TrainingError
from ranvier.runtime.dtypes import Array
from ranvier.training.callbacks import Callback, Callbacks, Checkpoints, EarlyStopping, Run
from ranvier.training.checkpoint import latest, load_checkpoint, steps_in
from ranvier.training.figures import Figures


def epochs_of(values: list[float], name: str = "val_loss") -> list[dict[str, float]]:
    return [{"loss": 1.0, name: value} for value in values]


class Order(Callback):
    """Notes every call."""

    def __init__(self, name: str, calls: list[str]) -> None:
        self.name, self.calls = name, calls

    def on_train_begin(self, run: Run) -> None:
        self.calls.append(f"{self.name} begins")

    def on_epoch_begin(self, run: Run, epoch: int) -> None:
        self.calls.append(f"{self.name} epoch {epoch} begins")

    def on_step_end(self, run: Run, step: int, figures: Figures) -> None:
        self.calls.append(f"{self.name} step {step}")

    def on_epoch_end(self, run: Run, epoch: int, figures: Figures) -> None:
        self.calls.append(f"{self.name} epoch {epoch}")

    def on_train_end(self, run: Run) -> None:
        self.calls.append(f"{self.name} ends")

    def close(self) -> None:
        self.calls.append(f"{self.name} closes")


class Last(Order):
    comes_last = True


def test_hooks_are_called_in_order() -> None:
    calls: list[str] = []
    FakeRun([{}], steps_per_epoch=1).fit([Last("b", calls), Order("a", calls)])
    what = ["begins", "epoch 0 begins", "step 1", "epoch 0"]
    assert calls[:8] == [f"{who} {text}" for text in what for who in "ab"]
    assert calls[8:] == ["b ends", "a ends", "b closes", "a closes"]


def test_all_are_closed_even_if_one_fails() -> None:
    class Failing(Callback):
        def close(self) -> None:
            raise OSError("full")

    calls: list[str] = []
    with pytest.raises(OSError, match="full"):
        Callbacks([Order("a", calls), Failing(), Order("b", calls)]).close()
    assert calls == ["b closes", "a closes"]


# --- early stopping ----------------------------------------------------------------------------


def stopped_after(values: list[float], **options: object) -> int:
    return len(FakeRun(epochs_of(values)).fit([EarlyStopping(**options)]).history.epochs)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "options", "epochs"),
    [
        ([5, 4, 3, 2], {"patience": 1}, 4),
        ([5, 5, 1, 0], {"patience": 1}, 2),
        ([5, 6, 4, 5, 5, 0], {"patience": 2}, 5),
        ([5, 4.9, 4.8, 4.7, 0], {"patience": 3, "min_delta": 0.4}, 4),
        ([5, 4.8, 4.5, 4.4, 4.0], {"patience": 3, "min_delta": 0.4}, 5),
        ([1, 2, 3, 3, 3], {"patience": 2, "mode": "max"}, 5),
        ([math.nan, math.nan, 1], {"patience": 2}, 2),
        ([-math.inf, 0, 1], {"patience": 2}, 3),
    ],
)
def test_stops_after_patience(values: list[float], options: dict[str, object], epochs: int) -> None:
    assert stopped_after(values, **options) == epochs


def by_definition(values: list[float], patience: int, delta: float) -> int:
    """The number of epochs, from the sequence as a whole."""
    best, best_at = math.inf, -1
    for epoch, value in enumerate(values):
        if value < best - delta:
            best, best_at = value, epoch
        elif epoch - best_at >= patience:
            return epoch + 1
    return len(values)


@given(
    st.lists(st.integers(0, 9).map(float), min_size=1, max_size=14),
    st.integers(1, 4),
    st.sampled_from([0.0, 1.0]),
)
def test_stops_where_its_definition_says(values: list[float], patience: int, delta: float) -> None:
    expected = by_definition(values, patience, delta)
    assert stopped_after(values, patience=patience, min_delta=delta) == expected


def test_reason_names_the_best() -> None:
    run = FakeRun(epochs_of([0.5, 0.25, 0.75, 0.5])).fit([EarlyStopping(patience=2)])
    assert run.reason == "val_loss has not improved for 2 epochs; best: 0.25 of epoch 1"
    run = FakeRun(epochs_of([math.nan])).fit([EarlyStopping(patience=1)])
    assert run.reason == "val_loss has not improved for 1 epochs; best: none"


@pytest.mark.parametrize(("restore", "weight"), [(True, 8.0), (False, 16.0)])
def test_best_parameters_come_back(restore: bool, weight: float) -> None:
    stop = EarlyStopping(patience=2, restore_best=restore)
    run = FakeRun(epochs_of([3, 1, 2, 2, 0])).fit([stop])
    np.testing.assert_array_equal(run.weight, weight)


@pytest.mark.parametrize("at", [1, 2, 3])
def test_resumed_run_stops_at_the_same_epoch(at: int, tmp_path: Path) -> None:
    values = epochs_of([3, 1, 2, 2, 2, 0])

    def callbacks(folder: str) -> list[Callback]:
        options = {"patience": 3, "restore_best": True}
        return [
            Checkpoints(tmp_path / folder, keep=9, monitor="val_loss"),
            EarlyStopping(**options),  # type: ignore[arg-type]
        ]

    whole = FakeRun(values).fit(callbacks("whole"))
    FakeRun(values[:at]).fit(callbacks("part"))
    found = latest(tmp_path / "part").checkpoint
    assert found is not None
    resumed = FakeRun(values).fit(callbacks("part"), found)
    assert resumed.reason == whole.reason
    np.testing.assert_array_equal(resumed.weight, whole.weight)
    assert resumed.history == whole.history
    for (step, one), (other_step, other) in zip(
        steps_in(tmp_path / "whole"), steps_in(tmp_path / "part"), strict=True
    ):
        assert step == other_step
        assert one.read_bytes() == other.read_bytes(), "bit for bit"


def test_figure_that_nobody_reports() -> None:
    message = r"EarlyStopping watches 'auc', but the figures .* are: loss, val_loss; choose one"
    with pytest.raises(TrainingError, match=message):
        FakeRun(epochs_of([1])).fit([EarlyStopping("auc")])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "less"}, "EarlyStopping: mode='less', expected 'min' or 'max'"),
        ({"patience": 0}, "EarlyStopping: patience=0, expected a whole number of at least 1"),
        ({"patience": True}, "patience=True"),
        ({"min_delta": -1.0}, r"min_delta=-1\.0, expected 0 or more"),
        ({"min_delta": math.nan}, "min_delta=nan"),
    ],
)
def test_arguments_of_early_stopping(options: dict[str, object], message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        EarlyStopping(**options)  # type: ignore[arg-type]


# --- checkpoints -------------------------------------------------------------------------------


def kept(folder: Path) -> list[int]:
    return [step for step, _ in steps_in(folder)]


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({}, [12, 16, 20]),
        ({"keep": 1}, [20]),
        ({"every_epochs": 2}, [8, 16, 20]),
        ({"every_epochs": None}, [20]),
        ({"every_epochs": None, "every_steps": 3}, [15, 18, 20]),
        ({"every_steps": 6}, [16, 18, 20]),
        ({"keep": 1, "monitor": "val_loss"}, [8, 20]),
        ({"keep": 1, "monitor": "val_loss", "mode": "max"}, [4, 20]),
        ({"keep": 1, "monitor": "val_loss", "every_epochs": None}, [8, 20]),
    ],
)
def test_last_and_best_are_kept(
    options: dict[str, object], steps: list[int], tmp_path: Path
) -> None:
    checkpoints = Checkpoints(tmp_path / "new" / "folder", **options)  # type: ignore[arg-type]
    FakeRun(epochs_of([3, 1, 2, math.nan, 2])).fit([checkpoints])
    assert kept(tmp_path / "new" / "folder") == steps


def test_best_path(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, monitor="val_loss")
    assert checkpoints.best_path is None
    FakeRun(epochs_of([3, 1, 2])).fit([checkpoints])
    assert checkpoints.best_path is not None
    np.testing.assert_array_equal(
        load_checkpoint(checkpoints.best_path).arrays["parameters/weight"], 8
    )


def test_last_state_is_saved_before_the_best_is_restored(tmp_path: Path) -> None:
    callbacks = [
        Checkpoints(tmp_path, every_epochs=None),
        EarlyStopping(patience=2, restore_best=True),
    ]
    FakeRun(epochs_of([3, 1, 2, 2])).fit(callbacks)
    found = latest(tmp_path).checkpoint
    assert found is not None
    np.testing.assert_array_equal(found.arrays["parameters/weight"], 16)


def test_new_run_in_a_used_folder_is_refused(tmp_path: Path) -> None:
    FakeRun(epochs_of([3, 1])).fit([Checkpoints(tmp_path)])
    with pytest.raises(CheckpointError, match="is of step 4, the run is at step 0; resume from it"):
        FakeRun(epochs_of([3, 1])).fit([Checkpoints(tmp_path)])
    assert kept(tmp_path) == [4, 8]


def test_arguments_of_checkpoints(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="Checkpoints: keep=0, expected a whole number"):
        Checkpoints(tmp_path, keep=0)
    with pytest.raises(TrainingError, match="Checkpoints: every_steps=-1"):
        Checkpoints(tmp_path, every_steps=-1)
    with pytest.raises(TrainingError, match="Checkpoints watches 'auc'"):
        FakeRun(epochs_of([1])).fit([Checkpoints(tmp_path, monitor="auc")])


# --- states ------------------------------------------------------------------------------------


def test_states_are_named_after_classes(tmp_path: Path) -> None:
    members = [Checkpoints(tmp_path), EarlyStopping("a"), Callback(), EarlyStopping("b")]
    names = {name.partition("/")[0] for name in Callbacks(members).state()}
    assert names == {"EarlyStopping.0", "EarlyStopping.1", "Checkpoints.0"}


def test_callbacks_may_come_and_go_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stop = EarlyStopping()
    FakeRun(epochs_of([1, 2])).fit([stop])
    state: Mapping[str, Array] = Callbacks([stop]).state()
    other = EarlyStopping()
    Callbacks([Callback(), other]).load(state)
    assert (other.best, other.waited) == (1, 1)
    assert caplog.messages == []
    Callbacks([Checkpoints(tmp_path)]).load(state)
    assert caplog.messages == [
        "Checkpoints.0 begins anew: not in the checkpoint",
        "EarlyStopping.0 is in the checkpoint, but not in this run",
    ]


def test_incomplete_state_is_an_error(tmp_path: Path) -> None:
    message = "the checkpoint has no 'step' of Checkpoints; resume with the callbacks that the"
    with pytest.raises(TrainingError, match=message):
        Callbacks([Checkpoints(tmp_path)]).load({"Checkpoints.0/best": np.array(1.0)})
