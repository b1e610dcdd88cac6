# SPDX-License-Identifier: MIT
"""Writes composite ops that ONNX has an operator for; older opsets get their expansion."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...ir import Node, TensorType, numpy_dtype, ops
from ..export import Exporter, Names, exporter, onnx_dtype


def _direct(kind: Any, type: str, since: int = 13, **names: str) -> None:
    """Register an exporter that renames attributes: ONNX name to field."""

    def write(e: Exporter, op: Any, node: Node, inputs: Names, outputs: Names) -> None:
        values = {k: getattr(op, field) for k, field in names.items()}
        e.node(type, inputs, outputs, **values)

    exporter(kind, since=since)(write)


_direct(ops.Celu, "Celu", alpha="alpha")
_direct(ops.Elu, "Elu", alpha="alpha")
_direct(ops.Gelu, "Gelu", 20, approximate="approximate")
_direct(ops.HardSigmoid, "HardSigmoid", alpha="alpha", beta="beta")
_direct(ops.HardSwish, "HardSwish", 14)
_direct(ops.LeakyRelu, "LeakyRelu", alpha="alpha")
_direct(ops.Mish, "Mish", 18)
_direct(ops.PRelu, "PRelu")
_direct(ops.Selu, "Selu", alpha="alpha", gamma="gamma")
_direct(ops.Shrink, "Shrink", lambd="threshold", bias="bias")
_direct(ops.Softplus, "Softplus")
_direct(ops.Softsign, "Softsign")
_direct(ops.Swish, "Swish", 24, alpha="alpha")
_direct(ops.ThresholdedRelu, "ThresholdedRelu", alpha="alpha")
_direct(ops.Softmax, "Softmax", axis="axis")
_direct(ops.LogSoftmax, "LogSoftmax", axis="axis")
_direct(ops.Hardmax, "Hardmax", axis="axis")
_direct(ops.BatchNorm, "BatchNormalization", epsilon="epsilon")
_direct(ops.InstanceNorm, "InstanceNormalization", epsilon="epsilon")
_direct(ops.LpNorm, "LpNormalization", axis="axis", p="p")


@exporter(ops.GroupNorm)
def group_norm(e: Exporter, op: ops.GroupNorm, node: Node, inputs: Names, outputs: Names) -> None:
    """Write a group normalisation, before opset 21 as PyTorch does: by one of instances."""
    if e.opset >= 21:
        e.node("GroupNormalization", inputs, outputs, num_groups=op.groups, epsilon=op.epsilon)
        return
    x = node.inputs[0].type
    assert isinstance(x, TensorType)
    if 0 in x.dims:
        e.expand(node, inputs, outputs)
        return
    dtype = numpy_dtype(x.dtype)
    rows = e.then("Reshape", inputs[0], e.ints((x.dims[0], op.groups, -1)))
    ones, zeros = (e.constant(make(op.groups, dtype)) for make in (np.ones, np.zeros))
    normal = e.then("InstanceNormalization", rows, ones, zeros, epsilon=op.epsilon)
    whole = e.then("Reshape", normal, e.ints(x.dims))
    column = e.ints((-1, *(1 for _ in x.dims[2:])))
    scale, bias = (e.then("Reshape", name, column) for name in inputs[1:])
    e.node("Add", [e.then("Mul", whole, scale), bias], outputs)


@exporter(ops.LayerNorm, since=17)
def layer_norm(e: Exporter, op: ops.LayerNorm, node: Node, inputs: Names, outputs: Names) -> None:
    """Write a layer normalisation whose scale covers just the normalised axes."""
    if not _trailing(node, op.axis):
        e.expand(node, inputs, outputs)
        return
    e.node("LayerNormalization", inputs, outputs, axis=op.axis, epsilon=op.epsilon)


@exporter(ops.RmsNorm, since=23)
def rms_norm(e: Exporter, op: ops.RmsNorm, node: Node, inputs: Names, outputs: Names) -> None:
    """Write a root mean square normalisation."""
    e.node("RMSNormalization", inputs, outputs, axis=op.axis, epsilon=op.epsilon)


def _trailing(node: Node, axis: int) -> bool:
    x, *others = (v.type for v in node.inputs)
    assert isinstance(x, TensorType)
    shape = x.shape[axis:]
    return all(isinstance(t, TensorType) and t.shape == shape for t in others)


@exporter(ops.Quantize)
def quantize(e: Exporter, op: ops.Quantize, node: Node, inputs: Names, outputs: Names) -> None:
    """Write a quantisation with its zero point, which names the result's type."""
    if op.block and e.opset < 21:
        raise op.error("blocks of scales need opset 21")
    operands = list(inputs)
    if len(operands) == 2:
        scale = node.inputs[1].type
        assert isinstance(scale, TensorType)
        zero = e.scalar(0, op.dtype)
        operands.append(e.then("Expand", zero, e.ints(scale.dims)) if scale.rank else zero)
    attributes: dict[str, Any] = {"axis": op.axis, "block_size": op.block or None}
    if e.opset >= 19 and not op.saturate:
        attributes["saturate"] = 0
    if op.precision and e.opset >= 23:
        attributes["precision"] = onnx_dtype(op.precision)
    e.node("QuantizeLinear", operands, outputs, **attributes)


@exporter(ops.Dequantize)
def dequantize(e: Exporter, op: ops.Dequantize, node: Node, inputs: Names, outputs: Names) -> None:
    """Write a dequantisation."""
    if op.block and e.opset < 21:
        raise op.error("blocks of scales need opset 21")
    result, scale = (v.type for v in (node.outputs[0], node.inputs[1]))
    assert isinstance(result, TensorType)
    assert isinstance(scale, TensorType)
    attributes: dict[str, Any] = {"axis": op.axis, "block_size": op.block or None}
    if result.dtype != scale.dtype:
        if e.opset < 23:
            e.expand(node, inputs, outputs)
            return
        attributes["output_dtype"] = onnx_dtype(result.dtype)
    e.node("DequantizeLinear", inputs, outputs, **attributes)
