# SPDX-License-Identifier: MIT
"""Makes the two ONNX models of the demonstration: python tests/cli/make_demo_models.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, checker, helper, numpy_helper

FOLDER = Path(__file__).resolve().parents[2] / "cli" / "models"
SEED = 20240229


class Network:
    """Collects the nodes and weights of a network whose weights come from one seed."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.nodes: list[NodeProto] = []
        self.weights: list[TensorProto] = []
        self._random = np.random.default_rng(SEED)

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Append a node and return its result."""
        name = f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(
            helper.make_node(operator, inputs, [f"{name}.out"], name=name, **attributes)
        )
        return f"{name}.out"

    def weight(self, *shape: int, scale: float = 1.0, mean: float = 0.0) -> str:
        """Add a normal weight and return its name."""
        name = f"weight_{len(self.weights)}"
        values = mean + scale * self._random.standard_normal(shape)
        self.weights.append(numpy_helper.from_array(values.astype(np.float32), name))
        return name

    def convolution(self, x: str, before: int, after: int, **settings: int) -> str:
        """Append convolution, batch normalisation and rectifier."""
        size, groups = settings.get("size", 3), settings.get("groups", 1)
        fan_in = before // groups * size * size
        weight = self.weight(after, before // groups, size, size, scale=(2 / fan_in) ** 0.5)
        pad, stride = size // 2, settings.get("stride", 1)
        x = self.add("Conv", x, weight, pads=[pad] * 4, strides=[stride] * 2, group=groups)
        scale, bias = self.weight(after, scale=0.1, mean=1), self.weight(after, scale=0.1)
        mean = self.weight(after, scale=0.1)
        variance = self.weight(after, scale=0.05, mean=1)
        return self.add("Relu", self.add("BatchNormalization", x, scale, bias, mean, variance))

    def double(self, x: str, before: int, after: int) -> str:
        """Append two convolutions."""
        return self.convolution(self.convolution(x, before, after), after, after)

    def model(self, result: str, shape: list[int | str], description: str) -> ModelProto:
        """Return the network as a model with input ``image`` and output ``probabilities``."""
        self.nodes[-1].output[0] = "probabilities"
        assert result != "probabilities"
        single: list[int | str] = ["N", 1, "H", "W"] if len(shape) == 4 else ["N", 1, 128, 128]
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, single)
        output = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, shape)
        graph = helper.make_graph(
            self.nodes, self.name, [image], [output], self.weights, doc_string=description
        )
        opsets = [helper.make_opsetid("", 17)]
        model = helper.make_model(
            graph, opset_imports=opsets, ir_version=8, producer_name="ranvier demonstration"
        )
        checker.check_model(model, full_check=True)
        return model


def segmentation() -> ModelProto:
    """Return a small U-Net (Ronneberger, Fischer, Brox, MICCAI 2015) of four classes."""
    net = Network("segmentation")
    outer = net.double("image", 1, 8)
    middle = net.double(net.add("MaxPool", outer, kernel_shape=[2, 2], strides=[2, 2]), 8, 16)
    inner = net.double(net.add("MaxPool", middle, kernel_shape=[2, 2], strides=[2, 2]), 16, 32)
    up = net.add("ConvTranspose", inner, net.weight(32, 16, 2, 2, scale=0.18), strides=[2, 2])
    middle = net.double(net.add("Concat", up, middle, axis=1), 32, 16)
    up = net.add("ConvTranspose", middle, net.weight(16, 8, 2, 2, scale=0.25), strides=[2, 2])
    outer = net.double(net.add("Concat", up, outer, axis=1), 16, 8)
    logits = net.add("Conv", outer, net.weight(4, 8, 1, 1, scale=0.5), net.weight(4))
    return net.model(
        net.add("Softmax", logits, axis=1),
        ["N", 4, "H", "W"],
        "U-Net of three levels with random weights",
    )


def classification() -> ModelProto:
    """Return a small network of depthwise-separable convolutions (MobileNet, 2017)."""
    net = Network("classification")
    x = net.convolution("image", 1, 16, stride=2)
    for before, after in ((16, 32), (32, 64), (64, 96)):
        x = net.convolution(x, before, before, groups=before, stride=2)
        x = net.convolution(x, before, after, size=1)
    pooled = net.add("Flatten", net.add("GlobalAveragePool", x))
    logits = net.add("Gemm", pooled, net.weight(5, 96, scale=0.2), net.weight(5), transB=1)
    return net.model(
        net.add("Softmax", logits, axis=1),
        ["N", 5],
        "Depthwise-separable network with random weights",
    )


def models() -> dict[str, bytes]:
    """Return the models' files by name."""
    return {
        "segmentation.onnx": segmentation().SerializeToString(deterministic=True),
        "classification.onnx": classification().SerializeToString(deterministic=True),
    }


if __name__ == "__main__":
    for file_name, data in models().items():
        (FOLDER / file_name).write_bytes(data)
