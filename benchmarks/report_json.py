# SPDX-License-Identifier: MIT
"""Reports as JSON files: written whole or not at all, and read back equal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ranvier.errors import InputError
from ranvier.runtime.atomic import atomic_file

from .results import (
    CaseResult,
    EngineResult,
    LearningResult,
    LearningRun,
    MemoryResult,
    Peaks,
    Report,
    Roofline,
    StartupResult,
    StepTime,
)

FORMAT = 1


def to_json(report: Report) -> dict[str, Any]:
    """Return a report as JSON types."""
    return {"format": FORMAT, **asdict(report)}


def write(report: Report, path: Path) -> None:
    """Write a report to a file."""
    text = json.dumps(to_json(report), indent=1, allow_nan=False)
    with atomic_file(path) as file:
        file.write(text.encode())


def read(path: Path) -> Report:
    """Return the report of a file.

    Raises:
        InputError: it is no report, or one of another format.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] != FORMAT:
            raise InputError(f"{path}: format {data['format']}, expected {FORMAT}")
        return from_json(data)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: is no report of benchmarks ({error})") from error


def from_json(data: Mapping[str, Any]) -> Report:
    """Return the report of :func:`to_json`, after JSON has made lists of tuples."""
    peaks = data["peaks"]
    return Report(
        made=data["made"],
        machine=data["machine"],
        comparisons=[_case(item) for item in data["comparisons"]],
        training=[_case(item) for item in data.get("training", [])],
        learning=[_learning(item) for item in data.get("learning", [])],
        overhead=[_case(item) for item in data["overhead"]],
        memory=[MemoryResult(**item) for item in data["memory"]],
        startup=[StartupResult(**item) for item in data["startup"]],
        peaks=None if peaks is None else Peaks(**peaks),
        rooflines=[_roofline(item) for item in data["rooflines"]],
        left_out=data["left_out"],
    )


def _case(data: Mapping[str, Any]) -> CaseResult:
    engines = [EngineResult(**item) for item in data["engines"]]
    return CaseResult(**{**data, "engines": engines})


def _learning(data: Mapping[str, Any]) -> LearningResult:
    runs = [LearningRun(**item) for item in data["runs"]]
    return LearningResult(**{**data, "runs": runs})


def _roofline(data: Mapping[str, Any]) -> Roofline:
    return Roofline(data["case"], [StepTime(**item) for item in data["steps"]])
