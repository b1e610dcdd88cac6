# SPDX-License-Identifier: MIT
"""Emits the one TIR ``main`` of a program: its steps as calls of kernels by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tvm
from tvm import tirx
from tvm.script import tirx as T
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script.builder import ir as tb

from ..runtime.program import (
    BranchStep,
    BufferRef,
    HostStep,
    KernelStep,
    LoopStep,
    Program,
    Step,
    WhileStep,
)

_ALONE = (tirx.const(0, "int32"), tirx.const(1, "int32"))
"""Thread and number of threads: the first of one."""
_WINDOW = 1 << 62  # buffers are addressed by byte; their true sizes are the planner's matter


def emit_main(program: Program) -> Any:
    """Return the TIR function ``main(first, last, parameters, arena, inputs, outputs)``.

    Kernels are C functions that the linker finds by name; host steps are left to the executor.
    """
    return _Main(program).build()


class _Main:
    def __init__(self, program: Program) -> None:
        self.program = program
        self.bases: dict[tuple[str, int], Any] = {}

    def build(self) -> Any:
        """Return ``main`` as a TIR function."""
        with IRBuilder() as builder, tb.prim_func(s_tir=True):
            tb.func_name("main")
            tb.func_attr({"tirx.noalias": True})
            first = tb.arg("first", tirx.Var("first", tvm.ir.PrimType("int32")))
            last = tb.arg("last", tirx.Var("last", tvm.ir.PrimType("int32")))
            self._arguments()
            for number, step in enumerate(self.program.steps):
                if not isinstance(step, HostStep):
                    at = tirx.const(number, "int32")
                    with tb.If(tirx.And(first <= at, at < last)), tb.Then():
                        self._step(step, ())
        return builder.get()

    def _arguments(self) -> None:
        spaces = [("parameter", 0), ("arena", 0)]
        spaces += [("input", k) for k in range(len(self.program.inputs))]
        spaces += [("output", k) for k in range(len(self.program.outputs))]
        # All arguments come before the first declaration, which opens a frame of its own.
        pointers = [tb.arg(f"{space}{index}", tb.handle("uint8")) for space, index in spaces]
        for key, pointer in zip(spaces, pointers, strict=True):
            self.bases[key] = tb.decl_buffer((_WINDOW,), "uint8", data=pointer)

    def _steps(self, steps: Sequence[Step], trips: tuple[Any, ...]) -> None:
        for step in steps:
            self._step(step, trips)

    def _step(self, step: Step, trips: tuple[Any, ...]) -> None:
        if isinstance(step, KernelStep):
            arguments = [self._address(ref, trips) for ref in step.arguments]
            tb.evaluate(T.call_extern("void", step.kernel, *arguments, *_ALONE))
        elif isinstance(step, LoopStep):
            with tb.serial(0, tirx.const(step.count, "int64")) as trip:
                self._steps(step.body, (*trips, trip))
        elif isinstance(step, BranchStep):
            with tb.If(self._flag(step.condition, trips)):
                with tb.Then():
                    self._steps(step.then_steps, trips)
                    tb.evaluate(tirx.const(0, "int32"))
                with tb.Else():
                    self._steps(step.else_steps, trips)
                    tb.evaluate(tirx.const(0, "int32"))
        elif isinstance(step, WhileStep):
            self._while(step, trips)

    def _while(self, step: WhileStep, trips: tuple[Any, ...]) -> None:
        counter = self._scalar(step.iteration, trips, "int64")
        zero, one = tirx.const(0, "int64"), tirx.const(1, "int64")
        tb.buffer_store(counter, zero, [0])
        go_on = self._flag(step.condition, trips)
        if step.max_trips >= 0:
            go_on = tirx.And(go_on, counter[0] < tirx.const(step.max_trips, "int64"))
        with tb.While(go_on):
            # A while loop is a loop level too; nothing moves with it, so its trips are zero.
            self._steps(step.body, (*trips, zero))
            tb.buffer_store(counter, counter[0] + one, [0])

    def _flag(self, ref: BufferRef, trips: tuple[Any, ...]) -> Any:
        flag = self._scalar(ref, trips, "uint8")
        return flag[0] != tirx.const(0, "uint8")

    def _scalar(self, ref: BufferRef, trips: tuple[Any, ...], dtype: str) -> Any:
        return tb.decl_buffer((1,), dtype, data=self._address(ref, trips))

    def _address(self, ref: BufferRef, trips: tuple[Any, ...]) -> Any:
        offset: Any = tirx.const(ref.offset, "int64")
        for stride, trip in zip(ref.strides, trips, strict=False):
            if stride:
                offset = offset + tirx.Cast("int64", trip) * tirx.const(stride, "int64")
        return T.address_of(self.bases[ref.space, ref.index][offset])
