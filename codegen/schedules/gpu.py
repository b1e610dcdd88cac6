# SPDX-License-Identifier: MIT
"""Default GPU schedule: one thread per element, reductions serial; templates replace it."""

from __future__ import annotations

from typing import Any

from .blocks import open_schedule

_DATA_PARALLEL = 0  # IterVar.DataPar
_THREADS = 256


def schedule_gpu(function: Any) -> Any:
    """Return ``function`` with the elements of each stage spread over blocks of threads."""
    schedule, blocks = open_schedule(function)
    for block in blocks:
        _bind(schedule, block)
    return schedule.mod["main"]


def _bind(schedule: Any, block: Any) -> None:
    loops = schedule.get_loops(block)
    kinds = [int(v.iter_type) for v in schedule.get(block).iter_vars]
    spatial: list[Any] = []
    if len(loops) == len(kinds):
        spatial = [x for x, kind in zip(loops, kinds, strict=True) if kind == _DATA_PARALLEL]
        rest = [x for x, kind in zip(loops, kinds, strict=True) if kind != _DATA_PARALLEL]
        if spatial and rest:
            schedule.reorder(*spatial, *rest)
    if not spatial:
        # An imperative stage, or a reduction to nothing: one thread does it all.
        schedule.bind(schedule.add_unit_loop(loops[0] if loops else block), "threadIdx.x")
        return
    fused = schedule.fuse(*spatial) if len(spatial) > 1 else spatial[0]
    outer, inner = schedule.split(fused, [None, _THREADS])
    schedule.bind(outer, "blockIdx.x")
    schedule.bind(inner, "threadIdx.x")
