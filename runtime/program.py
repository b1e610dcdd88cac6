# SPDX-License-Identifier: MIT
"""What a compiled model does, step by step: written by codegen, read by the executor."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from ..errors import ArtifactError
from .dtypes import DTYPE_NAMES, dtype_named
from .strict_json import decode, encode

if TYPE_CHECKING:
    from ..ir.types import Type

LARGEST = 2**48
"""Sizes and offsets from here on are refused: no machine has so many bytes."""

Space: TypeAlias = Literal["input", "output", "parameter", "arena"]
SPACES: tuple[Space, ...] = ("input", "output", "parameter", "arena")


# Types of values


@dataclass(frozen=True)
class TensorSpec:
    """Name, element type and shape of a tensor; a named dimension is symbolic.

    >>> TensorSpec("x", "float32", (2, 3)).nbytes
    24
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]

    def __post_init__(self) -> None:
        if self.dtype not in DTYPE_NAMES:
            raise ArtifactError(f"tensor {self.name!r} has unknown element type {self.dtype!r}")
        sizes = [d for d in self.shape if isinstance(d, int)]
        if any(d < 0 for d in sizes):
            raise ArtifactError(f"tensor {self.name!r} has a negative size in {list(self.shape)}")
        if math.prod(sizes) * dtype_named(self.dtype).itemsize >= LARGEST:
            raise ArtifactError(f"tensor {self.name!r} of shape {list(self.shape)} is too large")

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join(map(str, self.shape))}]"

    @property
    def is_static(self) -> bool:
        """Whether every dimension is a number."""
        return all(isinstance(d, int) for d in self.shape)

    @property
    def is_buffer(self) -> bool:
        """Whether it can live in a buffer: static, and not made of strings."""
        return self.is_static and self.dtype != "string"

    @property
    def dims(self) -> tuple[int, ...]:
        """The shape as numbers.

        Raises:
            ArtifactError: a dimension is symbolic.
        """
        sizes = tuple(d for d in self.shape if isinstance(d, int))
        if len(sizes) != len(self.shape):
            raise ArtifactError(f"tensor {self.name!r} has symbolic dimensions: {self}")
        return sizes

    @property
    def numpy_dtype(self) -> np.dtype[Any]:
        """The NumPy type of its elements."""
        return dtype_named(self.dtype)

    @property
    def nbytes(self) -> int:
        """Bytes of a static tensor (sub-byte elements take one byte each)."""
        return math.prod(self.dims) * self.numpy_dtype.itemsize


@dataclass(frozen=True)
class SequenceSpec:
    """A list of values of one type; ``element`` is ``None`` where nothing is known of it."""

    name: str
    element: ValueSpec | None

    is_buffer = False

    def __str__(self) -> str:
        return f"sequence<{self.element or '?'}>"


@dataclass(frozen=True)
class OptionalSpec:
    """A value that may be ``None``."""

    name: str
    element: ValueSpec | None

    is_buffer = False

    def __str__(self) -> str:
        return f"optional<{self.element or '?'}>"


@dataclass(frozen=True)
class UnknownSpec:
    """A value whose type the model does not declare; it shows when the model runs."""

    name: str

    is_buffer = False

    def __str__(self) -> str:
        return "?"


ValueSpec: TypeAlias = TensorSpec | SequenceSpec | OptionalSpec | UnknownSpec


def value_spec(name: str, type: Type) -> ValueSpec:
    """Return the specification of a graph value called ``name``."""
    from ..ir.types import OptionalType, SequenceType, TensorType, UnknownType

    if isinstance(type, TensorType):
        return TensorSpec(name, type.dtype, type.shape)
    if isinstance(type, UnknownType):
        return UnknownSpec(name)
    inner = type.element
    element = None if isinstance(inner, UnknownType) else value_spec("", inner)
    if isinstance(type, SequenceType):
        return SequenceSpec(name, element)
    assert isinstance(type, OptionalType)
    return OptionalSpec(name, element)


# Where values are


@dataclass(frozen=True)
class BufferRef:
    """An address: ``base(space, index) + offset + sum(strides[level] * trip[level])``.

    Attributes:
        space: ``input``, ``output``, ``parameter`` or ``arena``.
        index: number of the program's input or output; 0 for parameters and arena.
        offset: bytes from the start.
        strides: bytes that the address moves per trip of each enclosing loop, outermost
            first; inner loops that are left out do not move it.
    """

    space: Space
    index: int
    offset: int
    strides: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.space not in SPACES:
            raise ArtifactError(f"unknown space {self.space!r}; known: {', '.join(SPACES)}")
        if self.index < 0 or (self.index and self.space in ("parameter", "arena")):
            raise ArtifactError(f"index {self.index} does not fit space {self.space!r}")
        if not 0 <= self.offset < LARGEST or any(abs(s) >= LARGEST for s in self.strides):
            raise ArtifactError(f"offset {self.offset} or strides {self.strides} out of range")


@dataclass(frozen=True)
class BufferOperand:
    """A host step's operand or result that is a static tensor in a buffer."""

    ref: BufferRef
    spec: TensorSpec

    def __post_init__(self) -> None:
        if not self.spec.is_buffer:
            raise ArtifactError(f"{self.spec} cannot be in a buffer; it needs a host slot")


@dataclass(frozen=True)
class SlotOperand:
    """A host step's operand or result that is a Python object in a slot of the executor.

    Tensors of data-dependent shape, string tensors, sequences and optionals are such.
    """

    slot: int

    def __post_init__(self) -> None:
        if not 0 <= self.slot < 2**31:
            raise ArtifactError(f"host slot {self.slot} out of range")


HostOperand: TypeAlias = BufferOperand | SlotOperand


# Steps


@dataclass(frozen=True)
class KernelStep:
    """Call a kernel of the library with the addresses of its operands and results."""

    kernel: str
    arguments: tuple[BufferRef, ...]


@dataclass(frozen=True)
class LoopStep:
    """Run ``body`` ``count`` times."""

    count: int
    body: tuple[Step, ...]

    def __post_init__(self) -> None:
        if not 0 <= self.count < LARGEST:
            raise ArtifactError(f"loop count {self.count} out of range")


@dataclass(frozen=True)
class BranchStep:
    """Run ``then_steps`` if the boolean at ``condition`` is true, else ``else_steps``."""

    condition: BufferRef
    then_steps: tuple[Step, ...]
    else_steps: tuple[Step, ...]


@dataclass(frozen=True)
class WhileStep:
    """While the boolean at ``condition`` is true, run ``body``, at most ``max_trips`` times.

    The trip number is written to ``iteration`` (int64) before each trip; ``max_trips`` of
    -1 is no limit.
    """

    condition: BufferRef
    iteration: BufferRef
    max_trips: int
    body: tuple[Step, ...]

    def __post_init__(self) -> None:
        if not -1 <= self.max_trips < 2**63:
            raise ArtifactError(f"maximal number of trips {self.max_trips} out of range")


@dataclass(frozen=True)
class HostStep:
    """Evaluate a graph in the interpreter; at the top level of a program only.

    Attributes:
        text: the graph, usually of one node, with its constants in full.
        inputs: one operand per graph input.
        outputs: one operand per graph output.
    """

    text: str
    inputs: tuple[HostOperand, ...]
    outputs: tuple[HostOperand, ...]


Step: TypeAlias = KernelStep | LoopStep | BranchStep | WhileStep | HostStep


# The whole


@dataclass(frozen=True)
class KernelInfo:
    """What ``inspect`` and the profiler tell of a kernel.

    Attributes:
        name: symbol that steps refer to, unique in the program.
        label: short description for people, such as ``conv+relu 64x56x56``.
        text: the graph that the kernel computes.
        flops: floating point operations of one call.
        bytes: bytes read and written by one call.
        sources: names of the model's nodes that it computes.
        parallel: whether all threads call it and each does its part; else one calls it.
    """

    name: str
    label: str
    text: str
    flops: int
    bytes: int
    sources: tuple[str, ...] = ()
    parallel: bool = False


@dataclass(frozen=True)
class Parameter:
    """An array at ``offset`` of the parameter blob; ``name`` finds it among the weights."""

    name: str
    offset: int
    spec: TensorSpec

    def __post_init__(self) -> None:
        if not self.spec.is_buffer:
            raise ArtifactError(f"parameter {self.name!r} is {self.spec}, which has no bytes")
        if not 0 <= self.offset < LARGEST:
            raise ArtifactError(f"parameter {self.name!r}: offset {self.offset} out of range")


@dataclass(frozen=True)
class Check:
    """Output number ``output`` is a hidden flag; where it is false, ``message`` is raised."""

    output: int
    message: str


@dataclass(frozen=True)
class Program:
    """One specialisation of a model: concrete shapes, fixed values of shape-like inputs.

    The library's ``main(first, last, thread, threads, team, table)`` executes the top-level
    steps ``[first, last)`` and skips host steps. The table holds the addresses of parameters,
    arena, every input and every output; those that are host objects (a slot is given) are null.

    Attributes:
        inputs: what ``run`` takes.
        outputs: what the program computes, hidden flags of ``checks`` included.
        parameters: arrays in the parameter blob.
        parameter_bytes: size of the parameter blob.
        arena_bytes: size of the memory for intermediate results.
        steps: executed in order.
        kernels: one entry for every kernel name in ``steps``.
        checks: outputs that are flags.
        input_slots: per input the host slot that receives it, ``None`` for buffers; empty
            if all are buffers.
        output_slots: per output the host slot it is taken from, likewise.
    """

    inputs: tuple[ValueSpec, ...]
    outputs: tuple[ValueSpec, ...]
    parameters: tuple[Parameter, ...]
    parameter_bytes: int
    arena_bytes: int
    steps: tuple[Step, ...]
    kernels: tuple[KernelInfo, ...]
    checks: tuple[Check, ...] = ()
    input_slots: tuple[int | None, ...] = ()
    output_slots: tuple[int | None, ...] = ()

    def __post_init__(self) -> None:
        from .program_checks import check_program

        check_program(self)

    def to_json(self) -> dict[str, Any]:
        """Return the program as JSON types."""
        result: dict[str, Any] = encode(self)
        return result

    @classmethod
    def from_json(cls, data: Any, where: str = "program") -> Program:
        """Return the program that :meth:`to_json` wrote.

        Raises:
            ArtifactError: anything is missing, unknown, of the wrong type or out of range.
        """
        return decode(cls, data, where)

    @property
    def is_parallel(self) -> bool:
        """Whether more than one thread finds work in it."""
        return any(info.parallel for info in self.kernels)

    def input_slot(self, index: int) -> int | None:
        """The host slot of an input, ``None`` if it is a buffer."""
        return self.input_slots[index] if self.input_slots else None

    def output_slot(self, index: int) -> int | None:
        """The host slot of an output, ``None`` if it is a buffer."""
        return self.output_slots[index] if self.output_slots else None

    def host_steps(self) -> Iterator[tuple[int, HostStep]]:
        """Numbers and steps of the host steps."""
        for number, step in enumerate(self.steps):
            if isinstance(step, HostStep):
                yield number, step

    def kernel(self, name: str) -> KernelInfo:
        """Return the description of the kernel called ``name``."""
        for info in self.kernels:
            if info.name == name:
                return info
        raise ArtifactError(f"program has no kernel {name!r}")
