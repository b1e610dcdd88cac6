# SPDX-License-Identifier: MIT
"""Runs the kernel that a template writes for a group by itself, on any views and threads."""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tvm

from ranvier.codegen.bindings import PIPELINE
from ranvier.codegen.link import linker
from ranvier.codegen.targets import parse_target
from ranvier.codegen.targets.cpu import CpuTarget
from ranvier.codegen.templates import Plan, Written, choose
from ranvier.codegen.views import Request, View, laid_out
from ranvier.compiler import target_ready
from ranvier.ir import Array, Graph, TensorType, Value
from ranvier.ir.ops.fused import Fused

GUARD = 64
"""Elements around every buffer, to see what a kernel writes where it should not."""

Call = Callable[..., int]


class TemplateKernel:
    """The kernel of a graph that is one group.

    Args:
        graph: what the template computes.
        template: class name of the plan that must be chosen.
    """

    def __init__(self, graph: Graph, template: str) -> None:
        target = parse_target("cpu")
        assert isinstance(target, CpuTarget)
        ready = target_ready(graph, target)
        (self.node,) = (n for n in ready.nodes if isinstance(n.op, Fused))
        self.order = [ready.inputs.index(v) for v in self.node.inputs if v in ready.inputs]
        self.constants = ready.parameters
        plan = choose(self.node, ready.parameters, target.unit)
        assert plan is not None, "no template computes the group"
        assert type(plan).__name__ == template, f"chosen: {plan}"
        self.plan: Plan = plan

    def run(self, arguments: Sequence[Array], threads: int = 1, extra: int = 0) -> Array:
        """Return the result for arguments in the order of the graph's inputs.

        Args:
            arguments: float32 arrays.
            threads: so many calls compute a part each.
            extra: zeros around spatial axes beyond what the template asks for.
        """
        given = iter([arguments[k] for k in self.order])
        buffers, views = [], []
        for k, value in enumerate(self.node.inputs):
            if k in self.plan.packings:
                buffers.append(_guarded(self.plan.packings[k](self.constants[value.name])))
                views.append(View(buffers[-1][0].shape, (1,)))
                continue
            array = self.constants[value.name] if value.name in self.constants else next(given)
            view, buffer = _placed(array, self.plan.operands[k], extra)
            buffers.append(buffer)
            views.append(view)
        result, place = _placed(
            np.zeros(_dims(self.node.output), np.float32), self.plan.result, extra
        )
        place[0][:] = 7
        written = self.plan.build((*views, result))
        assert written is not None, "the template declines these views"
        scratch = [_guarded(np.full(n // 4, np.nan, np.float32)) for n in written.scratch]
        _call(written, [*buffers, place, *scratch], threads)
        found = _read(place, result)
        _check_around(place, result)
        return found


Buffer = tuple[Array, int]
"""Elements with guards around them, and the position of the tensor's first."""


def _guarded(array: Array) -> Buffer:
    return array.reshape(-1), 0


def _placed(array: Array, request: Request, extra: int) -> tuple[View, Buffer]:
    """Lay an array out as asked, with ``extra`` zeros around it."""
    halo = request.halo
    if extra and array.ndim >= 3:
        own = halo or ((0, 0),) * array.ndim
        halo = (*own[:2], *((low + extra, high + extra) for low, high in own[2:]))
    view, first, size = laid_out(array.shape, request.order, halo)
    memory = np.zeros(size + 2 * GUARD, np.float32)
    _strided(memory, first + GUARD, view)[...] = array
    return view, (memory, first + GUARD)


def _strided(memory: Array, first: int, view: View) -> Array:
    steps = tuple(4 * s for s in view.strides)
    return np.lib.stride_tricks.as_strided(memory[first:], view.shape, steps)


def _read(buffer: Buffer, view: View) -> Array:
    return np.array(_strided(*buffer, view))


def _check_around(buffer: Buffer, view: View) -> None:
    """Check that nothing but the tensor was written."""
    memory = buffer[0].copy()
    _strided(memory, buffer[1], view)[...] = 7
    assert (memory == 7).all(), "the kernel wrote outside of its result"


def _call(written: Written, buffers: Sequence[Buffer], threads: int) -> None:
    target = parse_target("cpu")
    assert isinstance(target, CpuTarget)
    function = written.function.with_attr("global_symbol", "kernel").with_attr("calling_conv", 1)
    module = tvm.IRModule({tvm.ir.GlobalVar("kernel"): function})
    built = tvm.compile(module, tvm.target.Target(target._tvm()), tir_pipeline=PIPELINE)
    with tempfile.TemporaryDirectory() as folder:
        built.mod.write_to_file(f"{folder}/kernel.o", "o")
        command = [str(linker()), "ld.lld", "-shared", "-o", f"{folder}/kernel.so"]
        subprocess.run([*command, f"{folder}/kernel.o"], check=True, timeout=60)
        call = ctypes.CDLL(f"{folder}/kernel.so").kernel
        pointers = [ctypes.c_void_p(memory.ctypes.data + 4 * first) for memory, first in buffers]
        # Last thread first: a kernel has no barrier, so any order must do.
        for thread in reversed(range(threads if written.split else 1)):
            call(*pointers, ctypes.c_int(thread), ctypes.c_int(threads if written.split else 1))


def _dims(value: Value) -> tuple[int, ...]:
    assert isinstance(value.type, TensorType)
    return value.type.dims


def close(found: Array, expected: Any, tolerance: float = 3e-6) -> None:
    """Check that two arrays agree, relative to the largest element."""
    peak = np.abs(expected).max()
    assert np.abs(found - expected).max() <= tolerance * max(peak, 1e-30)
