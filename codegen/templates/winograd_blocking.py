# SPDX-License-Identifier: MIT
"""How a convolution by minimal filtering is cut into blocks for the cache, and its cost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from ..filtering import samples
from ..unit import VectorUnit
from .tile import Tile, cycles, tiles

THREADS = 64
"""Threads among which a kernel is shared at most."""

_SCRATCH = 4 << 20
"""Bytes of scratch of one kernel, unless an eighth of its tensors or one thread's part is more."""

_COPIED = 2.0
"""Cycles to store a vector of transformed filters, by way of a buffer."""

_L3 = 4 << 20
"""Bytes of filters that stay in the last cache from block to block."""

_SIGNAL, _OUTPUT = 6.0, 4.5
"""Cycles to transform a vector of data, or of products, of one of a tile's points."""


@dataclass(frozen=True)
class Filtered:
    """A convolution with windows of D x 3 x 3 as sums over D slices of 3 x 3 convolutions.

    Attributes:
        outer: images whose slices have nothing to do with each other.
        slices: of the result: along the depth, or images of a batch without one.
        depth: D, slices of the data that a slice of the result is the sum of.
        height: rows of the result.
        width: columns of the result.
        channels: of the data.
        filters: channels of the result.
        computed: whether filters are no constants, so that a run transforms them.
    """

    outer: int
    slices: int
    depth: int
    height: int
    width: int
    channels: int
    filters: int
    computed: bool = False

    @property
    def filter_elements(self) -> int:
        """Elements of the filters."""
        return 9 * self.depth * self.channels * self.filters


@dataclass(frozen=True)
class Blocking:
    """Sizes of the parts that a kernel works on.

    A chunk is ``chunk`` slices of the result; a block is ``tiles`` squares of m x m outputs of
    each of its slices. For a block the transformed data of all slices it reads lie in scratch;
    if chunks are single slices, those of the last ones stay there, as in a ring.

    Attributes:
        problem: the convolution.
        m: rows and columns of outputs of a tile.
        unit: the processor core.
        tile: of the matrix products: rows are tiles, columns filters.
        tiles: of a block, in one slice.
        chunk: slices of the result that are computed together.
        group: blocks of filters whose products are kept at once.
    """

    problem: Filtered
    m: int
    unit: VectorUnit
    tile: Tile
    tiles: int
    chunk: int
    group: int

    @cached_property
    def points(self) -> int:
        """Products of a tile, data channel and filter."""
        return samples(self.m) ** 2

    @cached_property
    def tile_columns(self) -> int:
        """Tiles of a row."""
        return -(-self.problem.width // self.m)

    @cached_property
    def all_tiles(self) -> int:
        """Tiles of a slice."""
        return -(-self.problem.height // self.m) * self.tile_columns

    @cached_property
    def blocks(self) -> int:
        """Blocks of a slice; the last may have fewer tiles."""
        return -(-self.all_tiles // self.tiles)

    @cached_property
    def last_tiles(self) -> int:
        """Tiles of the last block of a slice."""
        return self.all_tiles - (self.blocks - 1) * self.tiles

    @cached_property
    def chunks(self) -> int:
        """Chunks of an image."""
        return self.problem.slices // self.chunk

    @cached_property
    def filter_block(self) -> int:
        """Filters of a tile of the matrix products."""
        return self.tile.vectors * self.unit.lanes

    @cached_property
    def groups(self) -> int:
        """Groups of blocks of filters."""
        return -(-self.problem.filters // self.filter_block) // self.group

    # Scratch: data at each point (point, slice, tile, channel), products (point, tile, filter)

    @cached_property
    def ring(self) -> int:
        """Slices of transformed data that are kept."""
        return self.chunk + self.problem.depth - 1

    @cached_property
    def slice_rows(self) -> int:
        """Rows of transformed data from a slice to the next: together for one tall product."""
        return self.tiles if self.chunk > 1 else _up(self.tiles, self.tile.rows)

    @cached_property
    def rows(self) -> int:
        """Rows of the matrix products."""
        return _up(self.chunk * self.tiles, self.tile.rows)

    @cached_property
    def row_pitch(self) -> int:
        """Elements from a row of transformed data to the next."""
        return _up(self.problem.channels, self.unit.lanes)

    @cached_property
    def data_pitch(self) -> int:
        """Elements of transformed data from a point to the next."""
        rows = max(self.ring * self.slice_rows, (self.ring - self.chunk) * self.tiles + self.rows)
        return _odd_lines(rows * self.row_pitch)

    @cached_property
    def product_row(self) -> int:
        """Elements from a row of products to the next."""
        return self.group * self.filter_block

    @cached_property
    def product_pitch(self) -> int:
        """Elements of products from a point to the next."""
        return _odd_lines(self.rows * self.product_row)

    @cached_property
    def data_bytes(self) -> int:
        """Bytes of the transformed data of one thread."""
        return 4 * self.points * self.data_pitch

    @cached_property
    def product_bytes(self) -> int:
        """Bytes of the products of one thread."""
        return 4 * self.points * self.product_pitch

    @cached_property
    def group_bytes(self) -> int:
        """Bytes of the transformed filters of a group."""
        return 4 * self.points * self.problem.depth * self.problem.channels * self.product_row

    @cached_property
    def filter_bytes(self) -> int:
        """Bytes of the transformed filters."""
        return self.groups * self.group_bytes

    @cached_property
    def filters_inside(self) -> bool:
        """Whether the kernel transforms the filters itself, because each is used but once."""
        return self.problem.computed and self.data_blocks == 1 and self.group == 1

    # Threads

    @cached_property
    def data_blocks(self) -> int:
        """Parts of the data that meet all filters, one after the other."""
        return self.problem.outer * self.blocks * self.chunks

    @cached_property
    def items(self) -> int:
        """Parts of the work that threads share: groups of filters of blocks of chunks."""
        return self.data_blocks * self.groups

    @cached_property
    def threads(self) -> int:
        """How many threads have scratch; more do not take part.

        Scratch is a constant number of bytes of the arena, whatever the number of threads that
        will run the kernel, hence the limit.
        """
        p = self.problem
        tensors = 4 * p.outer * p.slices * p.height * p.width * (p.channels + p.filters)
        allowed = max(_SCRATCH, tensors // 8) // (self.data_bytes + self.product_bytes)
        return max(1, min(THREADS, self.items, allowed))


def best_blocking(problem: Filtered, m: int, unit: VectorUnit) -> Blocking:
    """Return the blocking that takes the fewest cycles, with scratch of moderate size."""
    return min(candidates(problem, m, unit), key=lambda b: (_excess(b), cost(b)))


def _excess(b: Blocking) -> int:
    """Return the bytes of a thread's scratch over four times the second cache."""
    return max(0, b.data_bytes + b.product_bytes - 4 * b.unit.l2)


def candidates(problem: Filtered, m: int, unit: VectorUnit) -> Iterator[Blocking]:
    """Yield the blockings that :func:`best_blocking` looks at."""
    one = Blocking(problem, m, unit, Tile(1, 1), 1, 1, 1)
    for tile in _good_tiles(problem, unit):
        filter_blocks = -(-problem.filters // (tile.vectors * unit.lanes))
        for count, chunk in _cuts(one.all_tiles, problem.slices):
            for group in _groups(filter_blocks):
                yield Blocking(problem, m, unit, tile, count, chunk, group)


def _good_tiles(problem: Filtered, unit: VectorUnit) -> list[Tile]:
    """Return the tiles whose multiply-adds take little more time than in the best."""
    vectors = -(-problem.filters // unit.lanes)
    fitting = tiles(unit, problem.channels)
    every = {t: cycles(t.rows, t.vectors, unit) / (t.rows * t.vectors) for t in fitting}
    allowed = {t: c for t, c in every.items() if t.vectors <= vectors and t.rows > 2}
    return [t for t, c in allowed.items() if c <= 1.2 * min(allowed.values())]


def _cuts(all_tiles: int, slices: int) -> Iterator[tuple[int, int]]:
    """Yield tiles of a block and slices of a chunk: one of them is all or one."""
    last = 0.0
    for blocks in range(1, all_tiles + 1):
        count = -(-all_tiles // blocks)
        if blocks == 1 or (12 <= count <= min(128.0, 0.9 * last)):
            last = count
            yield count, 1
    for chunk in range(2, slices + 1):
        if slices % chunk == 0 and chunk * all_tiles <= 128:
            yield all_tiles, chunk


def _groups(blocks: int) -> list[int]:
    """Return few of the divisors of ``blocks``, the extremes among them."""
    divisors = [g for g in range(1, blocks + 1) if blocks % g == 0]
    return [g for g in divisors if g in (1, blocks) or 2 <= g <= 4]


def cost(b: Blocking) -> float:
    """Return an estimate of the cycles that one thread takes."""
    p, unit = b.problem, b.unit
    rows = (b.blocks - 1) * -(-b.tiles * b.chunk // b.tile.rows)
    rows += -(-b.last_tiles * b.chunk // b.tile.rows)
    steps = p.outer * b.chunks * rows * b.groups * b.group * b.points * p.depth * p.channels
    product = steps * cycles(b.tile.rows, b.tile.vectors, unit)
    slices = p.slices if b.chunk == 1 else b.chunks * b.ring
    squares = p.outer * slices * b.all_tiles * -(-p.channels // unit.lanes)
    results = p.outer * p.slices * b.all_tiles * -(-p.filters // unit.lanes)
    transforms = b.points * (_SIGNAL * squares + _OUTPUT * results)
    filters = _filter_traffic(b)
    # Filters are prefetched, but not for nothing.
    total = max(product, filters) + 0.15 * min(product, filters) + transforms + _spilled(b)
    total += _filter_transform(b) if p.computed else 0
    # Too little work for several threads is worth something less than its time on one.
    return total * (1.05 - 0.05 * min(1.0, b.threads / 8))


def streaming(nbytes: int) -> float:
    """Return the cycles that it takes to read constants from memory that two cores share."""
    return nbytes / 2.25


def _filter_traffic(b: Blocking) -> float:
    """Return the cycles of reading the filters: once from memory, then for each block."""
    if b.filters_inside:
        return b.filter_bytes / (12 if b.group_bytes < 1.25 * b.unit.l2 else 2)
    again = b.filter_bytes * (b.data_blocks - 1)
    if b.filter_bytes + b.data_bytes + b.product_bytes < 0.9 * b.unit.l2:
        again = 0
    return streaming(b.filter_bytes) + again / (12 if b.filter_bytes < _L3 else 4)


def _filter_transform(b: Blocking) -> float:
    """Return the cycles of transforming the filters: of reading them, computing and storing."""
    vectors = b.filter_bytes // (4 * b.points * b.unit.lanes)
    computing = vectors * (60 + _COPIED * b.points)
    reading = streaming(4 * b.problem.filter_elements)
    return computing + reading + (0 if b.filters_inside else packing(b.filter_bytes))


def packing(nbytes: int) -> float:
    """Return the cycles of writing packed weights: their lines are read before."""
    return streaming(2 * nbytes)


def _spilled(b: Blocking) -> float:
    """Return the cycles of moving scratch that the second cache does not hold."""
    held = b.data_bytes + b.product_bytes
    part = max(0.0, 1 - 0.75 * b.unit.l2 / held)
    moved = b.data_bytes * (1 + b.groups) + 2 * b.product_bytes * b.groups
    return b.data_blocks * moved * part / 4


def _up(number: int, step: int) -> int:
    return -(-number // step) * step


def _odd_lines(elements: int) -> int:
    """Round up to an odd number of cache lines: even ones would meet in few sets of a cache."""
    return 16 * (-(-elements // 16) | 1)
