# SPDX-License-Identifier: MIT
"""Default CPU schedule: loop orders that LLVM can vectorise; templates go before it."""

from __future__ import annotations

from typing import Any

from .blocks import open_schedule

_REDUCE = 2  # IterVar.CommReduce
_MIN_VECTOR = 4
"""Rows shorter than this are not worth moving the reduction outside of them."""


def schedule_cpu(function: Any) -> Any:
    """Return ``function`` with each reduction's loops in a vectorisable order."""
    if function.body.block.name_hint != "root":  # one imperative block, whose loops are its own
        return function
    schedule, blocks = open_schedule(function)
    for block in blocks:
        _order_reduction(schedule, block)
    return schedule.mod["main"]


def _order_reduction(schedule: Any, block: Any) -> None:
    """Move the innermost spatial loop inside the reduction where operands are read along it."""
    node = schedule.get(block)
    loops = schedule.get_loops(block)
    kinds = [int(v.iter_type) for v in node.iter_vars]
    if len(loops) != len(kinds) or _REDUCE not in kinds:
        return
    spatial = [k for k, kind in enumerate(kinds) if kind != _REDUCE]
    reduce = [k for k, kind in enumerate(kinds) if kind == _REDUCE]
    if not spatial:
        return
    last = spatial[-1]
    extent = int(node.iter_vars[last].dom.extent)
    if extent < _MIN_VECTOR or not _read_along(node, node.iter_vars[last].var):
        return
    order = [*spatial[:-1], *reduce, last]
    schedule.reorder(*(loops[k] for k in order))
    schedule.decompose_reduction(block, loops[reduce[0]])


def _read_along(node: Any, variable: Any) -> bool:
    """Whether some operand's innermost index moves with ``variable``."""
    return any(
        str(variable.name) in str(region.region[-1].min)
        for region in node.reads
        if len(region.region) > 0 and not region.source.same_as(node.writes[0].source)
    )
