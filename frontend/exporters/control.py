# SPDX-License-Identifier: MIT
"""Writes control ops; captured values of a region become references to the outer scope."""

from __future__ import annotations

import numpy as np
from onnx import GraphProto, TensorProto, helper

from ...ir import Node, ops
from ..export import Exporter, Names, exporter


@exporter(ops.Branch)
def branch(e: Exporter, op: ops.Branch, node: Node, inputs: Names, outputs: Names) -> None:
    """Write an If."""
    formal = dict(enumerate(inputs[1:]))
    e.node(
        "If",
        inputs[:1],
        outputs,
        then_branch=e.body(op.then_body, formal, "then"),
        else_branch=e.body(op.else_body, formal, "else"),
    )


@exporter(ops.Scan)
def scan(e: Exporter, op: ops.Scan, node: Node, inputs: Names, outputs: Names) -> None:
    """Write a Scan; one that scans nothing as a Loop, which Scan's operator cannot say."""
    split = op.num_carried + op.num_scanned
    captured = {k: inputs[k] for k in range(split, len(inputs))}
    if op.num_scanned:
        body = e.body(op.body, captured, "body")
        e.node("Scan", inputs[:split], outputs, body=body, num_scan_inputs=op.num_scanned)
        return
    body = e.body(op.body, captured, "body")
    trips, go = e.scalar(op.length, "int64"), e.constant(np.array(True))
    _loop(e, body, trips, go, inputs[:split], outputs, own=True)


@exporter(ops.WhileLoop)
def while_loop(e: Exporter, op: ops.WhileLoop, node: Node, inputs: Names, outputs: Names) -> None:
    """Write a Loop."""
    states = len(op.body.outputs) - 1
    captured = {k: inputs[k] for k in range(1 + states, len(inputs))}
    body = e.body(op.body, captured, "body")
    trips = e.scalar(op.max_trips, "int64") if op.max_trips >= 0 else ""
    _loop(e, body, trips, inputs[0], inputs[1 : 1 + states], outputs, own=False)


def _loop(
    e: Exporter, body: GraphProto, trips: str, go: str, states: Names, outputs: Names, *, own: bool
) -> None:
    """Append a Loop; its body takes iteration and condition, which ours may lack."""
    scalar = []
    if own:
        scalar.append(helper.make_tensor_value_info(e.fresh("iteration"), TensorProto.INT64, []))
    condition = helper.make_tensor_value_info(e.fresh("condition"), TensorProto.BOOL, [])
    given = list(body.input)
    del body.input[:]
    body.input.extend([*scalar, condition, *given] if own else [given[0], condition, *given[1:]])
    if own:
        result = e.fresh("again")
        body.node.append(helper.make_node("Identity", [condition.name], [result]))
        again = helper.make_tensor_value_info(result, TensorProto.BOOL, [])
        results = list(body.output)
        del body.output[:]
        body.output.extend([again, *results])
    e.node("Loop", [trips, go, *states], outputs, body=body)
