# SPDX-License-Identifier: MIT
"""Writes reductions, whose axes became an operand at opset 13 (sum) and 18 (the others)."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...ir import Node, TensorType, numpy_dtype, ops
from ..export import Exporter, Names, exporter

_NAMES: dict[type[ops.ReduceSum], str] = {
    getattr(ops, n): n
    for n in (
        "ReduceSum",
        "ReduceMax",
        "ReduceMin",
        "ReduceProd",
        "ReduceMean",
        "ReduceL1",
        "ReduceL2",
        "ReduceLogSum",
        "ReduceLogSumExp",
        "ReduceSumSquare",
    )
}


@exporter(*_NAMES)
def reduce(e: Exporter, op: Any, node: Node, inputs: Names, outputs: Names) -> None:
    """Write a reduction whose axes are removed."""
    name = _NAMES[type(op)]
    type_ = node.inputs[0].type
    assert isinstance(type_, TensorType)
    if type_.size == 0 and name in ("ReduceMax", "ReduceMin"):
        # What operators of older opsets give for nothing is undefined.
        empty = np.zeros(type_.dims, numpy_dtype(type_.dtype))
        e.node("Identity", [e.constant(op.evaluate(empty)[0])], outputs)
        return
    if not op.axes and name in ("ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceMean"):
        e.node("Identity", inputs, outputs)
    elif not op.axes:
        raise op.error("reduces no axis, which ONNX would take for all of them")
    elif e.opset >= (13 if name == "ReduceSum" else 18):
        e.node(name, [inputs[0], e.ints(op.axes)], outputs, keepdims=0)
    else:
        e.node(name, inputs, outputs, keepdims=0, axes=list(op.axes))


@exporter(ops.ArgMax)
def argmax(e: Exporter, op: ops.ArgMax, node: Node, inputs: Names, outputs: Names) -> None:
    """Write the position of the maximum."""
    e.node("ArgMax", inputs, outputs, axis=op.axis, keepdims=0, select_last_index=int(op.last))


@exporter(ops.ArgMin)
def argmin(e: Exporter, op: ops.ArgMin, node: Node, inputs: Names, outputs: Names) -> None:
    """Write the position of the minimum."""
    e.node("ArgMin", inputs, outputs, axis=op.axis, keepdims=0, select_last_index=int(op.last))


@exporter(ops.CumSum)
def cumsum(e: Exporter, op: ops.CumSum, node: Node, inputs: Names, outputs: Names) -> None:
    """Write running sums."""
    _running(e, "CumSum", op, inputs, outputs)


@exporter(ops.CumProd, since=26)
def cumprod(e: Exporter, op: ops.CumProd, node: Node, inputs: Names, outputs: Names) -> None:
    """Write running products."""
    _running(e, "CumProd", op, inputs, outputs)


def _running(e: Exporter, name: str, op: Any, inputs: Names, outputs: Names) -> None:
    axis = e.scalar(op.axis, "int64")
    flags: dict[str, Any] = {"exclusive": int(op.exclusive), "reverse": int(op.reverse)}
    e.node(name, [inputs[0], axis], outputs, **flags)


@exporter(ops.TopK)
def top_k(e: Exporter, op: ops.TopK, node: Node, inputs: Names, outputs: Names) -> None:
    """Write the best elements and their positions."""
    flags: dict[str, Any] = {"largest": int(op.largest), "sorted": int(op.sorted)}
    e.node("TopK", [inputs[0], e.ints([op.k])], outputs, axis=op.axis, **flags)
