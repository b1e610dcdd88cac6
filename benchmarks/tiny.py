# SPDX-License-Identifier: MIT
"""A model whose run is nothing but overhead."""

from __future__ import annotations

from pathlib import Path

WIDTH = 16


def write_tiny(path: Path) -> Path:
    """Write the model ``y = x + x`` of 16 numbers; return the file."""
    from onnx import TensorProto, helper

    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [WIDTH]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "tiny", [x], [y])
    opsets = [helper.make_opsetid("", 20)]
    path.write_bytes(
        helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()
    )
    return path
