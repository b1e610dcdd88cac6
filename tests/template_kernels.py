# SPDX-License-Identifier: MIT
"""Runs one kernel of a template by itself, for any vector unit and number of threads."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from ranvier.codegen.compile_kernels import compile_functions
from ranvier.codegen.link import linker
from ranvier.codegen.targets import parse_target
from ranvier.codegen.templates import Plan, choose
from ranvier.codegen.unit import VectorUnit
from ranvier.codegen.views import Request, View, laid_out
from ranvier.compiler import target_ready
from ranvier.ir import Graph, Node, TensorType, Value, interpret
from ranvier.ir.types import Array, numpy_dtype

UNITS = (VectorUnit(8, 16), VectorUnit(4, 32), VectorUnit(16, 32))
"""Those of AVX2, of NEON and of AVX-512; LLVM splits vectors that this processor does not have."""

_MARGIN = 64
_TARGET = {"kind": "llvm", "num-cores": 1, "opt-level": 2, "mcpu": "x86-64-v3"}


def check_kernel(graph: Graph, arrays: list[Array], unit: VectorUnit, threads: int = 1) -> Plan:
    """Compare the single group of ``graph`` with the interpreter; return how it was computed.

    Around every operand lies its halo of zeros and NaN beyond, so that a kernel that reads
    further gives NaN; the bytes around the result must stay as they are.
    """
    target = parse_target("cpu")
    ready = target_ready(graph, target)
    [node] = ready.nodes
    plan = choose(node, ready.parameters, unit)
    assert plan is not None, "no template computes this group"
    known = dict(zip([v.name for v in ready.inputs], arrays, strict=True))
    found = _run(node, plan, {**ready.parameters, **known}, threads)
    [expected] = interpret(graph, arrays)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    return plan


def _run(node: Node, plan: Plan, known: dict[str, Array], threads: int) -> Array:
    views: list[View] = []
    buffers: list[Array] = []
    starts: list[int] = []
    for k, value in enumerate(node.inputs):
        array = known[value.name]
        if k in plan.packings:
            array = plan.packings[k](array)
            request = Request("row_major")
        else:
            request = plan.operands[k]
        view, buffer, start = _placed(array.shape, array.dtype, request, np.nan)
        _window(buffer, start, view)[...] = array
        views.append(view)
        buffers.append(buffer)
        starts.append(start)
    shape = _dims(node.outputs[0])
    view, result, start = _placed(shape, np.dtype(np.float32), plan.result, -7)
    untouched = result.copy()
    _call(plan, [*views, view], [*buffers, result], [*starts, start], threads)
    found: Array = _window(result, start, view).copy()
    _window(result, start, view)[...] = _window(untouched, start, view)
    np.testing.assert_array_equal(result, untouched)
    return found


def _placed(
    shape: tuple[int, ...], dtype: np.dtype[Any], request: Request, around: float
) -> tuple[View, Array, int]:
    """Return the view, buffer and first element of a tensor that lies as requested."""
    view, first, size = laid_out(shape, request.order, request.halo)
    buffer = np.zeros(size + 2 * _MARGIN, dtype)
    if dtype.kind == "f":
        buffer[:_MARGIN] = buffer[-_MARGIN:] = around
    return view, buffer, first + _MARGIN


def _window(buffer: Array, start: int, view: View) -> Array:
    steps = tuple(s * buffer.itemsize for s in view.strides)
    seen: Array = np.lib.stride_tricks.as_strided(buffer[start:], view.shape, steps)
    return seen


def _call(
    plan: Plan, views: list[View], buffers: list[Array], starts: list[int], threads: int
) -> None:
    written = plan.build(views)
    assert written is not None
    assert not written.scratch
    code = compile_functions({"kernel": written.function}, _TARGET)
    with TemporaryDirectory() as folder:
        source, library = Path(folder) / "kernel.o", Path(folder) / "kernel.so"
        source.write_bytes(code)
        command = [str(linker()), "ld.lld", "-shared", "-m", "elf_x86_64"]
        subprocess.run([*command, "-o", str(library), str(source)], check=True)
        kernel = ctypes.CDLL(str(library)).kernel
        places = [
            ctypes.c_void_p(b.ctypes.data + start * b.itemsize)
            for b, start in zip(buffers, starts, strict=True)
        ]
        # The last first: no thread may count on the work of those before it.
        for thread in reversed(range(threads)):
            kernel(*places, ctypes.c_int32(thread), ctypes.c_int32(threads))


def _dims(value: Value) -> tuple[int, ...]:
    assert isinstance(value.type, TensorType)
    assert numpy_dtype(value.type.dtype) == np.float32
    return value.type.dims
