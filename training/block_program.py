# SPDX-License-Identifier: MIT
"""Ops over the blocks of an arena as compiled programs that work in place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np

from ..codegen.targets import parse_target
from ..compiler import build_canonical
from ..ir import Array, Emitter, Graph, TensorType
from ..ir.ops import BlockOp
from ..runtime.buffers import aligned_empty
from ..runtime.executor import Executor
from ..runtime.team import Workers
from .arena import BLOCK

Run: TypeAlias = Callable[[], object]


class BlockProgram:
    """One op over so many blocks, compiled once for any arrays.

    Args:
        op: the op.
        blocks: of the arenas.
        workers: threads.
        target: what to compile for.

    Attributes:
        in_place: whether results may lie where operands do: the target keeps the op whole, so
            that the program is one kernel that reads before it writes.
    """

    def __init__(self, op: BlockOp, blocks: int, workers: Workers, target: str = "cpu") -> None:
        self.op = op
        self.blocks = blocks
        chosen = parse_target(target)
        graph = _graph(op, blocks)
        built = build_canonical(graph, chosen)
        whole = chosen.keeps(op, *(v.type for v in graph.inputs))
        self.in_place = whole and len(built.program.steps) == 1
        self._executor = Executor(built.program, built.library, built.weights, workers)

    def bind(self, arrays: Mapping[str, Array]) -> Run:
        """Return a run over these arrays.

        Args:
            arrays: operands and results by name; one that is both is updated.

        Raises:
            InputError: an array does not fit.
        """
        operands = [arrays[o.name] for o in self.op.operands()]
        results = [arrays[name] for name in self.op.results()]
        if self.in_place:
            return self._executor.bind(operands, results)
        apart = [aligned_empty(a.shape, a.dtype) for a in results]
        compute = self._executor.bind(operands, apart)

        def run() -> None:
            compute()
            for target, source in zip(results, apart, strict=True):
                np.copyto(target, source)

        return run


def scalar(number: float, dtype: str) -> Array:
    """Return a number that can be bound."""
    array = aligned_empty((), dtype)
    array[...] = number
    return array


def column(numbers: Sequence[float] | Array, dtype: str) -> Array:
    """Return numbers of blocks that can be bound."""
    given = np.asarray(numbers)
    array = aligned_empty(given.shape, dtype)
    array[...] = given
    return array


def _graph(op: BlockOp, blocks: int) -> Graph:
    emit = Emitter()
    inputs = [
        emit.argument(TensorType(o.dtype or "float32", (blocks, BLOCK)[: o.axes]), o.name)
        for o in op.operands()
    ]
    outputs = emit.multi(op, *inputs, names=tuple(f"new.{name}" for name in op.results()))
    return emit.graph(op.name, inputs, outputs)


__all__ = ["BlockProgram", "Run", "column", "scalar"]
