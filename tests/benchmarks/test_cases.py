# SPDX-License-Identifier: MIT
"""Models are found with what lies beside them, and inputs fit them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from ranvier.benchmarks.cases import case_of, cases_in, feed_of, zoo_case
from ranvier.errors import InputError


def write_model(path: Path) -> Path:
    """Write a model that looks numbers up in a table of five rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["tokens"], ["rows"], to=TensorProto.INT64),
            helper.make_node("Gather", ["table", "rows"], ["found"]),
            helper.make_node("Mul", ["found", "x"], ["y"]),
            helper.make_node("Where", ["mask", "y", "x"], ["z"]),
        ],
        "lookup",
        [
            helper.make_tensor_value_info("tokens", TensorProto.INT32, [200]),
            helper.make_tensor_value_info("mask", TensorProto.BOOL, [200, 1]),
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [200, "width"]),
        ],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, [200, "width"])],
        [numpy_helper.from_array(np.ones((5, 3), np.float32), "table")],
    )
    path.write_bytes(helper.make_model(graph).SerializeToString())
    return path


def test_random_inputs_fit(tmp_path: Path) -> None:
    case = case_of(write_model(tmp_path / "lookup.onnx"), {"x": (200, 3)})
    feed = feed_of(case)
    assert {name: (str(a.dtype), a.shape) for name, a in feed.items()} == {
        "tokens": ("int32", (200,)),
        "mask": ("bool", (200, 1)),
        "x": ("float32", (200, 3)),
    }
    assert set(feed["tokens"]) == {0, 1, 2, 3, 4}
    assert np.array_equal(feed["x"], feed_of(case)["x"])
    assert not np.array_equal(feed["x"], feed_of(case, seed=1)["x"])


def test_open_size_is_asked_for(tmp_path: Path) -> None:
    case = case_of(write_model(tmp_path / "lookup.onnx"))
    with pytest.raises(InputError, match=r"input 'x' is 200xwidth; give its sizes with --shapes"):
        feed_of(case)


def test_inputs_beside_the_model_are_taken(tmp_path: Path) -> None:
    write_model(tmp_path / "one" / "model.onnx")
    np.savez(tmp_path / "one" / "inputs.npz", x=np.arange(3))
    write_model(tmp_path / "two.onnx")
    np.savez(tmp_path / "two.npz", x=np.arange(4))
    one, two = cases_in(tmp_path)
    assert (one.name, two.name) == ("one", "two")
    assert feed_of(one)["x"].tolist() == [0, 1, 2]
    assert feed_of(two)["x"].tolist() == [0, 1, 2, 3]


def test_missing_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such model"):
        case_of(tmp_path / "missing.onnx")


def test_models_of_the_zoo_need_no_file(tmp_path: Path) -> None:
    case = zoo_case("unet2d", tmp_path, {"size": 16, "width": 4})
    (image,) = feed_of(case).values()
    assert (case.name, image.shape) == ("unet2d", (1, 1, 16, 16))
