# SPDX-License-Identifier: MIT
"""Default CPU schedule: loop orders that LLVM can vectorise; templates go before it."""

from __future__ import annotations

import math
from typing import Any

from tvm import DataType

from ..split import SHARED
from .blocks import open_schedule

_DATA_PARALLEL = 0  # IterVar.DataPar
_REDUCE = 2  # IterVar.CommReduce
_MIN_VECTOR = 4
"""Rows shorter than this are not worth moving the reduction outside of them."""
_MIN_WORK = 1 << 18
"""Bytes of results, times the trips of a reduction, from which several threads share a kernel.

The default loops take 0.05 to 1 ns a byte: 15 microseconds and more, against about one of a
barrier on each side."""
_FEW_PARTS = 8
"""A loop of fewer iterations divides badly among threads."""
_ENOUGH_PARTS = 64
_LONG_ROW = 1024


def schedule_cpu(function: Any) -> Any:
    """Return ``function`` with each reduction's loops in a vectorisable order."""
    if function.body.block.name_hint != "root":  # one imperative block, whose loops are its own
        return function
    schedule, found = open_schedule(function)
    blocks = list(found)
    for block in blocks:
        moved = _order_reduction(schedule, block)
        # A stage reads what all threads wrote in the one before, and a kernel has no barrier.
        if len(blocks) == 1:
            _share(schedule, block, moved)
    return schedule.mod["main"]


def _order_reduction(schedule: Any, block: Any) -> bool:
    """Move the innermost spatial loop inside the reduction where operands are read along it.

    Returns:
        Whether it did.
    """
    node = schedule.get(block)
    loops = schedule.get_loops(block)
    kinds = [int(v.iter_type) for v in node.iter_vars]
    if len(loops) != len(kinds) or _REDUCE not in kinds:
        return False
    spatial = [k for k, kind in enumerate(kinds) if kind != _REDUCE]
    reduce = [k for k, kind in enumerate(kinds) if kind == _REDUCE]
    if not spatial:
        return False
    last = spatial[-1]
    extent = int(node.iter_vars[last].dom.extent)
    if extent < _MIN_VECTOR or not _read_along(node, node.iter_vars[last].var):
        return False
    order = [*spatial[:-1], *reduce, last]
    schedule.reorder(*(loops[k] for k in order))
    schedule.decompose_reduction(block, loops[reduce[0]])
    return True


def _share(schedule: Any, block: Any, moved: bool) -> None:
    """Mark the loop whose iterations threads divide among them, if the work is worth it."""
    node = schedule.get(block)
    loops = schedule.get_loops(block)
    kinds = [int(v.iter_type) for v in node.iter_vars]
    if len(loops) != len(kinds) or set(kinds) - {_DATA_PARALLEL, _REDUCE}:
        return
    extents = [int(schedule.get(loop).extent) for loop in loops]
    if math.prod(extents) * _item_bytes(node) < _MIN_WORK:
        return
    reduces = _REDUCE in kinds
    # The row that is written in one piece stays whole, and a reduction on one thread.
    outer = kinds.count(_DATA_PARALLEL) - (moved or not reduces)
    parts = math.prod(extents[:outer])
    if parts < _FEW_PARTS and not reduces and extents[-1] >= _LONG_ROW:
        schedule.annotate(loops[-1], SHARED, True)
    elif parts > 1:
        count = next(k for k in range(1, outer + 1) if _enough(extents[:k], parts))
        loop = schedule.fuse(*loops[:count]) if count > 1 else loops[0]
        schedule.annotate(loop, SHARED, True)


def _enough(extents: list[int], parts: int) -> bool:
    return math.prod(extents) >= min(parts, _ENOUGH_PARTS)


def _item_bytes(node: Any) -> int:
    bits: int = DataType(str(node.writes[0].source.dtype)).bits
    return -(-bits // 8)


def _read_along(node: Any, variable: Any) -> bool:
    """Whether some operand's innermost index moves with ``variable``."""
    return any(
        str(variable.name) in str(region.region[-1].min)
        for region in node.reads
        if len(region.region) > 0 and not region.source.same_as(node.writes[0].source)
    )
