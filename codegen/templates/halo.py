# SPDX-License-Identifier: MIT
"""Stores zeros around a tensor, so that windows may read over its ends."""

from __future__ import annotations

from typing import Any

from tvm import tirx
from tvm.tirx.script.builder import ir as tb

from ..views import View
from .emitter import KernelEmitter, emitting


def clear_halo(dtype: str, view: View) -> Any:
    """Return the TIR function that zeroes the halo of a tensor that lies like ``view``."""
    axes = sorted(range(len(view.shape)), key=lambda k: -view.strides[k])
    with emitting(1, [dtype]) as (emission, emit):
        done: list[int] = []
        for axis in axes:
            low, high = view.halo[axis]
            for start, count in ((-low, low), (view.shape[axis], high)):
                if count:
                    _clear(emit, dtype, view, axes, done, axis, start, count)
            done.append(axis)
    return emission.function


def _clear(
    emit: KernelEmitter,
    dtype: str,
    view: View,
    axes: list[int],
    done: list[int],
    axis: int,
    start: int,
    count: int,
) -> None:
    """Zero ``count`` slices along ``axis``: within the tensor along ``done``, whole elsewhere."""
    ranges: dict[int, tuple[int, int]] = {}
    for k in axes:
        low, high = view.halo[k]
        inside = k in done
        ranges[k] = (0 if inside else -low, view.shape[k] + (0 if inside else high))
    ranges[axis] = (start, start + count)
    # Axes at the end that follow each other without gaps are one run.
    run, inner = 1, list(axes)
    while inner and view.strides[inner[-1]] == run and inner[-1] != axis:
        k = inner.pop()
        if ranges[k][1] - ranges[k][0] != view.shape[k] + sum(view.halo[k]):
            inner.append(k)
            break
        run *= ranges[k][1] - ranges[k][0]
    first = sum(ranges[k][0] * view.strides[k] for k in axes if k not in inner)
    with emit.nest([ranges[k][1] - ranges[k][0] for k in inner]) as at:
        offset: Any = first
        for k, i in zip(inner, at, strict=True):
            offset = offset + (i + ranges[k][0]) * view.strides[k]
        with tb.serial(0, run) as i:
            tb.buffer_store(emit.buffers[0], tirx.const(0, dtype), [offset + i])
