# SPDX-License-Identifier: MIT
"""A thousand and more damaged model files: each is refused with a typed error, or still works.

Each chunk runs in a process of its own, with limits on time and memory, so that a crash or a
hang is a failed test and not the end of the run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import mutate_models
import ranvier

ROOT = Path(ranvier.__path__[0])
CORPUS = Path(os.environ.get("RANVIER_CORPUS", ROOT.parent / "shared")) / "corpus"
EXPORTED = ("autoencoder_dynamo18", "mixedops_dynamo20", "oldcnn_ts9")
CHUNKS, CHUNK = 6, 250
SECONDS = 240
"""What a chunk may take; it takes a few seconds."""

EACH = 20.0
"""What one model may take, in seconds of processor time."""


def report_of(seed: int, count: int, files: list[str]) -> Any:
    """Try damaged models in a process of its own and return its report."""
    command = [sys.executable, mutate_models.__file__, str(seed), str(count), *files]
    done = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr[-4000:]
    report = json.loads(done.stdout)
    assert sum(report["outcomes"].values()) == count
    assert report["outcomes"]["ModelError"] > count / 4
    assert report["slowest"] < EACH
    return report


@pytest.mark.parametrize("seed", range(CHUNKS))
def test_damaged_models(seed: int) -> None:
    exported = [str(path) for name in EXPORTED if (path := CORPUS / name / "model.onnx").exists()]
    report_of(seed, CHUNK, exported)


def test_damaged_models_of_every_operator() -> None:
    report = report_of(0, 1500, ["operators"])
    assert report["outcomes"]["ok"] > 300


def test_undamaged_models_are_fine() -> None:
    assert [mutate_models.try_model(data) for data in mutate_models.small_models()] == ["ok"] * 6
