# SPDX-License-Identifier: MIT
"""Writes recurrent layers of one direction; what ONNX's operators lack is written as a loop."""

from __future__ import annotations

from typing import Any

from ...ir import Node, TensorType, ops
from ...ir.ops.recurrent import Recurrent
from ..export import Exporter, Names, exporter


@exporter(ops.Lstm)
def lstm(e: Exporter, op: ops.Lstm, node: Node, inputs: Names, outputs: Names) -> None:
    """Write an LSTM; coupled gates, which other runtimes overlook, as a loop."""
    if op.coupled:
        e.expand(node, inputs, outputs)
    else:
        _write(e, "LSTM", op, node, inputs, outputs)


@exporter(ops.Gru)
def gru(e: Exporter, op: ops.Gru, node: Node, inputs: Names, outputs: Names) -> None:
    """Write a GRU."""
    late = int(op.linear_before_reset) or None
    _write(e, "GRU", op, node, inputs, outputs, linear_before_reset=late)


@exporter(ops.Rnn)
def rnn(e: Exporter, op: ops.Rnn, node: Node, inputs: Names, outputs: Names) -> None:
    """Write an RNN."""
    _write(e, "RNN", op, node, inputs, outputs)


def _write(
    e: Exporter,
    operator: str,
    op: Recurrent,
    node: Node,
    inputs: Names,
    outputs: Names,
    **attributes: Any,
) -> None:
    """Give weights, biases and states their axis of directions, and take it from the results."""
    shapes = [_dims(node, k) for k in range(len(inputs))]
    standard = op.activations == type(op).activations  # those take no alpha and no beta
    if not standard or 0 in shapes[0]:
        e.expand(node, inputs, outputs)
        return
    states = 4 + op.states
    w, r, b, *initial = (
        _unsqueezed(e, x, s) for x, s in zip(inputs[1:states], shapes[1:], strict=False)
    )
    lengths = e.cast(inputs[-1], "int32") if op.masked else ""
    operands = [inputs[0], w, r, b, lengths, *initial]
    if isinstance(op, ops.Lstm) and op.peephole:
        operands.append(_unsqueezed(e, inputs[states], shapes[states]))
    results = [e.fresh(f"{name}_directions") for name in outputs]
    units = shapes[2][1]
    e.node(operator, operands, results, hidden_size=units, clip=op.clip or None, **attributes)
    for result, output, value in zip(results, outputs, node.outputs, strict=True):
        assert isinstance(value.type, TensorType)
        e.reshape(result, value.type.dims, output)


def _unsqueezed(e: Exporter, name: str, dims: tuple[int, ...]) -> str:
    output = e.fresh(f"{name}_direction")
    e.reshape(name, (1, *dims), output)
    return output


def _dims(node: Node, operand: int) -> tuple[int, ...]:
    type = node.inputs[operand].type
    assert isinstance(type, TensorType)
    return type.dims
