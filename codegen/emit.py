# SPDX-License-Identifier: MIT
"""Emits the one TIR ``main`` of a program: its steps as calls of kernels by name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

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
from .spmd import MAIN, argument, call


def emit_main(program: Program) -> Any:
    """Return the TIR function ``main(first, last, thread, threads, team, table)`` of a program.

    It runs the top-level steps ``[first, last)`` on one of ``threads`` threads that are in it
    at the same time; the table holds the addresses of parameters, arena, inputs and outputs.
    Kernels are C functions that the linker finds by name; host steps are left to the executor.
    """
    return _Main(program).build()


class _Main:
    """Builds ``main``.

    A step whose kernels split their work runs on every thread, any other on thread 0 alone.
    Steps are in order on one thread, so a barrier stands only between steps of which one at
    least runs on several: ``pending`` says which kinds have run since the last barrier.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.places: dict[tuple[str, int], int] = {}
        self.parallel = {info.name for info in program.kernels if info.parallel}
        self.pending: set[str] = set()

    def build(self) -> Any:
        """Return ``main`` as a TIR function.

        It is not ``noalias``: other threads write what its conditions read.
        """
        with IRBuilder() as builder, tb.prim_func(s_tir=True):
            tb.func_name(MAIN)
            first, last, self.thread, self.threads = (
                argument(name, "int32") for name in ("first", "last", "thread", "threads")
            )
            self.team = argument("team", "handle")
            self._table(tb.arg("table", tb.handle("uint64")))
            for number, step in enumerate(self.program.steps):
                if not isinstance(step, HostStep):
                    at = tirx.const(number, "int32")
                    with tb.If(tirx.And(first <= at, at < last)), tb.Then():
                        self._step(step, ())
            # Thread 0 returns when all are done, whichever steps were asked for.
            self._barrier()
        return builder.get()

    def _table(self, pointer: Any) -> None:
        spaces = [("parameter", 0), ("arena", 0)]
        spaces += [("input", k) for k in range(len(self.program.inputs))]
        spaces += [("output", k) for k in range(len(self.program.outputs))]
        self.table = tb.decl_buffer((len(spaces),), "uint64", data=pointer)
        self.places = {key: number for number, key in enumerate(spaces)}

    # Who runs what

    def _step(self, step: Step, trips: tuple[Any, ...]) -> None:
        if not self._splits(step):
            self._before("one")
            with tb.If(self.thread == 0), tb.Then():
                self._alone(step, trips)
        elif isinstance(step, KernelStep):
            self._before("all")
            self._kernel(step, trips)
        elif isinstance(step, LoopStep):
            with self._body(), tb.serial(0, tirx.const(step.count, "int64")) as trip:
                self._steps(step.body, (*trips, trip))
        elif isinstance(step, BranchStep):
            self._branch(step, trips)
        elif isinstance(step, WhileStep):
            self._while(step, trips)

    def _splits(self, step: Step) -> bool:
        if isinstance(step, KernelStep):
            return step.kernel in self.parallel
        if isinstance(step, BranchStep):
            return any(map(self._splits, (*step.then_steps, *step.else_steps)))
        return isinstance(step, LoopStep | WhileStep) and any(map(self._splits, step.body))

    def _before(self, runs_on: str) -> None:
        """Put a barrier before a step where an earlier one ran on another thread."""
        if "all" in self.pending or (self.pending and runs_on == "all"):
            self._barrier()
        self.pending.add(runs_on)

    def _barrier(self) -> None:
        with tb.If(self.threads > 1), tb.Then():
            call("ranvier_barrier", self.team, self.threads)
        self.pending = set()

    @contextmanager
    def _body(self) -> Iterator[None]:
        """Emit steps that may follow themselves."""
        self.pending = {"one", "all"}
        yield
        self.pending = {"one", "all"}

    def _steps(self, steps: Sequence[Step], trips: tuple[Any, ...]) -> None:
        for step in steps:
            self._step(step, trips)

    def _branch(self, step: BranchStep, trips: tuple[Any, ...]) -> None:
        self._before("all")  # every thread reads the condition
        read, after = self.pending, set()
        with tb.If(self._flag(step.condition, trips)):
            for frame, arm in ((tb.Then(), step.then_steps), (tb.Else(), step.else_steps)):
                self.pending = set(read)
                with frame:
                    self._steps(arm, trips)
                    tb.evaluate(tirx.const(0, "int32"))
                after |= self.pending
        self.pending = after

    def _while(self, step: WhileStep, trips: tuple[Any, ...]) -> None:
        counter = self._scalar(step.iteration, trips, "int64")
        self._count(counter, tirx.const(0, "int64"))
        with self._body(), tb.While(self._goes_on(step, counter, trips)):
            # A while loop is a loop level too; nothing moves with it, so its trips are zero.
            self._steps(step.body, (*trips, tirx.const(0, "int64")))
            self._count(counter, counter[0] + tirx.const(1, "int64"))

    def _count(self, counter: Any, value: Any) -> None:
        """Let one thread write the trip number, and all wait until it may be read."""
        self._before("one")
        with tb.If(self.thread == 0), tb.Then():
            tb.buffer_store(counter, value, [0])
        self._barrier()

    # On one thread

    def _alone(self, step: Step, trips: tuple[Any, ...]) -> None:
        if isinstance(step, KernelStep):
            self._kernel(step, trips)
        elif isinstance(step, LoopStep):
            with tb.serial(0, tirx.const(step.count, "int64")) as trip:
                self._all_alone(step.body, (*trips, trip))
        elif isinstance(step, BranchStep):
            with tb.If(self._flag(step.condition, trips)):
                for frame, arm in ((tb.Then(), step.then_steps), (tb.Else(), step.else_steps)):
                    with frame:
                        self._all_alone(arm, trips)
        elif isinstance(step, WhileStep):
            counter = self._scalar(step.iteration, trips, "int64")
            zero, one = tirx.const(0, "int64"), tirx.const(1, "int64")
            tb.buffer_store(counter, zero, [0])
            with tb.While(self._goes_on(step, counter, trips)):
                self._all_alone(step.body, (*trips, zero))
                tb.buffer_store(counter, counter[0] + one, [0])

    def _all_alone(self, steps: Sequence[Step], trips: tuple[Any, ...]) -> None:
        for step in steps:
            self._alone(step, trips)
        tb.evaluate(tirx.const(0, "int32"))  # TIR has no empty body

    # Calls and addresses

    def _kernel(self, step: KernelStep, trips: tuple[Any, ...]) -> None:
        arguments = [self._address(ref, trips) for ref in step.arguments]
        arguments += [self.thread, self.threads]
        call(step.kernel, *arguments)

    def _goes_on(self, step: WhileStep, counter: Any, trips: tuple[Any, ...]) -> Any:
        flag = self._flag(step.condition, trips)
        if step.max_trips < 0:
            return flag
        return tirx.And(flag, counter[0] < tirx.const(step.max_trips, "int64"))

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
        # Read at every use: a buffer declared per entry would be a scope per entry, and TVM's
        # passes are recursive in scopes. A step program has hundreds of inputs and outputs.
        base = self.table[self.places[ref.space, ref.index]]
        return T.reinterpret("handle", base + tirx.Cast("uint64", offset))
