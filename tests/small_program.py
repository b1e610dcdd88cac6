# SPDX-License-Identifier: MIT
"""A small program written by hand: no importer, no passes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from tvm import te

from ranvier.codegen.kernel import Kernel, with_pointers
from ranvier.codegen.targets import parse_target
from ranvier.runtime.machine import TargetInfo, this_arch, this_os
from ranvier.runtime.program import (
    BufferOperand,
    BufferRef,
    Check,
    HostStep,
    KernelInfo,
    KernelStep,
    LoopStep,
    Parameter,
    Program,
    SlotOperand,
    TensorSpec,
)

X = TensorSpec("x", "float32", (2, 3))
W = np.array([1.0, 2.0, 3.0], np.float32)

EXP = """graph @host(%a: float32[2, 3]) {
  %b: float32[2, 3] = exp(%a)
  return %b
}"""
NEG = """graph @host(%a: float32[2, 3]) {
  %b: float32[2, 3] = neg(%a)
  return %b
}"""


def small_program() -> Program:
    """Return ``e = exp(x + w)`` in a host slot, ``z = -e``, and a flag that ``x`` is small.

    It has a loop over rows, host steps, the arena, a parameter and a check: all that the
    executor handles.
    """
    row = (12,)
    add = KernelStep(
        "add",
        (
            BufferRef("input", 0, 0, row),
            BufferRef("parameter", 0, 64),
            BufferRef("arena", 0, 128, row),
        ),
    )
    total = BufferOperand(BufferRef("arena", 0, 128), X)
    return Program(
        inputs=(X,),
        outputs=(
            TensorSpec("e", "float32", ("n0", 3)),
            TensorSpec("z", "float32", (2, 3)),
            TensorSpec("ok", "bool", ()),
        ),
        parameters=(Parameter("w", 64, TensorSpec("w", "float32", (3,))),),
        parameter_bytes=128,
        arena_bytes=192,
        steps=(
            LoopStep(2, (add,)),
            HostStep(EXP, (total,), (SlotOperand(0),)),
            HostStep(NEG, (SlotOperand(0),), (BufferOperand(BufferRef("output", 1, 0), X),)),
            KernelStep("check", (BufferRef("input", 0, 0), BufferRef("output", 2, 0))),
        ),
        kernels=(
            KernelInfo("add", "add 3", "add text", 3, 36, ("Add_0",)),
            KernelInfo("check", "check", "check text", 6, 25),
        ),
        checks=(Check(2, "x is 100 or more"),),
        output_slots=(0, None, None),
    )


def without_slot_output() -> Program:
    """Return the program with ``e`` in a buffer."""
    program = small_program()
    e = TensorSpec("e", "float32", (2, 3))
    in_buffer = BufferOperand(BufferRef("output", 0, 0), e)
    exp, neg = program.steps[1:3]
    assert isinstance(exp, HostStep)
    assert isinstance(neg, HostStep)
    middle = (replace(exp, outputs=(in_buffer,)), replace(neg, inputs=(in_buffer,)))
    steps = (program.steps[0], *middle, program.steps[3])
    return replace(program, outputs=(e, *program.outputs[1:]), output_slots=(), steps=steps)


def expected(x: Any) -> list[Any]:
    """Return the visible outputs of :func:`small_program`."""
    e = np.exp(x + W)
    return [e, -e]


def small_kernels() -> dict[str, Kernel]:
    """Return the program's kernels."""
    target = parse_target("cpu")
    x, w = (te.placeholder((3,), "float32", name) for name in "xw")
    add = te.create_prim_func([x, w, te.compute((3,), lambda i: x[i] + w[i], "y")])
    whole = te.placeholder((6,), "float32", "whole")
    axis = te.reduce_axis((0, 6))
    below = te.compute((1,), lambda _: te.min((whole[axis] < 100.0).astype("uint8"), axis), "below")
    check = te.create_prim_func([whole, below])
    functions = {"add": add, "check": check}
    return {n: Kernel(with_pointers(target.schedule(f)), ()) for n, f in functions.items()}


def target_info(**changes: Any) -> TargetInfo:
    """Return this machine as a target, with changes."""
    fields = {"name": "cpu", "kind": "cpu", "os": this_os(), "arch": this_arch(), **changes}
    return TargetInfo(**fields)
