# SPDX-License-Identifier: MIT
"""Models that leave the types of inputs or outputs open, as some exporters do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from ranvier import Artifact, Session, compile
from ranvier.errors import InputError

pytestmark = pytest.mark.usefixtures("cache_folder")


def model(*, declare_input: bool) -> bytes:
    """Return ``y = relu(x)`` whose output has no shape, nor maybe its input."""
    shape = [2, 3] if declare_input else None
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y])
    opset = helper.make_opsetid("", 17)
    return bytes(helper.make_model(graph, opset_imports=[opset]).SerializeToString())


@pytest.mark.parametrize("declared", [True, False])
def test_they_run(declared: bool) -> None:
    session = Session(model(declare_input=declared))
    x = np.array([[1, -2, 3], [-4, 5, -6]], np.float32)
    (y,) = session.run(None, {"x": x})
    np.testing.assert_array_equal(y, np.maximum(x, 0))
    assert session.get_outputs()[0].type == "unknown"


def test_inputs_of_open_type_must_still_be_arrays() -> None:
    session = Session(model(declare_input=False))
    with pytest.raises(InputError, match="expected a NumPy array"):
        session.run(None, {"x": "no array"})


def test_artifacts_keep_it(tmp_path: Path) -> None:
    compile(model(declare_input=True)).save(tmp_path / "a")
    artifact = Artifact.load(tmp_path / "a")
    assert str(artifact.model.outputs[0]) == "?"
    (y,) = Session(artifact).run(None, {"x": np.ones((2, 3), np.float32)})
    assert y.shape == (2, 3)
