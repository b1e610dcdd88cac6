# SPDX-License-Identifier: MIT
"""Runs a program: its shared library between host steps, over one arena."""

from __future__ import annotations

import ctypes
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tvm_ffi

from ..errors import ArtifactError, ExecutionError, InputError
from .buffers import Block, ParameterBlob, allocate, as_block, ready_block
from .dtypes import Array
from .host import HostRunner
from .program import BufferRef, KernelInfo, Program, Space, TensorSpec, ValueSpec
from .step_info import step_info

Main = Callable[..., object]

_NULL = ctypes.c_void_p(None)


class ProgramExecutor(Protocol):
    """What a session asks of the executor of any target."""

    def run(self, arrays: Sequence[Any]) -> list[Any]:
        """Return the outputs for ``arrays``."""

    def run_bound(self, arrays: Sequence[Array], results: Sequence[Array]) -> None:
        """Read and write the given arrays in place."""

    def profile(self, arrays: Sequence[Any]) -> tuple[list[Any], list[tuple[KernelInfo, float]]]:
        """Run step by step and time every step."""


class Executor:
    """Executes one program; safe to use from several threads at once.

    Args:
        program: the steps.
        library: the shared library with the program's ``main``.
        weights: arrays of the program's parameters by name.

    Raises:
        ArtifactError: library or weights do not fit the program.
    """

    def __init__(self, program: Program, library: Path, weights: Mapping[str, Array]) -> None:
        self.program = program
        self._main = _load_main(library)
        self._blob = ParameterBlob.of(program, weights)
        self._hosts = {number: HostRunner(step) for number, step in program.host_steps()}
        self._inputs = [_Port(s, program.input_slot(k)) for k, s in enumerate(program.inputs)]
        self._outputs = [_Port(s, program.output_slot(k)) for k, s in enumerate(program.outputs)]
        self._hidden = {check.output for check in program.checks}
        self._num_slots = num_slots(program)
        self._segments = _segments(len(program.steps), sorted(self._hosts))
        # One arena per run in progress, kept for the next run.
        self._arenas: deque[Block] = deque()

    def run(self, arrays: Sequence[Any]) -> list[Any]:
        """Return the outputs for ``arrays``, one per input, of the program's types.

        Raises:
            ExecutionError: the program found invalid data, or memory ran out.
        """
        return self._execute(self._frame(arrays), self._segments)

    def run_bound(self, arrays: Sequence[Array], results: Sequence[Array]) -> None:
        """Like :meth:`run`, but read and write the given arrays in place.

        Args:
            arrays: one aligned contiguous array per input.
            results: one aligned contiguous array per visible output.

        Raises:
            InputError: an array cannot be used in place.
        """
        visible = [k for k in range(len(self.program.outputs)) if k not in self._hidden]
        if (len(arrays), len(results)) != (len(self._inputs), len(visible)):
            raise InputError(
                f"expected {len(self._inputs)} inputs and {len(visible)} outputs to be bound, "
                f"found {len(arrays)} and {len(results)}"
            )
        for array, port in zip(arrays, self._inputs, strict=True):
            require_bindable(array, port.spec, "input")
        bound: dict[int, Block] = {}
        for k, array in zip(visible, results, strict=True):
            bound[k] = require_bindable(array, self._outputs[k].spec, "output")
        self._execute(self._frame(arrays, bound), self._segments)

    def profile(self, arrays: Sequence[Any]) -> tuple[list[Any], list[tuple[KernelInfo, float]]]:
        """Run step by step.

        Returns:
            The outputs, and for each top-level step what it is and the seconds it took.
        """
        times: list[tuple[KernelInfo, float]] = []
        frame = self._frame(arrays)
        steps = [(k, k + 1) for k in range(len(self.program.steps))]
        results = self._execute(frame, steps, times)
        return results, times

    def _execute(
        self,
        frame: _Frame,
        segments: Sequence[tuple[int, int]],
        times: list[tuple[KernelInfo, float]] | None = None,
    ) -> list[Any]:
        try:
            for first, last in segments:
                start = time.perf_counter()
                self._segment(frame, first, last)
                if times is not None:
                    info = step_info(self.program, self.program.steps[first])
                    times.append((info, time.perf_counter() - start))
        finally:
            self._arenas.append(frame.arena)
        return self._results(frame)

    def _segment(self, frame: _Frame, first: int, last: int) -> None:
        host = self._hosts.get(first)
        if host is not None:
            host.run(frame.view, frame.slots)
            return
        try:
            self._main(first, last, *frame.pointers)
        except Exception as error:
            raise ExecutionError(f"the compiled code failed: {error}") from error

    def _results(self, frame: _Frame) -> list[Any]:
        for check in self.program.checks:
            if not frame.blocks["output", check.output].array.all():
                raise ExecutionError(check.message)
        return [
            frame.blocks["output", k].array if port.slot is None else frame.slots[port.slot]
            for k, port in enumerate(self._outputs)
            if k not in self._hidden
        ]

    def _frame(self, arrays: Sequence[Any], bound: Mapping[int, Block] | None = None) -> _Frame:
        """Return the memory of a run on ``arrays``; outputs in ``bound`` are written there."""
        if len(arrays) != len(self._inputs):
            raise InputError(
                f"the program takes {len(self._inputs)} inputs, {len(arrays)} were given"
            )
        frame = _Frame(self._blob.block, self._arena(), self._num_slots)
        for k, (array, port) in enumerate(zip(arrays, self._inputs, strict=True)):
            if port.slot is None:
                if array.shape != port.dims:
                    raise InputError(f"input {k} must be {port.spec}, found {list(array.shape)}")
                frame.add("input", k, as_block(array, port.dtype))
            else:
                frame.slots[port.slot] = array
                frame.pointers.append(_NULL)
        for k, port in enumerate(self._outputs):
            if port.slot is not None:
                frame.pointers.append(_NULL)
            elif bound is not None and k in bound:
                frame.add("output", k, bound[k])
            else:
                frame.add("output", k, allocate(port.dims, port.dtype))
        return frame

    def _arena(self) -> Block:
        try:
            return self._arenas.pop()
        except IndexError:
            return allocate((self.program.arena_bytes,), np.dtype(np.uint8))


def require_bindable(array: Array, spec: ValueSpec, kind: str) -> Block:
    """Return an array as a block that can be read, or an output written, in place.

    Raises:
        InputError: wrong type, not contiguous, not aligned, or read-only.
    """
    what = f"{kind} {spec.name!r}"
    if not isinstance(spec, TensorSpec) or not spec.is_buffer:
        raise InputError(f"{what} is {spec}, which cannot be bound; only tensors of numbers can")
    if array.dtype != spec.numpy_dtype or array.shape != spec.dims:
        raise InputError(f"{what} must be {spec}, found {array.dtype}{list(array.shape)}")
    block = ready_block(array, spec.numpy_dtype)
    if block is None:
        raise InputError(
            f"{what} must be contiguous and aligned to 64 bytes to be bound; allocate it with "
            "ranvier.runtime.aligned_empty(shape, dtype)"
        )
    if kind == "output" and not array.flags.writeable:
        raise InputError(f"{what} is bound to a read-only array")
    return block


class _Port:
    """An input or output, with what every run asks of it worked out once."""

    def __init__(self, spec: ValueSpec, slot: int | None) -> None:
        self.spec = spec
        self.slot = slot
        if slot is None:
            assert isinstance(spec, TensorSpec)
            self.dims = spec.dims
            self.dtype = spec.numpy_dtype


class _Frame:
    """The memory of one run: addresses for the library, views and slots for host steps."""

    def __init__(self, parameters: Block, arena: Block, num_slots: int) -> None:
        self.arena = arena
        self.slots: list[Any] = [None] * num_slots
        self.blocks: dict[tuple[Space, int], Block] = {}
        self.pointers: list[ctypes.c_void_p] = []
        self.add("parameter", 0, parameters)
        self.add("arena", 0, arena)

    def add(self, space: Space, index: int, block: Block) -> None:
        """Append a block to the arguments of ``main``."""
        self.blocks[space, index] = block
        self.pointers.append(block.pointer)

    def view(self, ref: BufferRef, spec: TensorSpec) -> Array:
        """Return the tensor at an address."""
        flat = self.blocks[ref.space, ref.index].array.reshape(-1).view(np.uint8)
        part: Array = flat[ref.offset : ref.offset + spec.nbytes].view(spec.numpy_dtype)
        return part.reshape(spec.dims)


def _load_main(library: Path) -> Main:
    try:
        main: Main = tvm_ffi.load_module(str(library))["main"]
    except Exception as error:
        raise ArtifactError(f"{library}: cannot be loaded as a compiled model ({error})") from error
    return main


def num_slots(program: Program) -> int:
    """Return how many host slots the program's inputs, outputs and host steps use."""
    slots = [s for s in (*program.input_slots, *program.output_slots) if s is not None]
    for _, step in program.host_steps():
        operands = (*step.inputs, *step.outputs)
        slots += [slot for o in operands if (slot := getattr(o, "slot", None)) is not None]
    return 1 + max(slots, default=-1)


def _segments(count: int, hosts: Sequence[int]) -> list[tuple[int, int]]:
    """Return ranges of steps: each host step alone, everything between in one call."""
    segments: list[tuple[int, int]] = []
    start = 0
    for host in (*hosts, count):
        if start < host:
            segments.append((start, host))
        if host < count:
            segments.append((host, host + 1))
        start = host + 1
    return segments
