# SPDX-License-Identifier: MIT
"""Compiles and runs one op on this CPU: the shortest way from a lowering to its numbers."""

from __future__ import annotations

import ctypes
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..ir.emitter import Emitter
from ..ir.op import Op
from ..ir.ops.fused import Fused
from ..ir.types import Array, TensorType, numpy_dtype, type_of
from ..runtime.native import Library, call_type
from .assemble import assemble
from .locations import ArenaBuffer
from .targets import parse_target
from .targets.base import LIBRARY


def run_op(op: Op, arrays: Sequence[Array], target: str = "cpu") -> tuple[Array, ...]:
    """Return the results of ``op`` on ``arrays``, compiled as a kernel of its own.

    >>> from ranvier.ir import ops
    >>> run_op(ops.Add(), [np.float32([1, 2]), np.float32([3])])[0].tolist()
    [4.0, 5.0]
    """
    emit = Emitter()
    operands = [emit.argument(type_of(a), f"a{k}") for k, a in enumerate(arrays)]
    body = emit.graph(op.name, operands, emit.multi(op, *operands))
    emit = Emitter()
    operands = [emit.argument(type_of(a), f"x{k}") for k, a in enumerate(arrays)]
    graph = emit.graph("trial", operands, emit.multi(Fused(body, op.name), *operands))
    chosen = parse_target(target)
    assembly = assemble(graph, chosen, _apart)
    with tempfile.TemporaryDirectory() as folder:
        chosen.build(assembly.program, assembly.kernels, Path(folder))
        library = Library(Path(folder) / LIBRARY)
    results = tuple(_empty(v.type) for v in graph.outputs)
    arena = np.empty(assembly.program.arena_bytes + 64, np.uint8)
    inputs = [_aligned(np.ascontiguousarray(a)) for a in arrays]
    buffers = [arena[:0], arena[-arena.ctypes.data % 64 :], *inputs, *results]
    call: Any = call_type(len(buffers))()
    call.last, call.threads = len(assembly.program.steps), 1
    call.table[:] = [b.ctypes.data for b in buffers]
    library.run(ctypes.addressof(call))
    return results


def _apart(buffers: Sequence[ArenaBuffer]) -> tuple[Mapping[str, int], int]:
    """Place every buffer on its own: a single kernel shares no memory."""
    offsets, total = {}, 0
    for buffer in buffers:
        offsets[buffer.name] = total
        total += -(-buffer.nbytes // 64) * 64
    return offsets, total


def _empty(type: Any) -> Array:
    assert isinstance(type, TensorType)
    return _aligned(np.zeros(type.dims, numpy_dtype(type.dtype)))


def _aligned(array: Array) -> Array:
    blob = np.empty(array.nbytes + 64, np.uint8)
    start = -blob.ctypes.data % 64
    view = blob[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    view[...] = array
    return view
