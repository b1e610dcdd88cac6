# SPDX-License-Identifier: MIT
"""The reference is exact, and kept."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from ranvier.benchmarks.cases import Case
from ranvier.benchmarks.exact import ExactInterpreter
from ranvier.benchmarks.reference import reference_of

CORE = min(os.sched_getaffinity(0))
W = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)


@pytest.fixture
def case(tmp_path: Path) -> Case:
    """A product in float32 of which one branch passes through integers."""
    nodes = [
        helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(W[0] / 3)),
        helper.make_node("MatMul", ["x", "w"], ["p"]),
        helper.make_node("Add", ["p", "c"], ["s"]),
        helper.make_node("Cast", ["k"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["s", "f"], ["m"]),
        helper.make_node("Constant", [], ["half"], value_float=0.5),
        helper.make_node("Constant", [], ["row"], value_floats=[1.0, 2.0, 3.0, 4.0]),
        helper.make_node("Mul", ["m", "half"], ["h"]),
        helper.make_node("Mul", ["h", "row"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "product",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3]),
            helper.make_tensor_value_info("k", TensorProto.INT64, [1]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 4])],
        [numpy_helper.from_array(W, "w")],
    )
    opsets = [helper.make_opsetid("", 20)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    (tmp_path / "product.onnx").write_bytes(model.SerializeToString())
    return Case("product", tmp_path / "product.onnx")


FEED = {"x": np.array([[0.1, 0.2, 0.3], [1e-4, 2, 3]], np.float32), "k": np.array([3])}


def expected() -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    x, w = FEED["x"].astype(np.float64), W.astype(np.float64)
    # The constant was divided in float32; that number is what the model holds.
    return np.asarray((x @ w + (W[0] / 3).astype(np.float64)) * 1.5 * np.arange(1.0, 5.0))


def test_interpreter_computes_in_float64(case: Case) -> None:
    (y,) = ExactInterpreter().prepare(case, 1)(FEED)
    assert y.dtype == np.float64
    np.testing.assert_allclose(y, expected(), rtol=1e-14)


def test_reference_is_kept_and_depends_on_inputs(case: Case, tmp_path: Path) -> None:
    feed, folder = tmp_path / "in.npz", tmp_path / "kept"
    np.savez(feed, allow_pickle=False, **FEED)
    name, outputs = reference_of(case, feed, [CORE], folder)
    assert name == "interpreter, float64"
    assert outputs is not None
    np.testing.assert_allclose(outputs[0], expected(), rtol=1e-14)
    (file,) = folder.iterdir()
    np.savez(file, np.array([7.0]))
    _, again = reference_of(case, feed, [CORE], folder)
    assert again is not None
    assert again[0].tolist() == [7.0]
    file.write_bytes(b"damaged")
    _, anew = reference_of(case, feed, [CORE], folder)
    assert anew is not None
    np.testing.assert_array_equal(anew[0], outputs[0])
    np.savez(feed, allow_pickle=False, x=FEED["x"] + 1, k=FEED["k"])
    _, other = reference_of(case, feed, [CORE], folder)
    assert other is not None
    assert not np.array_equal(other[0], outputs[0])
    assert len(list(folder.iterdir())) == 2
