# SPDX-License-Identifier: MIT
"""Models as exporters write them, compiled, against reference outputs of another framework.

The corpus is looked for in the folder ``$RANVIER_CORPUS`` (default: ``../shared`` beside the
repository), in ``corpus/index.json``: one JSON object a line.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ranvier.compiler import Session

ROOT = Path(__file__).parents[2]
CORPUS = Path(os.environ.get("RANVIER_CORPUS", ROOT.parent / "shared")) / "corpus"

pytestmark = pytest.mark.usefixtures("cache_folder")


def rows() -> list[dict[str, Any]]:
    """Return the corpus's index; empty where there is no corpus."""
    index = CORPUS / "index.json"
    if not index.is_file():
        return []
    return [json.loads(line) for line in index.read_text().splitlines()]


def compare(row: dict[str, Any], name: str, found: NDArray[Any], expected: NDArray[Any]) -> None:
    """Check an output by the corpus's rule: relative to the peak of the reference."""
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    if expected.dtype.kind != "f":
        np.testing.assert_array_equal(found, expected)
        return
    y, reference = found.astype(np.float64), expected.astype(np.float64)
    error = np.abs(y - reference).max() / np.abs(reference).max()
    assert error <= row["tolerance"]["max_rel_to_peak"], (row["name"], name, error)
    if "qdq" in row["name"]:
        assert np.corrcoef(y.ravel(), reference.ravel())[0, 1] >= 0.99


def feeds(row: dict[str, Any], pair: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return inputs and expected outputs by name."""
    with np.load(CORPUS / row["name"] / f"pair{pair}.npz", allow_pickle=False) as data:
        arrays = {key: data[key] for key in data}
    inputs = {k.removeprefix("in."): a for k, a in arrays.items() if k.startswith("in.")}
    outputs = {k.removeprefix("out."): a for k, a in arrays.items() if k.startswith("out.")}
    return inputs, outputs


@pytest.mark.skipif(not rows(), reason=f"no corpus at {CORPUS}; set RANVIER_CORPUS")
def test_corpus_is_whole() -> None:
    assert len(rows()) == 22


@pytest.mark.parametrize("row", rows(), ids=lambda row: str(row["name"]))
def test_model(row: dict[str, Any]) -> None:
    """One session serves both pairs, whose shapes differ; every node runs compiled."""
    session = Session(CORPUS / row["name"] / "model.onnx")
    for pair in (0, 1):
        inputs, expected = feeds(row, pair)
        names = [output.name for output in session.get_outputs()]
        for name, found in zip(names, session.run(None, inputs), strict=True):
            compare(row, name, found, expected[name])
    hosted = [
        step for s in session.artifact.specialisations() for _, step in s.program.host_steps()
    ]
    assert not hosted, f"{len(hosted)} nodes ran on the host"
