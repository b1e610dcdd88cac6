# SPDX-License-Identifier: MIT
"""Counts vector registers that a kernel's innermost loops keep on the stack, in its assembly.

A loop that needs more registers than there are spills some to memory on every trip, at a third
to a half of its speed. The assembly shows that without a measurement.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_FUNCTION = re.compile(r"\.type\s+([\w.$]+),\s*[@%]function")
_LABEL = re.compile(r"(\.L\w+):")
# jne; b, b.ne; cbz w9; tbnz x3, #0. Calls are no jumps.
_JUMP = re.compile(r"(?:j\w+|b(?:\.\w+)?|cbn?z\s+\w+,|tbn?z\s+\w+,\s*#\w+,)\s+(\.L\w+)$")
_ARITHMETIC = re.compile(r"(?:vfn?m(?:add|sub)\w+|vpdp\w+|vdpbf16ps|fml[as]|[su]dot|bfdot)\s")
_ADDITION = re.compile(r"(?:v(?:add|sub|mul)p[sd]|f(?:add|sub|mul)\s+v)")
_VECTOR = re.compile(r"%[xyz]mm\d+|\b[qv]\d+\b")
_COMMENT = re.compile(r"\s*(?:# |//).*")  # "#16" is an immediate of aarch64
# Frame and base pointers are general registers unless a function makes them point to its frame.
_POINTER = re.compile(r"movq?\s+%rsp, %(\w+)$|(?:mov|add)\s+(x\d+), sp\b")
_BASE = re.compile(r"\(%(\w+)[,)]|\[(\w+)[,\]]")


@dataclass(frozen=True)
class InnerLoop:
    """An innermost loop.

    Attributes:
        function: the function it is in.
        label: of its first instruction.
        instructions: in one trip.
        arithmetic: of those, multiply-adds and dot products of vectors.
        spills: of those, loads and stores of vector registers on the stack.
        additions: of those, sums and products of vectors that are not fused.
    """

    function: str
    label: str
    instructions: int
    arithmetic: int
    spills: int
    additions: int = 0


def innermost_loops(assembly: str) -> tuple[InnerLoop, ...]:
    """Return the loops of ``assembly`` that hold no other loop, in their order.

    Args:
        assembly: what ``inspect_source("asm")`` of a compiled module gives, for x86-64 (in
            AT&T's syntax) or aarch64.

    >>> text = '''
    ... .LBB0_1:
    ...     vmovups 32(%rsp), %ymm1
    ...     vfmadd231ps (%rsi), %ymm0, %ymm1
    ...     vmovups %ymm1, 32(%rsp)
    ...     jne .LBB0_1
    ... '''
    >>> innermost_loops(text)[0].spills
    2
    """
    return tuple(loop for name, lines in _functions(assembly) for loop in _loops(name, lines))


def spills(assembly: str) -> int:
    """Return the stack accesses of vector registers in the innermost loops that multiply.

    Kernels seldom wait for what other loops move. A loop that adds about as often as it
    multiplies and adds is a transform of minimal filtering, which has more values than there
    are registers.
    """
    loops = innermost_loops(assembly)
    return sum(loop.spills for loop in loops if 4 * loop.additions < loop.arithmetic)


def _functions(assembly: str) -> Iterator[tuple[str, list[str]]]:
    """Yield name, labels and instructions of each function."""
    name, lines = "", list[str]()
    for raw in assembly.splitlines():
        line = _COMMENT.sub("", raw).strip()
        start = _FUNCTION.match(line)
        if start:
            yield name, lines
            name, lines = start[1], []
        elif _LABEL.match(line) or (not line.startswith(".") and not line.endswith(":") and line):
            lines.append(line)
    yield name, lines


def _loops(function: str, lines: Sequence[str]) -> Iterator[InnerLoop]:
    places = {m[1]: k for k, line in enumerate(lines) if (m := _LABEL.match(line))}
    ends: dict[int, int] = {}
    for k, line in enumerate(lines):
        jump = _JUMP.match(line)
        if jump and places.get(jump[1], k) < k:
            # The last jump back ends a loop; any before it goes on with the next trip.
            ends[places[jump[1]]] = k
    pointers = {"rsp", "sp"} | {m[1] or m[2] for line in lines if (m := _POINTER.match(line))}
    for first, last in ends.items():
        if not any(first < other <= last for other in ends):
            body = [line for line in lines[first : last + 1] if not _LABEL.match(line)]
            arithmetic = sum(1 for line in body if _ARITHMETIC.match(line))
            spilt = sum(1 for line in body if _is_spill(line, pointers))
            added = sum(1 for line in body if _ADDITION.match(line))
            yield InnerLoop(function, lines[first][:-1], len(body), arithmetic, spilt, added)


def _is_spill(line: str, pointers: set[str]) -> bool:
    base = _BASE.search(line)
    return base is not None and (base[1] or base[2]) in pointers and bool(_VECTOR.search(line))
