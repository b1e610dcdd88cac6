# SPDX-License-Identifier: MIT
"""Mean of each channel over all positions: lanes are channels.

Rows are added up on their own first: long sums in float32 lose digits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from ...ir.graph import Node
from ...ir.ops import ReduceMean
from ...ir.ops.fused import Fused
from ...ir.types import Array, TensorType
from ..values import dims
from ..views import ANY, Dims, Request, View
from .base import Plan, VectorUnit, Written
from .emitter import Expr, KernelEmitter, emitting
from .epilogue import Anchored, Epilogue, anchored

_SUMS = 8
"""Vectors that are added to at once: as many as hide the latency of an addition."""


@dataclass(frozen=True, eq=False)
class Averaging(Plan):
    """The mean over all spatial axes.

    Attributes:
        group: the op and what follows it.
        unit: the processor core.
        data: number of the operand that is averaged.
    """

    group: Anchored
    unit: VectorUnit
    data: int

    def __str__(self) -> str:
        return f"averaging(lanes={self.unit.lanes})"

    @cached_property
    def shape(self) -> Dims:
        """Shape (N, C, spatial...) of the data."""
        return dims(self.group.anchor.inputs[0])

    @property
    def operands(self) -> Sequence[Request]:
        """Data with channels together."""
        requests = [ANY] * len(self.group.body.inputs)
        requests[self.data] = Request("channels_last")
        return requests

    @property
    def result(self) -> Request:
        """One row per image, however the axes of one element are counted."""
        return Request("row_major")

    def build(self, views: Sequence[View]) -> Written:
        """Write the kernel."""
        with emitting(self.unit.lanes, self.group.dtypes) as (emission, emit):
            _Writer(self, emit, views).write()
        return Written(emission.function)


def averaging(node: Node, arrays: Mapping[str, Array], unit: VectorUnit) -> Averaging | None:
    """Return the plan of a group around a mean over the spatial axes of float32."""
    assert isinstance(node.op, Fused)
    group = anchored(node.op.body, lambda n: isinstance(n.op, ReduceMean))
    if group is None:
        return None
    op, type = group.anchor.op, group.anchor.inputs[0].type
    assert isinstance(op, ReduceMean)
    assert isinstance(type, TensorType)
    if type.rank < 3 or tuple(sorted(op.axes)) != tuple(range(2, type.rank)):
        return None
    if type.dims[1] < unit.lanes:
        return None
    return Averaging(group, unit, node.op.body.inputs.index(group.anchor.inputs[0]))


class _Writer:
    def __init__(self, plan: Averaging, emit: KernelEmitter, views: Sequence[View]) -> None:
        self.plan = plan
        self.emit = emit
        self.view = views[plan.data]
        self.x = emit.buffers[plan.data]
        self.epilogue = Epilogue(plan.group, views, emit.buffers)

    def write(self) -> None:
        """Share blocks of channels."""
        emit, (images, channels, *_) = self.emit, self.plan.shape
        vectors = min(_SUMS, channels // emit.lanes)
        size = vectors * emit.lanes
        blocks, rest = divmod(channels, size)
        with emit.share(images * blocks) as number:
            self._block(number // blocks, number % blocks * size, vectors, 0)
        if rest:
            # The last block ends with the last channel and stores what is new in it.
            with emit.only_last_thread(), emit.loop(images) as image:
                self._block(image, channels - size, vectors, size - rest)

    def _block(self, image: Expr, first: Expr, vectors: int, known: int) -> None:
        """Average vectors of channels; the first ``known`` channels are not stored."""
        emit, size = self.emit, self.plan.shape[2:]
        zero = emit.constant(0.0)
        totals = [emit.register(zero) for _ in range(vectors)]
        with emit.nest(size[:-1]) as outer:
            first_of_row = self.view.offset([image, first, *outer, 0])
            for total, row in zip(totals, self._row(first_of_row, vectors), strict=True):
                total.add(row)
        count = emit.constant(math.prod(size))
        for j, total in enumerate(totals):
            skip = max(0, known - j * emit.lanes)
            if skip < emit.lanes:
                total.set(total.value / count)
                at = [image, first + (j * emit.lanes + skip)]
                self.epilogue.store(emit, total.lanes_from(skip), at, 1, emit.lanes - skip)

    def _row(self, start: Expr, vectors: int) -> list[Expr]:
        """Return the sums of the positions along the last axis from ``start`` on."""
        emit, size = self.emit, self.plan.shape[-1]
        step = self.view.strides[-1]
        steps = max(1, min(_SUMS // vectors, size))
        zero = emit.constant(0.0)
        sums = [[emit.register(zero) for _ in range(vectors)] for _ in range(steps)]

        def add(position: Expr, count: int) -> None:
            for k in range(count):
                for j, total in enumerate(sums[k]):
                    total.add(emit.load(self.x, start + (position + k) * step + j * emit.lanes))

        with emit.loop(size // steps) as number:
            add(number * steps, steps)
        add(size // steps * steps, size % steps)
        return [sum((s[j].value for s in sums[1:]), sums[0][j].value) for j in range(vectors)]


__all__ = ["Averaging", "averaging"]
