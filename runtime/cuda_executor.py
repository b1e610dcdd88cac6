# SPDX-License-Identifier: MIT
"""Runs a program on an NVIDIA GPU: launches instead of calls, host steps between copies."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ArtifactError, ExecutionError, InputError, UnsupportedError
from .buffers import ParameterBlob
from .cuda_compile import compile_cuda
from .cuda_device import Device
from .cuda_launch import CudaLibrary, Launch
from .dtypes import Array
from .executor import BoundRun, num_slots
from .host import HostRunner
from .program import (
    BranchStep,
    BufferRef,
    HostStep,
    KernelInfo,
    KernelStep,
    LoopStep,
    Program,
    Step,
    TensorSpec,
    WhileStep,
)
from .strict_json import decode, parse_object

_Trips = tuple[int, ...]


class CudaExecutor:
    """Executes one program on a GPU; one run at a time, others wait.

    Args:
        program: the steps.
        library: what the CUDA target built.
        weights: arrays of the program's parameters by name.

    Raises:
        ArtifactError: the library is damaged or for an older GPU architecture.
        TargetError: no GPU, driver or CUDA wheels.
    """

    def __init__(self, program: Program, library: Path, weights: Mapping[str, Array]) -> None:
        self.program = program
        data = parse_object(library.read_bytes(), str(library))
        built = decode(CudaLibrary, data, str(library))
        self._device = Device()
        if int(built.arch.removeprefix("sm_")) > int(self._device.arch.removeprefix("sm_")):
            raise ArtifactError(
                f"{library}: kernels are for {built.arch}, this GPU is {self._device.arch}; "
                "compile the model for it"
            )
        self._launches = {k.kernel: k.launches for k in built.kernels}
        names = [launch.function for k in built.kernels for launch in k.launches]
        cubin = compile_cuda(built.source, self._device.arch) if names else b""
        self._functions = self._device.load(cubin, names) if names else {}
        self._hosts = {number: HostRunner(step) for number, step in program.host_steps()}
        self._lock = threading.Lock()
        self._bases: dict[tuple[str, int], int] = {}
        self._allocate(weights)

    def _allocate(self, weights: Mapping[str, Array]) -> None:
        blob = ParameterBlob.of(self.program, weights).block.array
        sizes = {("parameter", 0): blob.nbytes, ("arena", 0): self.program.arena_bytes}
        for kind, specs in (("input", self.program.inputs), ("output", self.program.outputs)):
            for k, spec in enumerate(specs):
                if isinstance(spec, TensorSpec) and spec.is_buffer:
                    sizes[kind, k] = spec.nbytes
        self._bases = {place: self._device.allocate(n) for place, n in sizes.items()}
        self._device.upload(blob, self._bases["parameter", 0])

    def close(self) -> None:
        """Give the GPU's memory back."""
        for address in self._bases.values():
            self._device.free(address)
        self._bases = {}

    def run(self, arrays: Sequence[Any]) -> list[Any]:
        """Return the outputs for ``arrays``, one per input, of the program's types.

        Raises:
            InputError: another number of arrays than inputs.
            ExecutionError: the program found invalid data, or the GPU failed.
        """
        if len(arrays) != len(self.program.inputs):
            raise InputError(
                f"the program takes {len(self.program.inputs)} inputs, {len(arrays)} were given"
            )
        with self._lock:
            self._device.activate()
            slots = self._enter(arrays)
            for number, step in enumerate(self.program.steps):
                self._step(step, (), number, slots)
            return self._results(slots)

    def bind(self, arrays: Sequence[Array], results: Sequence[Array]) -> BoundRun:
        """Refuse: arrays of the host cannot be used by the GPU in place.

        Raises:
            UnsupportedError: always.
        """
        raise UnsupportedError("bound arrays are for cpu artifacts; use run")

    def profile(self, arrays: Sequence[Any]) -> tuple[list[Any], list[tuple[KernelInfo, float]]]:
        """Refuse: launches return before the GPU has done its work, so times would mislead.

        Raises:
            UnsupportedError: always.
        """
        raise UnsupportedError("profiles are for cpu artifacts in this release")

    def _enter(self, arrays: Sequence[Any]) -> list[Any]:
        slots: list[Any] = [None] * num_slots(self.program)
        for k, array in enumerate(arrays):
            slot = self.program.input_slot(k)
            if slot is None:
                self._device.upload(np.ascontiguousarray(array), self._bases["input", k])
            else:
                slots[slot] = array
        return slots

    def _results(self, slots: list[Any]) -> list[Any]:
        found: list[Any] = []
        for k, spec in enumerate(self.program.outputs):
            slot = self.program.output_slot(k)
            if slot is not None:
                found.append(slots[slot])
                continue
            assert isinstance(spec, TensorSpec)
            found.append(self._read(BufferRef("output", k, 0), spec))
        hidden = {check.output: check.message for check in self.program.checks}
        for k, message in hidden.items():
            if not found[k].all():
                raise ExecutionError(message)
        return [value for k, value in enumerate(found) if k not in hidden]

    def _step(self, step: Step, trips: _Trips, number: int, slots: list[Any]) -> None:
        if isinstance(step, KernelStep):
            self._kernel(step, trips)
        elif isinstance(step, LoopStep):
            for trip in range(step.count):
                self._steps(step.body, (*trips, trip), slots)
        elif isinstance(step, BranchStep):
            taken = step.then_steps if self._flag(step.condition, trips) else step.else_steps
            self._steps(taken, trips, slots)
        elif isinstance(step, WhileStep):
            self._while(step, trips, slots)
        elif isinstance(step, HostStep):
            self._host(number, step, slots)

    def _steps(self, steps: Sequence[Step], trips: _Trips, slots: list[Any]) -> None:
        for step in steps:
            self._step(step, trips, -1, slots)

    def _kernel(self, step: KernelStep, trips: _Trips) -> None:
        addresses = [self._address(ref, trips) for ref in step.arguments]
        for launch in self._launches[step.kernel]:
            self._launch(launch, [addresses[k] for k in launch.arguments])

    def _launch(self, launch: Launch, addresses: list[int]) -> None:
        function = self._functions[launch.function]
        self._device.launch(function, launch.blocks, launch.threads, addresses)

    def _while(self, step: WhileStep, trips: _Trips, slots: list[Any]) -> None:
        trip = 0
        while trip != step.max_trips and self._flag(step.condition, (*trips, trip)):
            counter = np.asarray([trip], np.int64)
            self._device.upload(counter, self._address(step.iteration, trips))
            self._steps(step.body, (*trips, trip), slots)
            trip += 1

    def _flag(self, ref: BufferRef, trips: _Trips) -> bool:
        flag = np.zeros(1, np.uint8)
        self._device.download(self._address(ref, trips), flag)
        return bool(flag[0])

    def _host(self, number: int, step: HostStep, slots: list[Any]) -> None:
        staged: dict[BufferRef, Array] = {}

        def view(ref: BufferRef, spec: TensorSpec) -> Array:
            if ref not in staged:
                staged[ref] = self._read(ref, spec)
            return staged[ref]

        self._hosts[number].run(view, slots)
        for operand in step.outputs:
            ref = getattr(operand, "ref", None)
            if ref is not None:
                self._device.upload(staged[ref], self._address(ref, ()))

    def _read(self, ref: BufferRef, spec: TensorSpec) -> Array:
        array: Array = np.empty(spec.dims, spec.numpy_dtype)
        self._device.download(self._address(ref, ()), array)
        return array

    def _address(self, ref: BufferRef, trips: _Trips) -> int:
        moved = sum(s * t for s, t in zip(ref.strides, trips, strict=False))
        return self._bases[ref.space, ref.index] + ref.offset + moved
