# SPDX-License-Identifier: MIT
"""Writes ops that move elements: shapes, slices, pads, joins."""

from __future__ import annotations

import numpy as np

from ...ir import Node, TensorType, numpy_dtype, ops
from ..export import Exporter, Names, exporter

_FIRST = -(2**63)
"""A stop for negative steps that lies before the first element."""


@exporter(ops.Reshape)
def reshape(e: Exporter, op: ops.Reshape, node: Node, inputs: Names, outputs: Names) -> None:
    """Write the shape literally."""
    e.reshape(inputs[0], op.shape, outputs[0])


@exporter(ops.DropoutSite)
def dropout_site(
    e: Exporter, op: ops.DropoutSite, node: Node, inputs: Names, outputs: Names
) -> None:
    """Write a Dropout, which drops nothing unless a trainer says so."""
    ratio = e.constant(np.float32(op.ratio))
    e.node("Dropout", [inputs[0], ratio], outputs)


@exporter(ops.Transpose)
def transpose(e: Exporter, op: ops.Transpose, node: Node, inputs: Names, outputs: Names) -> None:
    """Write a permutation of the axes; of none, which protobuf cannot say, as nothing."""
    if op.permutation:
        e.node("Transpose", inputs, outputs, perm=list(op.permutation))
    else:
        e.node("Identity", inputs, outputs)


@exporter(ops.BroadcastTo)
def broadcast_to(
    e: Exporter, op: ops.BroadcastTo, node: Node, inputs: Names, outputs: Names
) -> None:
    """Write an Expand."""
    e.node("Expand", [inputs[0], e.ints(op.shape)], outputs)


@exporter(ops.Slice)
def slice_(e: Exporter, op: ops.Slice, node: Node, inputs: Names, outputs: Names) -> None:
    """Write a slice of every axis."""
    stops = [_FIRST if stop < 0 else stop for stop in op.stops]
    axes = range(len(op.starts))
    bounds = [e.ints(op.starts), e.ints(stops), e.ints(axes), e.ints(op.steps)]
    e.node("Slice", [inputs[0], *bounds], outputs)


@exporter(ops.Reverse)
def reverse(e: Exporter, op: ops.Reverse, node: Node, inputs: Names, outputs: Names) -> None:
    """Write slices with step -1."""
    count = len(op.axes)
    bounds = [e.ints([-1] * count), e.ints([_FIRST] * count), e.ints(op.axes), e.ints([-1] * count)]
    e.node("Slice", [inputs[0], *bounds], outputs)


@exporter(ops.Pad)
def pad(e: Exporter, op: ops.Pad, node: Node, inputs: Names, outputs: Names) -> None:
    """Write a Pad; cropping, which comes first, as a Slice."""
    type = node.inputs[0].type
    assert isinstance(type, TensorType)
    source = inputs[0]
    if min((*op.low, *op.high), default=0) < 0:
        starts = [max(0, -n) for n in op.low]
        stops = [size - max(0, -n) for size, n in zip(type.dims, op.high, strict=True)]
        source = e.then("Slice", source, e.ints(starts), e.ints(stops), e.ints(range(type.rank)))
    pads = e.ints([max(0, n) for n in (*op.low, *op.high)])
    operands = [source, pads]
    if op.mode == "constant":
        operands.append(e.constant(np.asarray(op.value, numpy_dtype(type.dtype))))
    if op.mode == "wrap" and e.opset < 19:
        raise op.error("mode 'wrap' needs opset 19")
    e.node("Pad", operands, outputs, mode=op.mode)


@exporter(ops.Concat)
def concat(e: Exporter, op: ops.Concat, node: Node, inputs: Names, outputs: Names) -> None:
    """Write a join along an axis."""
    e.node("Concat", inputs, outputs, axis=op.axis)


@exporter(ops.Iota)
def iota(e: Exporter, op: ops.Iota, node: Node, inputs: Names, outputs: Names) -> None:
    """Write the numbers as a constant of one axis, expanded to the shape."""
    line = [1] * len(op.shape)
    if line:
        line[op.axis] = op.shape[op.axis]
    numbers = np.arange(int(np.prod(line)), dtype=np.int64).astype(numpy_dtype(op.dtype))
    e.node("Expand", [e.constant(numbers.reshape(line)), e.ints(op.shape)], outputs)
