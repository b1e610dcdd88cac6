# SPDX-License-Identifier: MIT
"""The small program as library, specialisation, artifact and folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ranvier.codegen.targets import parse_target
from ranvier.codegen.targets.base import LIBRARY
from ranvier.runtime import Artifact, ModelInfo, Specialisation, key_of
from ranvier.runtime.program import TensorSpec
from ranvier.runtime.stages import Result
from small_program import W, small_kernels, small_program, target_info


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shared library of :func:`small_program`."""
    folder = tmp_path_factory.mktemp("library")
    parse_target("cpu").build(small_program(), small_kernels(), folder)
    return folder / LIBRARY


@pytest.fixture
def specialisation(library: Path) -> Specialisation:
    """The program with everything it needs."""
    key = key_of([np.zeros((2, 3), np.float32)])
    results = (Result("e"), Result("z"))
    return Specialisation(key, small_program(), library, {"w": W}, "graph text", results)


@pytest.fixture
def model() -> ModelInfo:
    """The model that the program is a specialisation of."""
    rows = TensorSpec("x", "float32", ("N", 3))
    outputs = (TensorSpec("e", "float32", ("N", 3)), TensorSpec("z", "float32", ("N", 3)))
    return ModelInfo("small", (rows,), outputs)


@pytest.fixture
def artifact(model: ModelInfo, specialisation: Specialisation) -> Artifact:
    """An artifact in memory."""
    return Artifact(model, target_info(), [specialisation])


@pytest.fixture
def saved(artifact: Artifact, tmp_path: Path) -> Path:
    """The artifact's folder."""
    artifact.save(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def x() -> Any:
    """An input."""
    return np.arange(6, dtype=np.float32).reshape(2, 3) / 4
