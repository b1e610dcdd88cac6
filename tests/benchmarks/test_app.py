# SPDX-License-Identifier: MIT
"""The command line says what is wrong with it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from ranvier.benchmarks import report_json
from ranvier.benchmarks.app import commands
from ranvier.benchmarks.results import CaseResult, EngineResult, Report
from ranvier.benchmarks.tables import comparison_row
from ranvier.errors import InputError


def test_nothing_to_measure_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANVIER_BENCH_MODELS", raising=False)
    result = CliRunner().invoke(commands, ["compare"], standalone_mode=False)
    assert isinstance(result.exception, InputError)
    assert "set RANVIER_BENCH_MODELS to a folder of them" in str(result.exception)


def test_unknown_engine_is_a_usage_error() -> None:
    result = CliRunner().invoke(commands, ["compare", "x.onnx", "--engine", "tvm"])
    assert result.exit_code == 2
    assert "'onnxruntime'" in result.output


def test_page_is_made_of_earlier_results(tmp_path: Path) -> None:
    results, page = tmp_path / "results.json", tmp_path / "results.html"
    report_json.write(Report("now", {"processor": "any"}), results)
    outcome = CliRunner().invoke(commands, ["page", str(results), str(page), "--json"])
    assert outcome.exit_code == 0, outcome.output
    assert json.loads(outcome.output) == {"page": str(page)}
    assert "<td>any</td>" in page.read_text(encoding="utf-8")


def test_row_of_an_engine() -> None:
    ours, theirs = [[0.001], [0.003], None], [[0.002], [0.006], [0.002]]
    engines = [
        EngineResult("ranvier", "timed", "", 1e-6, ours, ours),
        EngineResult("onnxruntime", "timed", "", 2e-6, theirs, theirs),
    ]
    result = CaseResult("a", 1, [0], "reference", [0.0, 0.0], engines)
    assert comparison_row(engines[0], result) == (
        "ranvier",
        "2.000",
        "1.000",
        "2.000",
        "2.00x (2.00 to 2.00)",
        "2.00x",
        "2.00x",
        "1.0e-06",
        "100%",
        "2 of 3 rounds",
    )
