# SPDX-License-Identifier: MIT
"""Default CPU schedule: loop orders that LLVM can vectorise; templates go before it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tvm import DataType

from ..lowering.base import TOGETHER
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


def schedule_cpu(function: Any, strides: Sequence[tuple[int, ...] | None] = ()) -> Any:
    """Return ``function`` with loops in a vectorisable order.

    Args:
        function: operands, results and scratch as buffers.
        strides: of the first of them; ``None`` for those that lie by themselves.
    """
    if function.body.block.name_hint != "root":  # one imperative block, whose loops are its own
        return function
    schedule, found = open_schedule(function)
    blocks = list(found)
    known = {p.name: s for p, s in zip(function.params, strides, strict=False) if s is not None}
    for block in blocks:
        moved = _order(schedule, block, known)
        # A stage reads what all threads wrote in the one before, and a kernel has no barrier.
        if len(blocks) == 1:
            _share(schedule, block, moved)
        if TOGETHER in schedule.get(block).annotations:
            schedule.unroll(schedule.get_loops(block)[-1])
    return schedule.mod["main"]


def _order(schedule: Any, block: Any, strides: Mapping[str, tuple[int, ...]]) -> bool:
    """Order the loops over elements as the result lies, then those of a reduction.

    Returns:
        Whether an innermost loop over elements was moved inside the reduction.
    """
    node = schedule.get(block)
    loops = list(schedule.get_loops(block))
    kinds = [int(v.iter_type) for v in node.iter_vars]
    if len(loops) != len(kinds) or len(node.writes) != 1:
        return False
    own = strides.get(node.writes[0].source.name)
    spatial = [k for k, kind in enumerate(kinds) if kind != _REDUCE]
    reduce = [k for k, kind in enumerate(kinds) if kind == _REDUCE]
    if own is not None and len(own) == len(spatial):
        # A stable sort: axes of one element lie anywhere.
        spatial = [spatial[k] for k in sorted(range(len(own)), key=lambda k: -own[k])]
    inner = _read_along(node, spatial, strides) if reduce else None
    if inner is None:
        if spatial != sorted(spatial):
            schedule.reorder(*(loops[k] for k in (*spatial, *reduce)))
        return False
    outer = [k for k in spatial if k != inner]
    schedule.reorder(*(loops[k] for k in (*outer, *reduce, inner)))
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


def _read_along(
    node: Any, spatial: Sequence[int], strides: Mapping[str, tuple[int, ...]]
) -> int | None:
    """Return the loop over elements along which an operand's neighbours are read, if any.

    Moved inside the reduction, it is one that LLVM turns into vectors.
    """
    for k in reversed(spatial):
        variable = node.iter_vars[k]
        if int(variable.dom.extent) < _MIN_VECTOR:
            continue
        for read in node.reads:
            if len(read.region) == 0 or read.source.same_as(node.writes[0].source):
                continue
            own = strides.get(read.source.name)
            inner = own.index(1) if own is not None and 1 in own else -1
            if str(variable.var.name) in str(read.region[inner].min):
                return k
    return None
