# SPDX-License-Identifier: MIT
"""An engine's process is pinned, answers, and its death is told."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest

from ranvier.benchmarks.cases import Case
from ranvier.benchmarks.processes import EngineFailed, engine_process
from ranvier.benchmarks.worker import case_from, case_to

CORE = min(os.sched_getaffinity(0))


def test_ranvier_runs_in_its_process(tmp_path: Path) -> None:
    model = Path(__file__).parents[2] / "cli" / "models" / "classification.onnx"
    np.savez(tmp_path / "in.npz", image=np.ones((1, 1, 128, 128), np.float32))
    with engine_process("ranvier", [CORE]) as process:
        case = case_to(Case("small", model))
        told = process.ask("prepare", case=case, feed=str(tmp_path / "in.npz"), threads=1)
        assert {"import_seconds", "prepare_seconds", "first_run_seconds"} < set(told)
        process.ask("outputs", path=str(tmp_path / "out.npz"))
        turn = process.ask("turn", seconds=0.0, most=5)
        assert len(turn["times"]) == 1
    with np.load(tmp_path / "out.npz") as found:
        assert found["arr_0"].dtype == np.float32


def test_process_is_pinned_and_parent_is_not() -> None:
    before = os.sched_getaffinity(0)
    with engine_process("ranvier", [CORE]) as process:
        assert os.sched_getaffinity(process.pid) == {CORE}
        assert os.sched_getaffinity(0) == before


def test_error_is_an_answer(tmp_path: Path) -> None:
    case = case_to(Case("none", tmp_path / "NotHere.onnx"))
    feed = tmp_path / "in.npz"
    np.savez(feed, x=np.ones(1))
    with (
        engine_process("ranvier", [CORE]) as process,
        pytest.raises(EngineFailed, match="NotHere"),
    ):
        process.ask("prepare", case=case, feed=str(feed), threads=1)


def test_death_is_told() -> None:
    with engine_process("ranvier", [CORE]) as process:
        os.kill(process.pid, signal.SIGKILL)
        with pytest.raises(EngineFailed, match="ended with code -9"):
            process.ask("turn", seconds=0.0, most=1)


def test_case_travels_as_json(tmp_path: Path) -> None:
    case = Case("a", tmp_path / "a.onnx", None, {"x": [1, 2]}, tmp_path)
    assert case_from(case_to(case)) == case
