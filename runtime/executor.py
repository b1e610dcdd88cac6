# SPDX-License-Identifier: MIT
"""Runs a program: its shared library between host steps, over one arena."""

from __future__ import annotations

import ctypes
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tvm_ffi

from ..errors import ArtifactError, ExecutionError, InputError
from .buffers import ParameterBlob, address, aligned_empty, as_bytes, as_ready, is_ready
from .dtypes import Array
from .host import HostRunner
from .program import BufferRef, KernelInfo, Program, TensorSpec
from .step_info import step_info

Main = Callable[..., object]


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
        self._hidden = {check.output for check in program.checks}
        self._num_slots = 1 + max(_slots(program), default=-1)
        self._segments = _segments(len(program.steps), sorted(self._hosts))
        # One arena per run in progress, kept for the next run.
        self._arenas: deque[Array] = deque()

    def run(self, arrays: Sequence[Any]) -> list[Any]:
        """Return the outputs for ``arrays``, one per input, of the program's types.

        Raises:
            ExecutionError: the program found invalid data, or memory ran out.
        """
        frame = _Frame(self, self._ready(arrays), self._fresh_outputs())
        return self._execute(frame, self._segments)

    def run_bound(self, arrays: Sequence[Array], results: Sequence[Array]) -> None:
        """Like :meth:`run`, but read and write the given arrays in place.

        Args:
            arrays: one aligned contiguous array per input.
            results: one aligned contiguous array per visible output.

        Raises:
            InputError: an array cannot be used in place.
        """
        self._check_bound(arrays, self.program.inputs, "input")
        visible = [k for k in range(len(self.program.outputs)) if k not in self._hidden]
        self._check_bound(results, [self.program.outputs[k] for k in visible], "output")
        bound = dict(zip(visible, results, strict=True))
        self._execute(_Frame(self, arrays, self._fresh_outputs(bound)), self._segments)

    def profile(self, arrays: Sequence[Any]) -> tuple[list[Any], list[tuple[KernelInfo, float]]]:
        """Run step by step.

        Returns:
            The outputs, and for each top-level step what it is and the seconds it took.
        """
        times: list[tuple[KernelInfo, float]] = []
        frame = _Frame(self, self._ready(arrays), self._fresh_outputs())
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
            if not frame.outputs[check.output].all():
                raise ExecutionError(check.message)
        results = []
        for k, array in enumerate(frame.outputs):
            slot = self.program.output_slot(k)
            if k not in self._hidden:
                results.append(array if slot is None else frame.slots[slot])
        return results

    def _ready(self, arrays: Sequence[Any]) -> list[Any]:
        if len(arrays) != len(self.program.inputs):
            raise InputError(
                f"the program takes {len(self.program.inputs)} inputs, {len(arrays)} were given"
            )
        ready = []
        for k, (array, spec) in enumerate(zip(arrays, self.program.inputs, strict=True)):
            if self.program.input_slot(k) is None:
                assert isinstance(spec, TensorSpec)
                if array.shape != spec.dims:
                    raise InputError(f"input {k} must be {spec}, its shape is {array.shape}")
                array = as_ready(array, spec)
            ready.append(array)
        return ready

    def _fresh_outputs(self, bound: Mapping[int, Array] | None = None) -> list[Any]:
        outputs: list[Any] = []
        for k, spec in enumerate(self.program.outputs):
            if bound is not None and k in bound:
                outputs.append(bound[k])
            elif self.program.output_slot(k) is None:
                assert isinstance(spec, TensorSpec)
                outputs.append(aligned_empty(spec.dims, spec.numpy_dtype))
            else:
                outputs.append(None)
        return outputs

    def _check_bound(self, arrays: Sequence[Any], specs: Sequence[Any], kind: str) -> None:
        if len(arrays) != len(specs):
            raise InputError(f"expected {len(specs)} bound {kind}s, found {len(arrays)}")
        for array, spec in zip(arrays, specs, strict=True):
            if not spec.is_buffer:
                raise InputError(f"{kind} {spec.name!r} is {spec}, which cannot be bound")
            require_bindable(array, spec, kind)

    def _arena(self) -> Array:
        try:
            return self._arenas.pop()
        except IndexError:
            return aligned_empty((self.program.arena_bytes,), np.uint8)


def require_bindable(array: Array, spec: TensorSpec, kind: str) -> None:
    """Check that an array can be read, and an output written, in place.

    Raises:
        InputError: wrong type, not contiguous, not aligned, or read-only.
    """
    what = f"{kind} {spec.name!r}"
    if array.dtype != spec.numpy_dtype or array.shape != spec.dims:
        raise InputError(f"{what} must be {spec}, found {array.dtype}{list(array.shape)}")
    if not is_ready(array, spec):
        raise InputError(
            f"{what} must be contiguous and aligned to 64 bytes to be bound; allocate it with "
            "ranvier.runtime.aligned_empty(shape, dtype)"
        )
    if kind == "output" and not array.flags.writeable:
        raise InputError(f"{what} is bound to a read-only array")


class _Frame:
    """The memory of one run: addresses for the library, views for host steps."""

    def __init__(self, executor: Executor, inputs: Sequence[Any], outputs: list[Any]) -> None:
        program = executor.program
        self.outputs = outputs
        self.arena = executor._arena()
        self.slots: list[Any] = [None] * executor._num_slots
        self.blocks: dict[tuple[str, int], Array] = {
            ("parameter", 0): executor._blob.data,
            ("arena", 0): self.arena,
        }
        for k, array in enumerate(inputs):
            slot = program.input_slot(k)
            if slot is None:
                self.blocks["input", k] = array
            else:
                self.slots[slot] = array
        for k, array in enumerate(outputs):
            if array is not None:
                self.blocks["output", k] = array
        ports = [("parameter", 0), ("arena", 0)]
        ports += [("input", k) for k in range(len(inputs))]
        ports += [("output", k) for k in range(len(outputs))]
        self.pointers = [self._pointer(port) for port in ports]

    def view(self, ref: BufferRef, spec: TensorSpec) -> Array:
        """Return the tensor at an address."""
        block = as_bytes(self.blocks[ref.space, ref.index])
        part = block[ref.offset : ref.offset + spec.nbytes]
        return part.view(spec.numpy_dtype).reshape(spec.dims)

    def _pointer(self, port: tuple[str, int]) -> ctypes.c_void_p:
        block = self.blocks.get(port)
        return ctypes.c_void_p(None if block is None else address(block))


def _load_main(library: Path) -> Main:
    try:
        main: Main = tvm_ffi.load_module(str(library))["main"]
    except Exception as error:
        raise ArtifactError(f"{library}: cannot be loaded as a compiled model ({error})") from error
    return main


def _slots(program: Program) -> list[int]:
    slots = [s for s in (*program.input_slots, *program.output_slots) if s is not None]
    for _, step in program.host_steps():
        operands = (*step.inputs, *step.outputs)
        slots += [slot for o in operands if (slot := getattr(o, "slot", None)) is not None]
    return slots


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
