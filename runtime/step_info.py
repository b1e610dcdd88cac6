# SPDX-License-Identifier: MIT
"""What a step is and how much it computes, for profiles and ``inspect``."""

from __future__ import annotations

import re
from collections.abc import Iterable

from .program import (
    BranchStep,
    HostStep,
    KernelInfo,
    KernelStep,
    LoopStep,
    Program,
    Step,
)

_OP_CALL = re.compile(r"^\s+(?:%.*? = )?([a-z_]\w*)\(", re.MULTILINE | re.ASCII)


def step_info(program: Program, step: Step) -> KernelInfo:
    """Describe a step; of a loop or branch the work of its kernels together.

    A branch counts its longer arm, a while loop one trip.
    """
    if isinstance(step, KernelStep):
        return program.kernel(step.kernel)
    if isinstance(step, HostStep):
        return KernelInfo("host", f"host: {', '.join(host_ops(step))}", step.text, 0, 0)
    if isinstance(step, LoopStep):
        return _sum(program, step.body, step.count, f"loop of {step.count}")
    if isinstance(step, BranchStep):
        arms = (step.then_steps, step.else_steps)
        return max((_sum(program, arm, 1, "branch") for arm in arms), key=lambda i: i.flops)
    return _sum(program, step.body, 1, "while loop")


def host_ops(step: HostStep) -> tuple[str, ...]:
    """Names of the ops that a host step evaluates, those of regions included."""
    return tuple(dict.fromkeys(_OP_CALL.findall(step.text)))


def program_flops(program: Program) -> int:
    """Floating point operations of one run."""
    return sum(step_info(program, step).flops for step in program.steps)


def _sum(program: Program, steps: Iterable[Step], times: int, name: str) -> KernelInfo:
    parts = [step_info(program, step) for step in steps]
    labels = list(dict.fromkeys(part.label for part in parts))
    label = f"{name}: {', '.join(labels[:3])}{', …' if len(labels) > 3 else ''}"
    sources = dict.fromkeys(source for part in parts for source in part.sources)
    flops = times * sum(part.flops for part in parts)
    nbytes = times * sum(part.bytes for part in parts)
    text = "\n".join(part.text for part in parts)
    return KernelInfo(name, label, text, flops, nbytes, tuple(sources))
