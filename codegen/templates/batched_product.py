# SPDX-License-Identifier: MIT
"""Products of two computed matrices: blocks of the right one packed, tiles in registers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from tvm import tirx

from ...ir.graph import Node
from ...ir.ops import MatMul
from ...ir.ops.fused import Fused
from ...ir.types import Array
from ..values import dims
from ..views import ANY, Dims, Request, View
from .base import Plan, VectorUnit, Written
from .emitter import Expr, KernelEmitter, emitting
from .epilogue import Anchored, Epilogue, anchored
from .tile import Tile, best_tile, multiply
from .walk import in_runs

LEAST_ROWS = 4
"""With fewer rows, packing the right matrix takes longer than the product."""


@dataclass(frozen=True, eq=False)
class BatchedProduct(Plan):
    """Matrices (..., M, K) times matrices (..., K, N), each operand read where it lies.

    Attributes:
        group: the product and what follows it.
        unit: the processor core.
    """

    group: Anchored
    unit: VectorUnit

    def __str__(self) -> str:
        return f"batched_product({self.tile.rows}x{self.tile.vectors}, lanes={self.unit.lanes})"

    @cached_property
    def shape(self) -> Dims:
        """Shape (..., M, N) of the result."""
        return dims(self.group.anchor.output)

    @cached_property
    def depth(self) -> int:
        """K, over which products are added up."""
        return dims(self.group.anchor.inputs[0])[-1]

    @cached_property
    def tile(self) -> Tile:
        """Rows and vectors of columns that are computed at once."""
        return best_tile(self.shape[-2], self.shape[-1], self.unit)

    @property
    def operands(self) -> Sequence[Request]:
        """Anything: elements of the left matrices are read singly, the right ones are packed."""
        return [ANY] * len(self.group.body.inputs)

    @property
    def strided(self) -> frozenset[int]:
        """Both matrices."""
        return frozenset(self.group.body.inputs.index(v) for v in self.group.anchor.inputs)

    @property
    def result(self) -> Request:
        """Columns are stored as vectors."""
        return Request("row_major")

    def build(self, views: Sequence[View]) -> Written:
        """Write the kernel."""
        with emitting(self.unit.lanes, ["float32"] * (len(views) + 1)) as (emission, emit):
            scratch = _Writer(self, emit, views).write()
        return Written(emission.function, (4 * scratch,))


def batched_product(
    node: Node, arrays: Mapping[str, Array], unit: VectorUnit
) -> BatchedProduct | None:
    """Return the plan of a float32 group around a product of matrices, constant or not."""
    assert isinstance(node.op, Fused)
    group = anchored(node.op.body, lambda n: isinstance(n.op, MatMul))
    if group is None or set(group.dtypes) != {"float32"}:
        return None
    rows, columns = dims(group.anchor.output)[-2:]
    if rows < LEAST_ROWS or columns < unit.lanes:
        return None
    return BatchedProduct(group, unit)


@dataclass(frozen=True)
class _Block:
    """Columns of one matrix that are packed, then multiplied by all rows.

    Attributes:
        batch: index of the matrix.
        start: the first column.
        columns: how many.
        packed: where they lie in scratch.
    """

    batch: Sequence[Expr]
    start: Expr
    columns: int
    packed: Expr


class _Writer:
    def __init__(self, plan: BatchedProduct, emit: KernelEmitter, views: Sequence[View]) -> None:
        self.plan = plan
        self.emit = emit
        left, right = (plan.group.body.inputs.index(v) for v in plan.group.anchor.inputs)
        self.left, self.right = views[left], views[right]
        self.x, self.y = emit.buffers[left], emit.buffers[right]
        self.packed = emit.buffers[-1]
        self.epilogue = Epilogue(plan.group, views, emit.buffers)

    def write(self) -> int:
        """Write blocks of full tiles, then what is left of each matrix; return scratch elements."""
        block = self.plan.tile.vectors * self.emit.lanes
        full, rest = divmod(self.plan.shape[-1], block)
        size = self._blocks(0, full, block, 0)
        return self._blocks(full * block, 1, rest, size) if rest else size

    def _blocks(self, start: int, count: int, columns: int, scratch: int) -> int:
        """Write ``count`` blocks of every matrix; return where the scratch they need ends.

        A thread packs all its blocks into the scratch of its first one: no other thread has
        that block, and what is packed stays in the first cache.
        """
        emit = self.emit
        total = math.prod(self.plan.shape[:-2]) * count
        size = self.plan.depth * self._vectors(columns) * emit.lanes
        if not total:
            return scratch
        first = emit.scalar(tirx.floordiv(emit.thread * total, emit.threads))
        with emit.share(total) as number:
            matrix, k = (number // count, number % count) if count > 1 else (number, 0)
            batch = self._batch(matrix)
            block = _Block(batch, start + k * columns, columns, scratch + first * size)
            self._pack(block)
            self._multiply(block)
        return scratch + total * size

    def _vectors(self, columns: int) -> int:
        return -(-columns // self.emit.lanes)

    def _batch(self, matrix: Expr) -> list[Expr]:
        """Return the index of a matrix of the result."""
        indices: list[Expr] = []
        sizes = self.plan.shape[:-2]
        for k, size in reversed(list(enumerate(sizes))):
            outer = math.prod(sizes[:k])
            indices.append(0 if size == 1 else matrix if outer == 1 else matrix % size)
            matrix = matrix // size if size > 1 else matrix
        return indices[::-1]

    def _pack(self, block: _Block) -> None:
        """Copy columns of the right matrix to (K, columns in full vectors)."""
        emit, depth = self.emit, self.plan.depth
        width = self._vectors(block.columns) * emit.lanes
        source = self.right.offset([*_own(self.right, block.batch), 0, block.start])
        row, column = self.right.strides[-2:]
        if width != block.columns:
            # Zeros, because whatever lies there might be slow to multiply.
            with emit.loop(depth) as k:
                at = block.packed + k * width + width - emit.lanes
                emit.store(self.packed, at, emit.constant(0))
        if column == 1:
            with emit.loop(depth) as k:
                for j in range(0, block.columns, emit.lanes):
                    count = min(emit.lanes, block.columns - j)
                    value = emit.load(self.y, source + k * row + j, count)
                    emit.store(self.packed, block.packed + k * width + j, value, count)
            return
        with emit.nest((block.columns, depth)) as (j, k):
            element = self.y[source + k * row + j * column]
            emit.set(self.packed, block.packed + k * width + j, element)

    def _multiply(self, block: _Block) -> None:
        """Multiply all rows by the packed columns, as many at once as columns leave registers."""
        rows = self.plan.shape[-2]
        at_once = best_tile(rows, block.columns, self.plan.unit).rows
        in_runs(self.emit, rows, at_once, lambda *run: self._tile(block, *run), split=False)

    def _tile(self, block: _Block, start: Expr, rows: int) -> None:
        """Compute ``rows`` rows from ``start`` on."""
        emit, vectors = self.emit, self._vectors(block.columns)
        totals = [[emit.register(emit.constant(0)) for _ in range(vectors)] for _ in range(rows)]
        row, column = self.left.strides[-2:]
        first = self.left.offset([*_own(self.left, block.batch), start, 0])
        with emit.loop(self.plan.depth) as k:
            multiply(
                emit,
                totals,
                [self.x[first + r * row + k * column] for r in range(rows)],
                self.packed,
                block.packed + k * vectors * emit.lanes,
            )
        for r in range(rows):
            for j in range(vectors):
                count = min(emit.lanes, block.columns - j * emit.lanes)
                at = [*block.batch, start + r, block.start + j * emit.lanes]
                self.epilogue.store(emit, totals[r][j].lane, at, len(at) - 1, count)


def _own(view: View, batch: Sequence[Expr]) -> list[Expr]:
    """Return the index of an operand's matrix, which may repeat along the result's axes."""
    sizes = view.shape[:-2]
    return [
        0 if n == 1 else k for n, k in zip(sizes, batch[len(batch) - len(sizes) :], strict=True)
    ]
