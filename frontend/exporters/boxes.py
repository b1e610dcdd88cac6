# SPDX-License-Identifier: MIT
"""Writes ops on boxes of images and on windows laid out as columns."""

from __future__ import annotations

from math import prod

import numpy as np

from ...ir import Node, TensorType, ops
from ..export import Exporter, Names, exporter


def _type(node: Node, operand: int) -> TensorType:
    type = node.inputs[operand].type
    assert isinstance(type, TensorType)
    return type


@exporter(ops.RoiAlign)
def roi_align(e: Exporter, op: ops.RoiAlign, node: Node, inputs: Names, outputs: Names) -> None:
    """Write a RoiAlign, which did not know half pixels before opset 16."""
    if op.half_pixel and e.opset < 16:
        raise op.error("half_pixel needs opset 16")
    images = inputs[2]
    if _type(node, 2).dtype != "int64":
        images = e.cast(images, "int64")
    transform = "half_pixel" if op.half_pixel else "output_half_pixel"
    e.node(
        "RoiAlign",
        [*inputs[:2], images],
        outputs,
        output_height=op.size[0],
        output_width=op.size[1],
        sampling_ratio=op.sampling_ratio,
        spatial_scale=op.spatial_scale,
        mode=op.mode,
        coordinate_transformation_mode=transform if e.opset >= 16 else None,
    )


@exporter(ops.MaxRoiPool)
def max_roi_pool(
    e: Exporter, op: ops.MaxRoiPool, node: Node, inputs: Names, outputs: Names
) -> None:
    """Write a maximum over the bins of boxes."""
    e.node(
        "MaxRoiPool",
        inputs,
        outputs,
        pooled_shape=list(op.size),
        spatial_scale=op.spatial_scale,
    )


@exporter(ops.NonMaxSuppression)
def non_max_suppression(
    e: Exporter, op: ops.NonMaxSuppression, node: Node, inputs: Names, outputs: Names
) -> None:
    """Write the choice of boxes; ONNX has it for float32 and one int64 limit."""
    wanted = ("float32", "float32", "int64", "float32", "float32")
    operands = []
    for k, (name, dtype) in enumerate(zip(inputs, wanted, strict=True)):
        found = _type(node, k).dtype
        if found == "float64":
            raise op.error(f"ONNX takes {dtype}, operand {k} is float64 and would lose precision")
        operands.append(name if found == dtype else e.cast(name, dtype))
    e.node("NonMaxSuppression", operands, outputs, center_point_box=int(op.center_point_box))


@exporter(ops.Col2Im, since=18)
def col2im(e: Exporter, op: ops.Col2Im, node: Node, inputs: Names, outputs: Names) -> None:
    """Write a sum of columns."""
    if min((*op.low, *op.high), default=0) < 0:
        raise op.error("ONNX has no columns of cropped data")
    e.node(
        "Col2Im",
        [inputs[0], e.ints(op.shape), e.ints(op.window)],
        outputs,
        strides=list(op.strides),
        dilations=list(op.dilation),
        pads=[*op.low, *op.high],
    )


@exporter(ops.Im2Col)
def im2col(e: Exporter, op: ops.Im2Col, node: Node, inputs: Names, outputs: Names) -> None:
    """Write a gather along each spatial axis, then bring the window's axes to the front."""
    n, c, *sizes = _type(node, 0).dims
    pads = [0, 0, *(max(0, p) for p in op.low), 0, 0, *(max(0, p) for p in op.high)]
    x = e.then("Pad", inputs[0], e.ints(pads)) if any(pads) else inputs[0]
    counts = op.positions(op, _type(node, 0))
    for k in range(len(sizes)):
        taps = np.arange(op.window[k])[:, None] * op.dilation[k]
        seen = np.arange(counts[k])[None, :] * op.strides[k]
        # Cropping moves the first element; every axis before has become two.
        indices = (taps + seen + max(0, -op.low[k])).astype(np.int64)
        x = e.then("Gather", x, e.constant(indices), axis=2 + 2 * k)
    rank = len(sizes)
    order = [0, 1, *range(2, 2 + 2 * rank, 2), *range(3, 3 + 2 * rank, 2)]
    x = e.then("Transpose", x, perm=order)
    e.reshape(x, (n, c * prod(op.window), prod(counts)), outputs[0])
