# SPDX-License-Identifier: MIT
"""Matrix products by one packed matrix: a tile of rows by columns in registers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from ...ir.graph import Node
from ...ir.ops import MatMul
from ...ir.ops.fused import Fused
from ...ir.types import Array
from ..packing import Packing
from ..values import dims, dtype
from ..views import ANY, Dims, Request, View
from .base import Plan, VectorUnit, Written
from .batched_product import LEAST_ROWS
from .emitter import Expr, KernelEmitter, emitting
from .epilogue import Anchored, Epilogue, anchored
from .row_walk import Rows, each_rows
from .tile import Tile, best_tile, multiply

_FEW_ROWS = 2
"""Up to so many rows weights are read once each, so that memory sets the time."""


@dataclass(frozen=True, eq=False)
class Product(Plan):
    """Rows (..., M, K) times weights (K, N).

    Attributes:
        group: the product and what follows it.
        unit: the processor core.
        data: number of the operand that holds the rows.
        weights: number of the operand that holds the weights.
    """

    group: Anchored
    unit: VectorUnit
    data: int
    weights: int

    def __str__(self) -> str:
        return f"product({self.tile.rows}x{self.tile.vectors}, lanes={self.unit.lanes})"

    @cached_property
    def shape(self) -> Dims:
        """Shape (..., M, N) of the result."""
        return dims(self.group.anchor.output)

    @cached_property
    def depth(self) -> int:
        """K, the elements of a row."""
        return dims(self.group.anchor.inputs[0])[-1]

    @cached_property
    def tile(self) -> Tile:
        """Rows and vectors of columns that are computed at once."""
        rows, columns = math.prod(self.shape[:-1]), self.shape[-1]
        if rows <= _FEW_ROWS:
            # Enough sums to hide the latency of one, in long runs of weights.
            vectors = min(-(-columns // self.unit.lanes), 8 // rows)
            return Tile(rows, vectors)
        return best_tile(rows, columns, self.unit)

    @property
    def operands(self) -> Sequence[Request]:
        """Rows whose elements are neighbours."""
        requests = [ANY] * len(self.group.body.inputs)
        requests[self.data] = Request("row_major")
        return requests

    @property
    def result(self) -> Request:
        """Columns are stored as vectors."""
        return Request("row_major")

    @property
    def packings(self) -> Mapping[int, Packing]:
        """Weights in the order in which tiles read them."""
        return {self.weights: Packing("matrix", (self.tile.vectors * self.unit.lanes,))}

    def build(self, views: Sequence[View]) -> Written:
        """Write the kernel."""
        with emitting(self.unit.lanes, ["float32"] * len(views)) as (emission, emit):
            _Writer(self, emit, views).write()
        return Written(emission.function)


def product(node: Node, arrays: Mapping[str, Array], unit: VectorUnit) -> Product | None:
    """Return the plan of a group around a product of float32 by one matrix.

    A computed matrix is packed before. Where there are enough rows :mod:`.batched_product` packs
    it instead, block by block, and takes rows that lie anyhow.
    """
    assert isinstance(node.op, Fused)
    group = anchored(node.op.body, lambda n: isinstance(n.op, MatMul))
    if group is None:
        return None
    inputs = node.op.body.inputs
    data, weights = (inputs.index(v) for v in group.anchor.inputs)
    matrix = math.prod(dims(node.inputs[weights])[:-2]) == 1
    # A matrix with more axes of one element than the rows have gives the result those axes.
    aligned = len(dims(node.inputs[data])) == len(dims(group.anchor.output))
    if not matrix or not aligned or data == weights:
        return None
    computed = node.inputs[weights].name not in arrays
    if computed and dims(group.anchor.output)[-2] >= LEAST_ROWS:
        return None
    if {dtype(v) for v in (*inputs, group.result)} != {"float32"}:
        return None
    return Product(group, unit, data, weights)


class _Writer:
    def __init__(self, plan: Product, emit: KernelEmitter, views: Sequence[View]) -> None:
        self.plan = plan
        self.emit = emit
        self.view = views[plan.data]
        self.x = emit.buffers[plan.data]
        self.w = emit.buffers[plan.weights]
        self.epilogue = Epilogue(plan.group, views, emit.buffers)
        self.block = plan.tile.vectors * emit.lanes
        extra = [views[k] for k in plan.group.extra]
        self.rows = Rows.of(plan.shape, [self.view, self.epilogue.result, *extra])

    def write(self) -> None:
        """Walk columns outside where the weights are many, inside where they are few."""
        plan, emit = self.plan, self.emit
        blocks, rest = divmod(plan.shape[-1], self.block)
        many = 4 * plan.depth * plan.shape[-1] > plan.unit.l2 // 2
        if blocks > 1 and (many or self.rows.total <= plan.tile.rows):
            with emit.share(blocks) as block:
                self._rows(block, self.block, split=False)
            if rest:
                with emit.only_last_thread():
                    self._rows(blocks, rest, split=False)
            return

        def visit(line: Sequence[Expr], start: Expr, rows: int) -> None:
            if blocks:
                with emit.loop(blocks) as block:
                    self._tile(line, start, rows, block, self.block)
            if rest:
                self._tile(line, start, rows, blocks, rest)

        self._each(visit)

    def _rows(self, block: Expr, columns: int, split: bool) -> None:
        self._each(lambda line, start, rows: self._tile(line, start, rows, block, columns), split)

    def _each(self, visit: Callable[[Sequence[Expr], Expr, int], None], split: bool = True) -> None:
        each_rows(self.emit, self.rows, self.plan.tile.rows, visit, split)

    def _tile(
        self, line: Sequence[Expr], start: Expr, rows: int, block: Expr, columns: int
    ) -> None:
        """Compute ``rows`` rows from ``start`` on, ``columns`` of one block."""
        plan, emit = self.plan, self.emit
        vectors = -(-columns // emit.lanes)
        totals = [[emit.register(emit.constant(0)) for _ in range(vectors)] for _ in range(rows)]
        first = self.view.offset([*self.rows.at(line, start), 0])
        step = self.view.strides[self.rows.axis]
        with emit.loop(plan.depth) as k:
            multiply(
                emit,
                totals,
                [self.x[first + r * step + k * self.view.strides[-1]] for r in range(rows)],
                self.w,
                (block * plan.depth + k) * self.block,
            )
        for r in range(rows):
            for j in range(vectors):
                count = min(emit.lanes, columns - j * emit.lanes)
                column = block * self.block + j * emit.lanes
                at = [*self.rows.at(line, start + r), column]
                self.epilogue.store(emit, totals[r][j].lane, at, len(at) - 1, count)
