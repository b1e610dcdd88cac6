# SPDX-License-Identifier: MIT
"""A small model, and a way to call the program as from a shell."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from ranvier.cli.app import execute


@dataclass(frozen=True)
class Done:
    """What a command line left behind."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """What it printed, as JSON."""
        return json.loads(self.out)


Call = Callable[..., Done]


@pytest.fixture
def ranvier(capsys: pytest.CaptureFixture[str], cache_folder: Path) -> Call:
    """A function that runs ``ranvier`` with the given words."""

    def call(*words: object) -> Done:
        capsys.readouterr()
        code = execute([str(word) for word in words])
        captured = capsys.readouterr()
        return Done(code, captured.out, captured.err)

    return call


W = np.linspace(0.5, 1.5, 100, dtype=np.float32)


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of two operators with a dynamic axis and a weight too large for a text."""
    nodes = [
        helper.make_node("Relu", ["x"], ["t"], name="first"),
        helper.make_node("LayerNormalization", ["t", "w", "w"], ["y"], name="second"),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 100])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 100])],
        [numpy_helper.from_array(W, "w")],
    )
    path = tmp_path_factory.mktemp("model") / "small.onnx"
    opsets = [helper.make_opsetid("", 20)]
    proto = helper.make_model(graph, opset_imports=opsets, ir_version=10, producer_name="tests")
    path.write_bytes(proto.SerializeToString())
    return path


@pytest.fixture(scope="session")
def staged_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose second half has shapes that depend on data: the exponentials of what is > 0."""
    nodes = [
        helper.make_node("Relu", ["x"], ["t"], name="first"),
        helper.make_node("NonZero", ["t"], ["places"], name="places"),
        helper.make_node("Transpose", ["places"], ["rows"], name="turn"),
        helper.make_node("GatherND", ["t", "rows"], ["found"], name="find"),
        helper.make_node("Exp", ["found"], ["y"], name="last"),
    ]
    graph = helper.make_graph(
        nodes,
        "staged",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 100])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["K"])],
    )
    path = tmp_path_factory.mktemp("model") / "staged.onnx"
    opsets = [helper.make_opsetid("", 20)]
    proto = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    path.write_bytes(proto.SerializeToString())
    return path


@pytest.fixture
def x() -> Any:
    return np.random.default_rng(0).standard_normal((2, 100)).astype(np.float32)


@pytest.fixture
def inputs(tmp_path: Path, x: Any) -> Path:
    """A file of inputs for the model."""
    np.savez(tmp_path / "inputs.npz", x=x)
    return tmp_path / "inputs.npz"


@pytest.fixture
def y(x: Any) -> Any:
    """What the model gives for ``x``."""
    t = np.maximum(x, 0).astype(np.float64)
    t = (t - t.mean(1, keepdims=True)) / np.sqrt(t.var(1, keepdims=True) + 1e-5)
    return (t * W + W).astype(np.float32)
