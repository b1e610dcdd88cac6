# SPDX-License-Identifier: MIT
"""Models as exporters write them, compiled, against reference outputs of another framework."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from corpus import feeds, needs_corpus, path_of, rows
from ranvier.compiler import Session

pytestmark = pytest.mark.usefixtures("cache_folder")


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


@needs_corpus
def test_corpus_is_whole() -> None:
    assert len(rows()) == 22


@pytest.mark.parametrize("row", rows(), ids=lambda row: str(row["name"]))
def test_model(row: dict[str, Any]) -> None:
    """One session serves both pairs, whose shapes differ; every node runs compiled."""
    session = Session(path_of(row))
    for pair in (0, 1):
        inputs, expected = feeds(row, pair)
        names = [output.name for output in session.get_outputs()]
        for name, found in zip(names, session.run(None, inputs), strict=True):
            compare(row, name, found, expected[name])
    hosted = [
        step for s in session.artifact.specialisations() for _, step in s.program.host_steps()
    ]
    assert not hosted, f"{len(hosted)} nodes ran on the host"
