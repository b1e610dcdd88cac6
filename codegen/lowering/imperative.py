# SPDX-License-Identifier: MIT
"""Statements of imperative kernels, for ops whose results are written in an order of their own.

They are the bodies of :meth:`Context.extern`. Scratch space is a further result of the kernel
that nobody reads, so the memory planner places it in the arena.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from tvm import tirx
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script.builder import ir as tb
from tvm.tirx.script.builder import seq_scope

from .base import Expr, Indices


def statements(build: Callable[[], None]) -> Any:
    """Return the statement made of all loops and stores that ``build`` makes."""
    with IRBuilder() as builder, seq_scope():
        build()
    return builder.get().body  # the scope itself is only a pragma, which code generation warns of


@contextmanager
def loops(extents: Sequence[int | Expr]) -> Iterator[Indices]:
    """Within the block, statements run for every index in row-major order."""
    with ExitStack() as stack:
        yield tuple(stack.enter_context(tb.serial(0, n)) for n in extents)


@contextmanager
def when(condition: Expr) -> Iterator[None]:
    """Within the block, statements run only if ``condition`` holds."""
    with tb.If(condition), tb.Then():
        yield


@contextmanager
def repeat(condition: Expr) -> Iterator[None]:
    """Within the block, statements run as long as ``condition`` holds."""
    with tb.While(condition):
        yield


def bind(value: Expr) -> Expr:
    """Evaluate ``value`` here, once, and return its name."""
    return tb.Bind(value)


def store(buffer: Any, indices: Indices, value: Expr) -> None:
    """Write an element; a buffer of rank 0 holds it at position 0."""
    tb.buffer_store(buffer, value, list(indices) or [0])


def load(buffer: Any, indices: Indices) -> Expr:
    """Read an element; a buffer of rank 0 holds it at position 0."""
    return tirx.BufferLoad(buffer, list(indices) or [0])
