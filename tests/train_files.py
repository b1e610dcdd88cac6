# SPDX-License-Identifier: MIT
"""A tiny model and tiny data to train it on, as files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

COUNT = 24


def write_model(path: Path, batch: str | int = "N") -> Path:
    """Write a convolution, a batch norm and a linear layer over images of 1 x 6 x 6."""
    rng = np.random.default_rng(0)
    weights = {
        "conv.weight": rng.standard_normal((4, 1, 3, 3)) * 0.3,
        "norm.scale": np.ones(4),
        "norm.shift": np.zeros(4),
        "norm.mean": np.zeros(4),
        "norm.var": np.ones(4),
        "fc.weight": rng.standard_normal((4, 2)) * 0.3,
        "fc.bias": np.zeros(2),
    }
    norm = ["a", "norm.scale", "norm.shift", "norm.mean", "norm.var"]
    nodes = [
        helper.make_node("Conv", ["x", "conv.weight"], ["a"], pads=[1, 1, 1, 1], name="conv"),
        helper.make_node("BatchNormalization", norm, ["b"], name="norm"),
        helper.make_node("Relu", ["b"], ["c"], name="relu"),
        helper.make_node("GlobalAveragePool", ["c"], ["d"], name="pool"),
        helper.make_node("Flatten", ["d"], ["e"], name="flat"),
        helper.make_node("Gemm", ["e", "fc.weight", "fc.bias"], ["scores"], name="fc"),
    ]
    values = {"x": [batch, 1, 6, 6], "scores": [batch, 2]}
    return save(path, nodes, values, weights)


def write_segmenter(path: Path) -> Path:
    """Write two convolutions, from images of one channel to scores of two classes."""
    rng = np.random.default_rng(0)
    weights = {
        "first": rng.standard_normal((4, 1, 3, 3)) * 0.3,
        "last": rng.standard_normal((2, 4, 1, 1)),
    }
    nodes = [
        helper.make_node("Conv", ["x", "first"], ["a"], pads=[1, 1, 1, 1], name="first"),
        helper.make_node("Relu", ["a"], ["b"], name="relu"),
        helper.make_node("Conv", ["b", "last"], ["scores"], name="last"),
    ]
    return save(path, nodes, {"x": ["N", 1, "H", "W"], "scores": ["N", 2, "H", "W"]}, weights)


def save(path: Path, nodes: list[Any], values: dict[str, Any], weights: dict[str, Any]) -> Path:
    """Write a model whose first value is its input and whose last is its output."""
    types = [helper.make_tensor_value_info(k, TensorProto.FLOAT, s) for k, s in values.items()]
    arrays = [numpy_helper.from_array(a.astype(np.float32), k) for k, a in weights.items()]
    graph = helper.make_graph(nodes, "tiny", types[:1], types[1:], arrays)
    opsets = [helper.make_opsetid("", 20)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    path.write_bytes(model.SerializeToString())
    return path


def write_data(path: Path, count: int = COUNT, **changed: Any) -> Path:
    """Write images of which one half is brighter at the edge, the other in the middle."""
    rng = np.random.default_rng(1)
    label = np.arange(count) % 2
    image = rng.standard_normal((count, 1, 6, 6)).astype(np.float32)
    image[label == 1] *= 3
    fields = {"image": image, "label": label, **changed}
    np.savez(path, **{k: a for k, a in fields.items() if a is not None})
    return path
