# SPDX-License-Identifier: MIT
"""Histories come back from JSON as they were, and a resumed one goes on like an unbroken one."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ranvier.errors import TrainingError
from ranvier.training import history as module
from ranvier.training.history import History

figures = st.dictionaries(st.sampled_from(["loss", "val_loss", "auc"]), st.floats(), max_size=3)


def equal(a: History, b: History) -> bool:
    """Compare by text, in which NaN equals NaN."""
    return json.dumps(a.to_json()) == json.dumps(b.to_json())


@given(st.lists(figures, max_size=6), st.lists(figures, max_size=6))
def test_json_round_trip(epochs: list[dict[str, float]], steps: list[dict[str, float]]) -> None:
    history = History()
    for index, row in enumerate(steps):
        history.add_step(3 * index + 1, index, row)
    for index, row in enumerate(epochs):
        history.add_epoch(index, index, row)
    text = json.dumps(history.to_json(), allow_nan=False)
    assert equal(History.from_json(json.loads(text)), history)


@given(st.integers(1, 60), st.integers(0, 60))
def test_resumed_history_keeps_the_same_rows(total: int, at: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "STEPS_KEPT", 7)
        whole = History()
        broken = History()
        for step in range(1, total + 1):
            whole.add_step(step, 0, {"loss": float(step)})
            broken.add_step(step, 0, {"loss": float(step)})
            if step == at:
                broken = History.from_json(json.loads(json.dumps(broken.to_json())))
        assert equal(whole, broken)
        assert len(whole.steps) <= 7
        assert all(row.step % whole.stride == 0 for row in whole.steps)


def test_figures_become_plain_floats() -> None:
    history = History()
    history.add_step(1, 0, {"loss": np.float32(0.5)})
    assert type(history.steps[0].figures["loss"]) is float


def test_series_skips_rows_without_the_figure() -> None:
    history = History()
    for epoch, row in enumerate([{"loss": 1.0}, {"loss": 0.5, "val_loss": 0.7}]):
        history.add_epoch(10 * epoch + 10, epoch, row)
    assert history.series("val_loss") == ([1], [0.7])
    assert history.names() == ["loss", "val_loss"]
    assert history.names("steps") == []


def test_best_is_the_first_of_equals_and_never_nan() -> None:
    history = History()
    for epoch, value in enumerate([math.nan, 0.5, 0.9, 0.9]):
        history.add_epoch(epoch, epoch, {"auc": value})
    best = history.best("auc", "max")
    assert best is not None
    assert best.epoch == 2
    assert history.best("none", "max") is None


def test_rows_out_of_order_are_errors() -> None:
    history = History()
    history.add_step(5, 0, {})
    history.add_epoch(5, 1, {})
    with pytest.raises(TrainingError, match=r"step 5 after step 5; rows come in order\. To train"):
        history.add_step(5, 0, {})
    with pytest.raises(TrainingError, match="epoch 0 after epoch 1"):
        history.add_epoch(9, 0, {})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], r"history: expected an object with \['epochs', 'steps', 'stride'\], found \[\]"),
        ({"stride": 1, "steps": []}, "found ['steps', 'stride']"),
        ({"stride": 0, "steps": [], "epochs": []}, "history.stride: expected at least 1"),
        ({"stride": 1.5, "steps": [], "epochs": []}, "history.stride: expected a whole number"),
        ({"stride": 1, "steps": 3, "epochs": []}, "history.steps: expected a list, found 3"),
        ({"stride": 1, "steps": [{}], "epochs": []}, r"history.steps\[0\]: expected an object"),
        (
            {"stride": 1, "steps": [], "epochs": [{"step": 1, "epoch": 0, "figures": {"a": "x"}}]},
            r"history.epochs\[0\].figures.a: expected a number, 'nan', 'inf' or '-inf', found 'x'",
        ),
        (
            {"stride": 1, "steps": [], "epochs": [{"step": True, "epoch": 0, "figures": {}}]},
            r"history.epochs\[0\].step: expected a whole number, found True",
        ),
        (
            {"stride": 1, "steps": [], "epochs": [{"step": 1, "epoch": 0, "figures": []}]},
            r"history.epochs\[0\].figures: expected an object",
        ),
    ],
)
def test_other_data_is_an_error(data: Any, message: str) -> None:
    with pytest.raises(TrainingError, match=message.replace("['steps', 's", r"\['steps', 's")):
        History.from_json(data)
