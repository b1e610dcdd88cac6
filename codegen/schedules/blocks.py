# SPDX-License-Identifier: MIT
"""Access to the stages of a kernel under a schedule."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tvm import s_tir
from tvm.s_tir.stmt import SBlock, SBlockRealize


def open_schedule(function: Any) -> tuple[Any, Iterator[Any]]:
    """Return a schedule of ``function`` and its stages in order."""
    body = function.body
    if body.block.name_hint != "root":
        # A single stage without loops (an imperative one) comes without the usual root.
        root = SBlock([], [], [], "root", body)
        function = function.with_body(SBlockRealize([], True, root))
    schedule = s_tir.Schedule(function)
    return schedule, iter(schedule.get_child_blocks(schedule.get_sblock("root")))
