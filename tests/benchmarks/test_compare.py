# SPDX-License-Identifier: MIT
"""Outputs are compared before anything is timed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ranvier.benchmarks.cases import Case
from ranvier.benchmarks.compare import Plan, compare_in
from ranvier.benchmarks.engines import Unavailable
from ranvier.benchmarks.processes import EngineFailed
from ranvier.benchmarks.results import CaseResult

RIGHT = np.array([1.0, 2.0, 4.0], np.float32)
CASE = Case("small", Path("small.onnx"))


class FakeProcess:
    """Answers like an engine's process, without computing."""

    def __init__(
        self, outputs: Sequence[Any] = (), times: Sequence[float] = (1.0,), trouble: str = ""
    ) -> None:
        self.outputs = outputs
        self.times = times
        self.trouble = trouble
        self.turns = 0

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        if self.trouble == f"unavailable at {do}":
            raise Unavailable("not installed")
        if self.trouble == f"failed at {do}":
            raise EngineFailed("out of memory")
        if do == "outputs":
            np.savez(Path(arguments["path"]), *self.outputs)
            return {}
        if do == "turn":
            self.turns += 1
            return {"times": list(self.times), "cpu": [t / 2 for t in self.times]}
        return {"prepare_seconds": 1.0, "versions": {"fake": "1"}}


def compared(
    processes: dict[str, FakeProcess], tmp_path: Path, expected: Any = (RIGHT,)
) -> CaseResult:
    plan = Plan(list(processes), threads=1, cores=(0,), rounds=3)
    reference = ("reference", expected) if expected is not None else ("", None)
    return compare_in(processes, CASE, plan, tmp_path / "inputs.npz", reference)


def test_engines_that_agree_are_timed(tmp_path: Path) -> None:
    processes = {"ranvier": FakeProcess([RIGHT], [1.0]), "peer": FakeProcess([RIGHT], [2.0])}
    result = compared(processes, tmp_path)
    assert [e.status for e in result.engines] == ["timed", "timed"]
    assert result.best_peer("ranvier") == "peer"
    assert result.timed()["peer"] == [(2.0,)] * 3
    assert result.engines[0].cpu == [(0.5,)] * 3
    assert result.engine("ranvier").busy(threads=1) == pytest.approx(0.5)
    assert result.engines[0].versions == {"fake": "1"}


@pytest.mark.parametrize(
    ("outputs", "note"),
    [
        ([RIGHT + np.float32(0.1)], "error 2.5e-02, allowed 1e-03; not timed"),
        ([RIGHT[:2]], "float32[2] instead of float32[3]"),
        ([RIGHT.astype(np.int32)], "int32[3] instead of float32[3]"),
        ([RIGHT, RIGHT], "2 outputs instead of 1"),
        ([np.array([1.0, np.nan, 4.0], np.float32)], "error inf, allowed 1e-03; not timed"),
    ],
)
def test_disagreement_is_reported_and_not_timed(
    outputs: list[Any], note: str, tmp_path: Path
) -> None:
    processes = {"wrong": FakeProcess(outputs), "right": FakeProcess([RIGHT])}
    result = compared(processes, tmp_path)
    assert (result.engines[0].status, result.engines[0].note) == ("disagrees", note)
    assert result.engines[1].status == "timed"
    assert processes["wrong"].turns == 0


def test_float64_reference_judges_float32(tmp_path: Path) -> None:
    result = compared({"a": FakeProcess([RIGHT])}, tmp_path, [RIGHT.astype(np.float64)])
    assert result.engines[0].status == "timed"


def test_integers_must_be_equal(tmp_path: Path) -> None:
    processes = {"a": FakeProcess([np.array([1, 2])])}
    result = compared(processes, tmp_path, [np.array([1, 3])])
    assert result.engines[0].status == "disagrees"


def test_without_reference_a_peer_judges_ranvier(tmp_path: Path) -> None:
    processes = {"ranvier": FakeProcess([RIGHT + np.float32(1)]), "peer": FakeProcess([RIGHT])}
    result = compared(processes, tmp_path, None)
    assert result.reference == "peer"
    assert [e.status for e in result.engines] == ["disagrees", "timed"]


@pytest.mark.parametrize(
    ("trouble", "status", "note"),
    [
        ("unavailable at prepare", "skipped", "not installed"),
        ("failed at prepare", "failed", "out of memory"),
        ("failed at outputs", "failed", "out of memory"),
        ("failed at turn", "failed", "out of memory"),
    ],
)
def test_one_engine_in_trouble_leaves_the_others(
    trouble: str, status: str, note: str, tmp_path: Path
) -> None:
    processes = {"bad": FakeProcess([RIGHT], trouble=trouble), "good": FakeProcess([RIGHT])}
    result = compared(processes, tmp_path)
    assert (result.engines[0].status, result.engines[0].note) == (status, note)
    assert result.engines[1].status == "timed"
