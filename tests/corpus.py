# SPDX-License-Identifier: MIT
"""The corpus of ONNX models as exporters write them, with reference outputs.

It is looked for in the folder ``$RANVIER_CORPUS`` (default: ``../shared`` beside the
repository), in ``corpus/index.json``: one JSON object a line.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
CORPUS = Path(os.environ.get("RANVIER_CORPUS", ROOT.parent / "shared")) / "corpus"


def rows() -> list[dict[str, Any]]:
    """Return the corpus's index; empty where there is no corpus."""
    index = CORPUS / "index.json"
    if not index.is_file():
        return []
    return [json.loads(line) for line in index.read_text().splitlines()]


needs_corpus = pytest.mark.skipif(not rows(), reason=f"no corpus at {CORPUS}; set RANVIER_CORPUS")


def path_of(row: dict[str, Any]) -> Path:
    """Return the model's file."""
    return CORPUS / str(row["name"]) / "model.onnx"


def feeds(row: dict[str, Any], pair: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return inputs and expected outputs by name."""
    with np.load(CORPUS / row["name"] / f"pair{pair}.npz", allow_pickle=False) as data:
        arrays = {key: data[key] for key in data}
    inputs = {k.removeprefix("in."): a for k, a in arrays.items() if k.startswith("in.")}
    outputs = {k.removeprefix("out."): a for k, a in arrays.items() if k.startswith("out.")}
    return inputs, outputs
