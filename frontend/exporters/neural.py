# SPDX-License-Identifier: MIT
"""Writes products, convolutions, pools and resampling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...ir import Node, TensorType, numpy_dtype, ops
from ..export import Exporter, Names, exporter

_END = 2**63 - 1
"""A stop of slices behind the last element."""


def _dims(node: Node, operand: int) -> tuple[int, ...]:
    type = node.inputs[operand].type
    assert isinstance(type, TensorType)
    return type.dims


def _dtype(node: Node, operand: int = 0) -> str:
    type = node.inputs[operand].type
    assert isinstance(type, TensorType)
    return type.dtype


@exporter(ops.MatMul)
def mat_mul(e: Exporter, op: ops.MatMul, node: Node, inputs: Names, outputs: Names) -> None:
    """Write a product; one with a wider result is ONNX's integer product."""
    e.node(_integer(op, node, "MatMul"), inputs, outputs)


def _integer(op: Any, node: Node, name: str) -> str:
    if op.accumulate is None or op.accumulate == _dtype(node):
        return name
    if op.accumulate == "int32" and _dtype(node) in ("int8", "uint8"):
        return f"{name}Integer"
    raise op.error(f"ONNX has no {name} of {_dtype(node)} that gives {op.accumulate}")


@exporter(ops.Einsum)
def einsum(e: Exporter, op: ops.Einsum, node: Node, inputs: Names, outputs: Names) -> None:
    """Write Einstein's summation."""
    e.node("Einsum", inputs, outputs, equation=op.equation)


@exporter(ops.Conv)
def conv(e: Exporter, op: ops.Conv, node: Node, inputs: Names, outputs: Names) -> None:
    """Write a convolution; spread data and cropping become ops of their own."""
    x = _spread(e, inputs[0], _dims(node, 0), op.input_dilation)
    x = _crop(e, x, op.low, op.high)
    e.node(
        _integer(op, node, "Conv"),
        [x, *inputs[1:]],
        outputs,
        strides=list(op.strides),
        dilations=list(op.dilation),
        pads=[max(0, n) for n in (*op.low, *op.high)],
        group=op.groups,
        kernel_shape=list(_dims(node, 1)[2:]),
    )


def _spread(e: Exporter, x: str, dims: Sequence[int], dilation: Sequence[int]) -> str:
    """Put ``dilation - 1`` zeros between the elements of each spatial axis."""
    if all(d == 1 for d in dilation):
        return x
    lead, sizes = list(dims[:2]), list(dims[2:])
    rows = [n for size in sizes for n in (size, 1)]
    wide = [n for d in dilation for n in (0, d - 1)]
    x = e.then("Reshape", x, e.ints([*lead, *rows]))
    x = e.then("Pad", x, e.ints([0] * (2 + len(rows)) + [0, 0, *wide]))
    whole = [n * d for n, d in zip(sizes, dilation, strict=True)]
    x = e.then("Reshape", x, e.ints([*lead, *whole]))
    kept = [(n - 1) * d + 1 for n, d in zip(sizes, dilation, strict=True)]
    axes = range(2, 2 + len(sizes))
    return e.then("Slice", x, e.ints([0] * len(sizes)), e.ints(kept), e.ints(axes))


def _crop(e: Exporter, x: str, low: Sequence[int], high: Sequence[int]) -> str:
    if min((*low, *high), default=0) >= 0:
        return x
    starts = [max(0, -n) for n in low]
    stops = [min(0, n) or _END for n in high]
    return e.then("Slice", x, e.ints(starts), e.ints(stops), e.ints(range(2, 2 + len(starts))))


@exporter(ops.ConvTranspose)
def conv_transpose(
    e: Exporter, op: ops.ConvTranspose, node: Node, inputs: Names, outputs: Names
) -> None:
    """Write a transposed convolution; padding that adds becomes output padding."""
    if min(op.low, default=0) < 0 or any(-n >= s for n, s in zip(op.high, op.strides, strict=True)):
        e.expand(node, inputs, outputs)
        return
    e.node(
        "ConvTranspose",
        inputs,
        outputs,
        strides=list(op.strides),
        dilations=list(op.dilation),
        pads=[*op.low, *(max(0, n) for n in op.high)],
        output_padding=[max(0, -n) for n in op.high],
        group=op.groups,
        kernel_shape=list(_dims(node, 1)[2:]),
    )


def _window(op: Any) -> dict[str, Any]:
    return {
        "kernel_shape": list(op.window),
        "strides": list(op.strides),
        "pads": [*op.low, *op.high],
    }


@exporter(ops.MaxPool, ops.MaxPoolWithIndices)
def max_pool(e: Exporter, op: Any, node: Node, inputs: Names, outputs: Names) -> None:
    """Write a maximum over windows; padding must be smaller than the window in ONNX."""
    _require_plain(op, (*op.low, *op.high), op.window)
    order = int(getattr(op, "column_major", False)) or None
    attributes = {**_window(op), "dilations": list(op.dilation), "storage_order": order}
    e.node("MaxPool", inputs, outputs, **attributes)


def _require_plain(op: Any, pads: Sequence[int], window: Sequence[int]) -> None:
    if min(pads, default=0) < 0 or any(
        p >= w for p, w in zip(pads, [*window, *window], strict=True)
    ):
        raise op.error(f"ONNX pools have padding below the window's size, found {list(pads)}")


@exporter(ops.AveragePool)
def average_pool(
    e: Exporter, op: ops.AveragePool, node: Node, inputs: Names, outputs: Names
) -> None:
    """Write a mean over windows, or its expansion where ONNX cannot say it."""
    dilated = any(d != 1 for d in op.dilation)
    if any(op.excess) or (dilated and e.opset < 19) or min((*op.low, *op.high), default=0) < 0:
        e.expand(node, inputs, outputs)
        return
    dilations = list(op.dilation) if dilated else None
    count = int(op.count_include_pad)
    attributes = {**_window(op), "dilations": dilations, "count_include_pad": count}
    e.node("AveragePool", inputs, outputs, **attributes)


@exporter(ops.WindowSum)
def window_sum(e: Exporter, op: ops.WindowSum, node: Node, inputs: Names, outputs: Names) -> None:
    """Write sums over windows as a convolution of every channel with ones."""
    dims, dtype = _dims(node, 0), _dtype(node)
    type = node.outputs[0].type
    assert isinstance(type, TensorType)
    single = e.then("Reshape", inputs[0], e.ints([dims[0] * dims[1], 1, *dims[2:]]))
    x = _spread(e, single, (dims[0] * dims[1], 1, *dims[2:]), op.input_dilation)
    x = _crop(e, x, op.low, op.high)
    ones = e.constant(np.ones((1, 1, *op.window), numpy_dtype(dtype)))
    pads = [max(0, n) for n in (*op.low, *op.high)]
    attributes: dict[str, Any] = {
        "strides": list(op.strides),
        "dilations": list(op.dilation),
        "pads": pads,
    }
    sums = e.then("Conv", x, ones, **attributes)
    e.node("Reshape", [sums, e.ints(type.dims)], outputs)


@exporter(ops.Resample)
def resample(e: Exporter, op: ops.Resample, node: Node, inputs: Names, outputs: Names) -> None:
    """Write weighted sums of slices: gather, multiply, add up."""
    x, indices, weights = inputs
    rank, taps = len(_dims(node, 0)), _dims(node, 1)
    slices = e.then("Gather", x, indices, axis=op.axis)
    shape = [*taps, *([1] * (rank - op.axis - 1))]
    scaled = e.then("Mul", slices, e.then("Reshape", weights, e.ints(shape)))
    e.node("ReduceSum", [scaled, e.ints([op.axis + 1])], outputs, keepdims=0)


@exporter(ops.GridSample, since=16)
def grid_sample(e: Exporter, op: ops.GridSample, node: Node, inputs: Names, outputs: Names) -> None:
    """Write sampling at points; the modes were renamed, and 3-D allowed, at opset 20."""
    if e.opset < 20 and len(_dims(node, 0)) != 4:
        raise op.error("sampling of volumes needs opset 20")
    old = {"linear": "bilinear", "cubic": "bicubic"}
    mode = op.mode if e.opset >= 20 else old.get(op.mode, op.mode)
    attributes: dict[str, Any] = {"mode": mode, "padding_mode": op.padding}
    attributes["align_corners"] = int(op.align_corners)
    e.node("GridSample", inputs, outputs, **attributes)


@exporter(ops.DeformConv, since=19)
def deform_conv(e: Exporter, op: ops.DeformConv, node: Node, inputs: Names, outputs: Names) -> None:
    """Write a deformable convolution; ONNX's bias comes before the mask and is absent here."""
    operands = [*inputs[:3], "", inputs[3]] if len(inputs) > 3 else inputs
    e.node(
        "DeformConv",
        operands,
        outputs,
        strides=list(op.strides),
        dilations=list(op.dilation),
        pads=[*op.low, *op.high],
        group=op.groups,
        offset_group=op.offset_groups,
        kernel_shape=list(_dims(node, 1)[2:]),
    )
