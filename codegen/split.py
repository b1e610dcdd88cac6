# SPDX-License-Identifier: MIT
"""Splits a kernel's shared loop among the threads that call the kernel at the same time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvm import tirx
from tvm_ffi.structural import structural_map

SHARED = "ranvier.shared"
"""Annotation of a loop, of independent iterations, that threads divide among them."""

_LINE = 64
"""A kernel's innermost loop is split at multiples of this: threads do not write to one cache
line, and vectors fall as they do on one thread."""


def is_split(function: Any) -> bool:
    """Whether the schedule let threads share a loop of ``function``."""
    return _any_loop(function.body, _is_shared)


def split(body: Any, thread: Any, threads: Any) -> Any:
    """Return ``body`` whose shared loop does part ``thread`` of ``threads`` parts.

    The last parts are smaller or empty. Which part an iteration falls in does not change what
    it computes.
    """

    def part(loop: Any) -> Any:
        if not _is_shared(loop):
            return loop
        grain = 1 if _any_loop(loop.body, lambda _: True) else _LINE
        dtype = str(loop.loop_var.ty.dtype)
        extent = loop.extent
        share = tirx.Cast(dtype, threads) * grain
        chunk = tirx.floordiv(extent + share - 1, share) * grain
        first = tirx.min(tirx.Cast(dtype, thread) * chunk, extent)
        count = tirx.min(chunk, extent - first)
        return tirx.For(loop.loop_var, loop.min + first, count, tirx.ForKind.SERIAL, loop.body)

    return structural_map(body, (tirx.For, part))


def _is_shared(loop: Any) -> bool:
    return SHARED in loop.annotations


def _any_loop(body: Any, test: Callable[[Any], bool]) -> bool:
    found: list[bool] = []

    def note(loop: Any) -> Any:
        found.append(test(loop))
        return loop

    structural_map(body, (tirx.For, note))
    return any(found)
