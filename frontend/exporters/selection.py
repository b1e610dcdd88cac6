# SPDX-License-Identifier: MIT
"""Writes gathers, scatters and ops whose result size depends on data."""

from __future__ import annotations

from typing import Any

from ...ir import Node, ops
from ..export import Exporter, Names, exporter


@exporter(ops.Gather)
def gather(e: Exporter, op: ops.Gather, node: Node, inputs: Names, outputs: Names) -> None:
    """Write a gather of slices."""
    e.node("Gather", inputs, outputs, axis=op.axis)


@exporter(ops.GatherElements)
def gather_elements(e: Exporter, op: Any, node: Node, inputs: Names, outputs: Names) -> None:
    """Write a gather of elements."""
    e.node("GatherElements", inputs, outputs, axis=op.axis)


@exporter(ops.GatherND)
def gather_nd(e: Exporter, op: ops.GatherND, node: Node, inputs: Names, outputs: Names) -> None:
    """Write a gather by coordinates."""
    e.node("GatherND", inputs, outputs, batch_dims=op.batch_dims)


@exporter(ops.ScatterElements)
def scatter_elements(e: Exporter, op: Any, node: Node, inputs: Names, outputs: Names) -> None:
    """Write a scatter of elements."""
    e.node("ScatterElements", inputs, outputs, axis=op.axis, reduction=_reduction(e, op))


@exporter(ops.ScatterND)
def scatter_nd(e: Exporter, op: ops.ScatterND, node: Node, inputs: Names, outputs: Names) -> None:
    """Write a scatter by coordinates."""
    e.node("ScatterND", inputs, outputs, reduction=_reduction(e, op))


def _reduction(e: Exporter, op: Any) -> str | None:
    since = {"none": 0, "add": 16, "mul": 16, "max": 18, "min": 18}[op.reduction]
    if e.opset < since:
        raise op.error(f"reduction {op.reduction!r} needs opset {since}")
    return None if op.reduction == "none" else str(op.reduction)


@exporter(ops.NonZero)
def nonzero(e: Exporter, op: Any, node: Node, inputs: Names, outputs: Names) -> None:
    """Write the coordinates of non-zero elements."""
    e.node("NonZero", inputs, outputs)


@exporter(ops.Compress)
def compress(e: Exporter, op: ops.Compress, node: Node, inputs: Names, outputs: Names) -> None:
    """Write a selection of slices."""
    e.node("Compress", inputs, outputs, axis=op.axis)


@exporter(ops.Unique)
def unique(e: Exporter, op: ops.Unique, node: Node, inputs: Names, outputs: Names) -> None:
    """Write distinct items."""
    e.node("Unique", inputs, outputs, axis=op.axis, sorted=int(op.sorted))


@exporter(ops.Range)
def range_(e: Exporter, op: Any, node: Node, inputs: Names, outputs: Names) -> None:
    """Write a range with bounds that are data."""
    e.node("Range", inputs, outputs)


@exporter(ops.Det)
def det(e: Exporter, op: Any, node: Node, inputs: Names, outputs: Names) -> None:
    """Write determinants."""
    e.node("Det", inputs, outputs)
