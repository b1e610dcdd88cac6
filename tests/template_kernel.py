# SPDX-License-Identifier: MIT
"""Runs the kernel that a template writes for a group by itself: any views, vectors and threads."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from ranvier.codegen.compile_kernels import compile_functions
from ranvier.codegen.link import linker
from ranvier.codegen.targets import parse_target
from ranvier.codegen.templates import Written, choose
from ranvier.codegen.unit import VectorUnit
from ranvier.codegen.values import dims
from ranvier.codegen.views import Request, View, laid_out
from ranvier.compiler import target_ready
from ranvier.ir import Array, Graph, interpret
from ranvier.ir.ops.fused import Fused

UNITS = (VectorUnit(8, 16), VectorUnit(4, 32), VectorUnit(16, 32))
"""Those of AVX2, of NEON and of AVX-512; LLVM splits vectors that this processor does not have."""

_GUARD = 64
"""Elements beyond every tensor and its halo, to see what a kernel does where it should not."""
_UNTOUCHED = -7
_TARGET = {"kind": "llvm", "num-cores": 1, "opt-level": 2, "mcpu": "x86-64-v3"}


@dataclass(frozen=True)
class _Placed:
    """A tensor inside of a buffer, with zeros for its halo and a guard at both ends."""

    buffer: Array
    first: int
    view: View

    @property
    def elements(self) -> Array:
        steps = tuple(s * self.buffer.itemsize for s in self.view.strides)
        start = self.buffer[self.first :]
        seen: Array = np.lib.stride_tricks.as_strided(start, self.view.shape, steps)
        return seen

    @property
    def pointer(self) -> ctypes.c_void_p:
        return ctypes.c_void_p(self.buffer.ctypes.data + self.first * self.buffer.itemsize)


class TemplateKernel:
    """The kernel of a graph that is one group.

    Args:
        graph: what the template computes.
        template: class name of the plan that must be chosen; any for ``None``.
        unit: the vectors that it is written for.
    """

    def __init__(
        self, graph: Graph, template: str | None = None, unit: VectorUnit = UNITS[0]
    ) -> None:
        ready = target_ready(graph, parse_target("cpu{march=x86-64-v3}"))
        (self.node,) = (n for n in ready.nodes if isinstance(n.op, Fused))
        self.names = [v.name for v in ready.inputs]
        self.constants = ready.parameters
        plan = choose(self.node, ready.parameters, unit)
        assert plan is not None, "no template computes the group"
        assert template in (None, type(plan).__name__), f"chosen: {plan}"
        self.plan = plan

    def run(self, arguments: Sequence[Array], threads: int = 1, extra: int = 0) -> Array:
        """Return the result for arguments in the order of the graph's inputs.

        A kernel that reads beyond the halo of an operand gives NaN; what lies around the result
        must stay as it is.

        Args:
            arguments: one array per input.
            threads: so many calls compute a part each.
            extra: zeros around spatial axes beyond what the template asks for.
        """
        arrays = {**self.constants, **dict(zip(self.names, arguments, strict=True))}
        operands = []
        for k, value in enumerate(self.node.inputs):
            array = arrays[value.name]
            if k in self.plan.packings:
                operands.append(_placed(self.plan.packings[k](array), Request("row_major"), 0))
            else:
                operands.append(_placed(array, self.plan.operands[k], extra))
        empty = np.zeros(dims(self.node.output), np.float32)
        result = _placed(empty, self.plan.result, extra)
        result.buffer[:] = _UNTOUCHED
        written = self.plan.build([p.view for p in (*operands, result)])
        assert written is not None, "the template declines these views"
        scratch = [np.full(n // 4, np.nan, np.float32) for n in written.scratch]
        places = [p.pointer for p in (*operands, result)]
        places += [ctypes.c_void_p(s.ctypes.data) for s in scratch]
        call(written, places, threads)
        found: Array = result.elements.copy()
        result.elements[...] = _UNTOUCHED
        assert (result.buffer == _UNTOUCHED).all(), "the kernel wrote outside of its result"
        return found


def check_kernel(graph: Graph, arrays: list[Array], unit: VectorUnit, threads: int = 1) -> str:
    """Compare the single group of ``graph`` with the interpreter; return how it was computed."""
    kernel = TemplateKernel(graph, unit=unit)
    (expected,) = interpret(graph, arrays)
    np.testing.assert_allclose(kernel.run(arrays, threads), expected, rtol=1e-5, atol=1e-5)
    return str(kernel.plan)


def close(found: Array, expected: Any, tolerance: float = 3e-6) -> None:
    """Check that two arrays agree, relative to the largest element."""
    peak = np.abs(expected).max()
    assert np.abs(found - expected).max() <= tolerance * max(peak, 1e-30)


def _placed(array: Array, request: Request, extra: int) -> _Placed:
    """Lay an array out as asked, with ``extra`` more zeros around its spatial axes."""
    halo = request.halo
    if extra and array.ndim >= 3:
        own = halo or ((0, 0),) * array.ndim
        halo = (*own[:2], *((low + extra, high + extra) for low, high in own[2:]))
    view, first, size = laid_out(array.shape, request.order, halo)
    buffer = np.zeros(size + 2 * _GUARD, array.dtype)
    if array.dtype.kind == "f":
        buffer[:_GUARD] = buffer[-_GUARD:] = np.nan
    placed = _Placed(buffer, first + _GUARD, view)
    placed.elements[...] = array
    return placed


def call(written: Written, places: Sequence[ctypes.c_void_p], threads: int) -> None:
    """Compile a kernel and call it once for each of ``threads``."""
    code = compile_functions({"kernel": written.function}, _TARGET)
    with TemporaryDirectory() as folder:
        source, library = Path(folder) / "kernel.o", Path(folder) / "kernel.so"
        source.write_bytes(code)
        command = [str(linker()), "ld.lld", "-shared", "-m", "elf_x86_64"]
        subprocess.run([*command, "-o", str(library), str(source)], check=True, timeout=60)
        kernel = ctypes.CDLL(str(library)).kernel
        count = threads if written.split else 1
        # Last thread first: a kernel has no barrier, so any order must do.
        for thread in reversed(range(count)):
            kernel(*places, ctypes.c_int32(thread), ctypes.c_int32(count))
