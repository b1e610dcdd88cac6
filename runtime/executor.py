# SPDX-License-Identifier: MIT
"""Runs a program: its shared library between host steps, over one arena."""

from __future__ import annotations

import ctypes
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..errors import ExecutionError, InputError
from .buffers import Block, ParameterBlob, allocate, allocate_bytes, ready_address
from .dtypes import Array
from .host import HostRunner
from .native import Library, call_type
from .program import BufferRef, KernelInfo, Program, TensorSpec, ValueSpec
from .step_info import step_info
from .team import Team, Workers

_SMALL = 4096
"""Bytes."""

Times = list[tuple[KernelInfo, float]]


class BoundRun(Protocol):
    """A program with the arrays that it reads and writes in place."""

    def __call__(self) -> object:
        """Run once."""


class ProgramExecutor(Protocol):
    """What a session asks of the executor of any target."""

    def run(self, arrays: Sequence[Any]) -> list[Any]:
        """Return the outputs for ``arrays``."""

    def bind(self, arrays: Sequence[Array], results: Sequence[Array]) -> BoundRun:
        """Return a run that reads and writes the given arrays in place."""

    def profile(self, arrays: Sequence[Any]) -> tuple[list[Any], Times]:
        """Run step by step and time every step."""


class Executor:
    """Executes one program; safe to use from several threads at once.

    Args:
        program: the steps.
        library: the shared library with the program's ``main``.
        weights: arrays of the program's parameters by name.
        workers: the threads that help; none if left out.

    Raises:
        ArtifactError: library or weights do not fit the program.
    """

    def __init__(
        self,
        program: Program,
        library: Path,
        weights: Mapping[str, Array],
        workers: Workers | None = None,
    ) -> None:
        self.program = program
        self._library = Library(library)
        self._workers = workers if program.is_parallel else None
        self._blob = ParameterBlob.of(program, weights)
        self._hosts = {number: HostRunner(step) for number, step in program.host_steps()}
        self._inputs = [_Port(s, program.input_slot(k)) for k, s in enumerate(program.inputs)]
        self._outputs = [_Port(s, program.output_slot(k)) for k, s in enumerate(program.outputs)]
        self._hidden = {check.output for check in program.checks}
        self._visible = [k for k in range(len(program.outputs)) if k not in self._hidden]
        self._num_slots = num_slots(program)
        self._only_buffers = not (self._num_slots or self._hidden)
        self._segments = _segments(len(program.steps), sorted(self._hosts))
        # One frame per run in progress, kept for the next run.
        self._frames: deque[_Frame] = deque()

    def run(self, arrays: Sequence[Any]) -> list[Any]:
        """Return the outputs for ``arrays``, one per input, of the program's types.

        Raises:
            ExecutionError: the program found invalid data, or memory ran out.
        """
        return self._run(arrays, self._segments)

    def run_bound(self, arrays: Sequence[Array], results: Sequence[Array]) -> None:
        """Like :meth:`run`, but read and write the given arrays in place.

        Raises:
            InputError: an array cannot be used in place.
        """
        self.bind(arrays, results)()

    def bind(self, arrays: Sequence[Array], results: Sequence[Array]) -> BoundRun:
        """Return a run that reads and writes the given arrays in place, again and again.

        Args:
            arrays: one aligned contiguous array per input.
            results: one aligned contiguous array per visible output.

        Raises:
            InputError: an array cannot be used in place.
        """
        if (len(arrays), len(results)) != (len(self._inputs), len(self._visible)):
            raise InputError(
                f"expected {len(self._inputs)} inputs and {len(self._visible)} outputs to be "
                f"bound, found {len(arrays)} and {len(results)}"
            )
        frame = _Frame(self.program, self._blob.block, self._num_slots)
        for k, (array, port) in enumerate(zip(arrays, self._inputs, strict=True)):
            frame.set_input(k, *require_bindable(array, port.spec, "input"))
        for k, array in zip(self._visible, results, strict=True):
            frame.set_output(k, *require_bindable(array, self._outputs[k].spec, "output"))
        for k in self._hidden:
            frame.set_output(k, *allocate(self._outputs[k].dims, self._outputs[k].dtype))

        turn = threading.Lock()

        def run() -> None:
            with turn:  # workers read the frame of a run until its end
                lent = self._take()
                frame.set_arena(lent.arena)
                try:
                    self._execute(frame, self._segments)
                finally:
                    self._frames.append(lent)
                self._check(frame)

        return run

    def profile(self, arrays: Sequence[Any]) -> tuple[list[Any], Times]:
        """Run step by step.

        Returns:
            The outputs, and for each top-level step what it is and the seconds it took.
        """
        times: Times = []
        steps = [(k, k + 1) for k in range(len(self.program.steps))]
        results = self._run(arrays, steps, times)
        return results, times

    def _run(
        self, arrays: Sequence[Any], segments: Sequence[tuple[int, int]], times: Times | None = None
    ) -> list[Any]:
        frame = self._take()
        try:
            self._fill(frame, arrays)
            self._execute(frame, segments, times)
            return self._results(frame)
        finally:
            frame.clear()
            self._frames.append(frame)

    def _execute(
        self, frame: _Frame, segments: Sequence[tuple[int, int]], times: Times | None = None
    ) -> None:
        team = None
        if self._workers is not None:
            team = self._workers.borrow(self._library)
            frame.set_team(team)
        try:
            for first, last in segments:
                start = time.perf_counter() if times is not None else 0.0
                host = self._hosts.get(first)
                if host is None:
                    frame.call.first, frame.call.last = first, last
                    self._library.run(frame.address)
                else:
                    host.run(frame.view, frame.slots)
                if times is not None:
                    info = step_info(self.program, self.program.steps[first])
                    times.append((info, time.perf_counter() - start))
        finally:
            if team is not None:
                team.give_back()

    def _results(self, frame: _Frame) -> list[Any]:
        self._check(frame)
        if self._only_buffers:
            return frame.outputs
        slots = ((k, self._outputs[k].slot) for k in self._visible)
        return [frame.outputs[k] if s is None else frame.slots[s] for k, s in slots]

    def _check(self, frame: _Frame) -> None:
        for check in self.program.checks:
            if not frame.outputs[check.output].all():
                raise ExecutionError(check.message)

    def _fill(self, frame: _Frame, arrays: Sequence[Any]) -> None:
        """Point a frame to the inputs, copied where kernels cannot read them, and new outputs."""
        if len(arrays) != len(self._inputs):
            raise InputError(
                f"the program takes {len(self._inputs)} inputs, {len(arrays)} were given"
            )
        for k, port in enumerate(self._inputs):
            array = arrays[k]
            if port.slot is not None:
                frame.slots[port.slot] = array
            elif array.shape != port.dims:
                raise InputError(f"input {k} must be {port.spec}, found {list(array.shape)}")
            else:
                # To copy a small array takes less time than to find out where it is.
                large = port.nbytes > _SMALL
                address = ready_address(array, port.dtype) if large else None
                if address is None:
                    frame.copy_input(k, array, port)
                else:
                    frame.set_input(k, array, address)
        for k, port in enumerate(self._outputs):
            if port.slot is None:
                frame.set_output(k, *allocate_bytes(port.nbytes, port.dims, port.dtype))

    def _take(self) -> _Frame:
        try:
            return self._frames.pop()
        except IndexError:
            frame = _Frame(self.program, self._blob.block, self._num_slots)
            frame.set_arena(allocate((self.program.arena_bytes,), np.dtype(np.uint8)))
            return frame


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
    address = ready_address(array, spec.numpy_dtype)
    if address is None:
        raise InputError(
            f"{what} must be contiguous and aligned to 64 bytes to be bound; allocate it with "
            "ranvier.runtime.aligned_empty(shape, dtype)"
        )
    if kind == "output" and not array.flags.writeable:
        raise InputError(f"{what} is bound to a read-only array")
    return Block(array, address)


class _Port:
    """An input or output, with what every run asks of it worked out once."""

    def __init__(self, spec: ValueSpec, slot: int | None) -> None:
        self.spec = spec
        self.slot = slot
        if slot is None:
            assert isinstance(spec, TensorSpec)
            self.dims = spec.dims
            self.dtype = spec.numpy_dtype
            self.nbytes = spec.nbytes


class _Frame:
    """The memory of one run: addresses for the library, arrays and slots for host steps."""

    def __init__(self, program: Program, parameters: Block, num_slots: int) -> None:
        self.parameters = parameters.array
        self.arena = parameters  # until it is set
        self.inputs: list[Any] = [None] * len(program.inputs)
        self.outputs: list[Any] = [None] * len(program.outputs)
        self.slots: list[Any] = [None] * num_slots
        self._copies: dict[int, Block] = {}
        self._lent: list[int] = []
        self._outputs_at = 2 + len(self.inputs)
        self.call: Any = call_type(self._outputs_at + len(self.outputs))()
        self.call.threads = 1
        self.address = ctypes.addressof(self.call)
        self._table = self.call.table
        self._table[0] = parameters.address

    def set_arena(self, arena: Block) -> None:
        """Use this memory for intermediate results."""
        self.arena = arena
        self._table[1] = arena.address

    def set_input(self, k: int, array: Array, address: int) -> None:
        """Read input ``k`` here."""
        self.inputs[k] = array
        self._table[2 + k] = address
        self._lent.append(k)

    def copy_input(self, k: int, array: Array, port: _Port) -> None:
        """Read input ``k`` from a copy, in memory that the frame keeps for the next run."""
        block = self._copies.get(k)
        if block is None:
            block = self._copies[k] = allocate(port.dims, port.dtype)
        kept = block.array
        kept[...] = array
        if self.inputs[k] is not kept:
            self.inputs[k] = kept
            self._table[2 + k] = block.address

    def set_output(self, k: int, array: Array, address: int) -> None:
        """Write output ``k`` here."""
        self.outputs[k] = array
        self._table[self._outputs_at + k] = address

    def set_team(self, team: Team | None) -> None:
        """Run on these threads, or on the calling one alone."""
        self.call.threads, self.call.team = (team.threads, team.address) if team else (1, None)

    def clear(self) -> None:
        """Let go of what belongs to the caller."""
        for k in self._lent:
            self.inputs[k] = None
        self._lent.clear()
        self.outputs = [None] * len(self.outputs)
        self.slots = [None] * len(self.slots)

    def view(self, ref: BufferRef, spec: TensorSpec) -> Array:
        """Return the tensor at an address."""
        flat = self._array(ref).reshape(-1).view(np.uint8)
        part: Array = flat[ref.offset : ref.offset + spec.nbytes].view(spec.numpy_dtype)
        return part.reshape(spec.dims)

    def _array(self, ref: BufferRef) -> Array:
        if ref.space == "parameter":
            return self.parameters
        if ref.space == "arena":
            return self.arena.array
        found: Array = (self.inputs if ref.space == "input" else self.outputs)[ref.index]
        return found


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
