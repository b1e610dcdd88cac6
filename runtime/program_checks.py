# SPDX-License-Identifier: MIT
"""Consistency of a program: every address, kernel and slot that a step names exists."""

from __future__ import annotations

from collections.abc import Iterable

from ..errors import ArtifactError
from .program import (
    LARGEST,
    BranchStep,
    BufferOperand,
    BufferRef,
    HostStep,
    KernelStep,
    LoopStep,
    Program,
    SlotOperand,
    Step,
    TensorSpec,
    ValueSpec,
    WhileStep,
)


def check_program(program: Program) -> None:
    """Check what the fields of a program say of each other.

    Raises:
        ArtifactError: a reference leads nowhere or out of bounds.
    """
    _check_sizes(program)
    _check_ports("input", program.inputs, program.input_slots)
    _check_ports("output", program.outputs, program.output_slots)
    _check_flags(program)
    checker = _Steps(program)
    for number, step in enumerate(program.steps):
        checker.check(step, (), f"step {number}")
    for k, slot in enumerate(program.output_slots):
        if slot is not None and slot not in checker.filled:
            raise ArtifactError(f"output {k} is taken from slot {slot}, which is never written")


def _check_sizes(program: Program) -> None:
    for name in ("parameter_bytes", "arena_bytes"):
        if not 0 <= getattr(program, name) < LARGEST:
            raise ArtifactError(f"{name} is {getattr(program, name)}, out of range")
    names = [info.name for info in program.kernels]
    if len(set(names)) != len(names):
        raise ArtifactError("two kernels have one name")
    for parameter in program.parameters:
        end = parameter.offset + parameter.spec.nbytes
        if end > program.parameter_bytes:
            raise ArtifactError(
                f"parameter {parameter.name!r} ends at byte {end}, "
                f"the blob has {program.parameter_bytes}"
            )


def _check_ports(kind: str, specs: tuple[ValueSpec, ...], slots: tuple[int | None, ...]) -> None:
    if slots and len(slots) != len(specs):
        raise ArtifactError(f"{len(specs)} {kind}s but {len(slots)} {kind} slots")
    for k, spec in enumerate(specs):
        slot = slots[k] if slots else None
        if slot is None and not spec.is_buffer:
            raise ArtifactError(f"{kind} {k} ({spec}) cannot be in a buffer and has no slot")
        if slot is not None and slot < 0:
            raise ArtifactError(f"{kind} {k} has slot {slot}")


def _check_flags(program: Program) -> None:
    if len({check.output for check in program.checks}) != len(program.checks):
        raise ArtifactError("an output is checked twice")
    for check in program.checks:
        if not 0 <= check.output < len(program.outputs):
            raise ArtifactError(f"check of output {check.output}, which does not exist")
        spec = program.outputs[check.output]
        if not isinstance(spec, TensorSpec) or spec.dtype != "bool" or not spec.is_static:
            raise ArtifactError(f"check of output {check.output}, which is {spec}, not a flag")


class _Steps:
    def __init__(self, program: Program) -> None:
        self.program = program
        self.kernels = {info.name for info in program.kernels}
        self.filled = {s for s in program.input_slots if s is not None}

    def check(self, step: Step, counts: tuple[int, ...], where: str) -> None:
        if isinstance(step, KernelStep):
            if step.kernel not in self.kernels:
                raise ArtifactError(f"{where}: unknown kernel {step.kernel!r}")
            for ref in step.arguments:
                self.reference(ref, 0, counts, where)
        elif isinstance(step, LoopStep):
            self.all(step.body, (*counts, step.count), where)
        elif isinstance(step, BranchStep):
            self.reference(step.condition, 1, counts, where)
            self.all(step.then_steps, counts, f"{where}, then")
            self.all(step.else_steps, counts, f"{where}, else")
        elif isinstance(step, WhileStep):
            self.reference(step.condition, 1, counts, where)
            self.reference(step.iteration, 8, counts, where)
            self.all(step.body, (*counts, step.max_trips), where)
        elif counts or not where.startswith("step ") or "," in where:
            raise ArtifactError(f"{where}: a host step inside a loop or branch")
        else:
            self.host(step, where)

    def all(self, steps: Iterable[Step], counts: tuple[int, ...], where: str) -> None:
        for number, step in enumerate(steps):
            self.check(step, counts, f"{where}, {number}")

    def host(self, step: HostStep, where: str) -> None:
        for operand in step.inputs:
            if isinstance(operand, BufferOperand):
                self.reference(operand.ref, operand.spec.nbytes, (), where)
            elif operand.slot not in self.filled:
                raise ArtifactError(f"{where}: host slot {operand.slot} is read before written")
        for operand in step.outputs:
            if isinstance(operand, BufferOperand):
                self.reference(operand.ref, operand.spec.nbytes, (), where)
        self.filled |= {o.slot for o in step.outputs if isinstance(o, SlotOperand)}

    def reference(self, ref: BufferRef, size: int, counts: tuple[int, ...], where: str) -> None:
        """Check that ``size`` bytes at every address of ``ref`` are inside its space."""
        if len(ref.strides) > len(counts):
            raise ArtifactError(f"{where}: {len(ref.strides)} strides inside {len(counts)} loops")
        moves = [s * max(n - 1, 0) for s, n in zip(ref.strides, counts, strict=False)]
        low = ref.offset + sum(m for m in moves if m < 0)
        high = ref.offset + sum(m for m in moves if m > 0) + size
        space = self.space_bytes(ref, where)
        if low < 0 or high > space:
            raise ArtifactError(
                f"{where}: bytes {low} to {high} of {ref.space} {ref.index}, which has {space}"
            )

    def space_bytes(self, ref: BufferRef, where: str) -> int:
        if ref.space == "parameter":
            return self.program.parameter_bytes
        if ref.space == "arena":
            return self.program.arena_bytes
        specs = self.program.inputs if ref.space == "input" else self.program.outputs
        slots = self.program.input_slots if ref.space == "input" else self.program.output_slots
        if ref.index >= len(specs):
            raise ArtifactError(f"{where}: there is no {ref.space} {ref.index}")
        spec = specs[ref.index]
        if (slots and slots[ref.index] is not None) or not isinstance(spec, TensorSpec):
            raise ArtifactError(f"{where}: {ref.space} {ref.index} is a host object")
        return spec.nbytes
