# SPDX-License-Identifier: MIT
"""Writes a kernel in TIR: flat buffers, vector registers, loops over a thread's share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, TypeAlias

import tvm
from tvm import tirx
from tvm.script import tirx as T
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script.builder import ir as tb

from ..bindings import bind_lets

Expr: TypeAlias = Any
Buffer: TypeAlias = Any

_WINDOW = (1 << 31) - 1  # buffers are addressed from their first element; sizes are the caller's


class KernelEmitter:
    """The function being written: its buffers and this thread's number.

    Attributes:
        lanes: elements of a vector register.
        buffers: operands, results and scratch, in the order of the pointers.
        thread: which of ``threads`` runs the kernel.
        threads: how many threads run it at once.
    """

    def __init__(self, lanes: int, buffers: Sequence[Buffer], thread: Expr, threads: Expr) -> None:
        self.lanes = lanes
        self.buffers = tuple(buffers)
        self.thread = thread
        self.threads = threads

    # Vectors

    def load(self, buffer: Buffer, offset: Expr, lanes: int | None = None) -> Expr:
        """Return the vector of neighbours that starts at ``offset``."""
        count = lanes or self.lanes
        return buffer[offset] if count == 1 else buffer.vload([offset], f"{buffer.dtype}x{count}")

    def store(self, buffer: Buffer, offset: Expr, value: Expr, lanes: int | None = None) -> None:
        """Store a vector at ``offset``."""
        count = lanes or self.lanes
        tb.buffer_store(buffer, value, [tirx.Ramp(offset, 1, count) if count > 1 else offset])

    def prefetch(self, buffer: Buffer, offset: Expr) -> None:
        """Ask for the cache line at ``offset`` to be fetched."""
        address = T.address_of(buffer[offset])
        read, locality, data = (tirx.const(n, "int32") for n in (0, 1, 1))
        tb.evaluate(T.call_llvm_intrin("void", "llvm.prefetch", address, read, locality, data))

    def broadcast(self, scalar: Expr) -> Expr:
        """Return a vector of one number."""
        return T.broadcast(scalar, self.lanes)

    def constant(self, number: float) -> Expr:
        """Return a float32 vector of one constant."""
        return self.spread(number, self.lanes)

    def spread(self, number: float, lanes: int) -> Expr:
        """Return a float32 vector of ``lanes`` times one constant."""
        return T.broadcast(T.float32(number), lanes) if lanes > 1 else T.float32(number)

    def register(
        self, value: Expr | None = None, dtype: str = "float32", lanes: int | None = None
    ) -> Register:
        """Return a new vector register, holding ``value`` if given."""
        count = lanes or self.lanes
        register = Register(tb.alloc_buffer((count,), dtype, scope="local"), count)
        if value is not None:
            register.set(value)
        return register

    def name(self, value: Expr) -> Expr:
        """Return ``value``, computed once however often it is used."""
        return self.register(value).value

    def set(self, buffer: Buffer, offset: Expr, value: Expr) -> None:
        """Store one element."""
        tb.buffer_store(buffer, value, [offset])

    # Loops

    @contextmanager
    def vectorized(self, count: int) -> Iterator[Expr]:
        """Do what is written for one lane, whose number is yielded, for ``count`` lanes at once."""
        with tb.vectorized(0, count) as lane:
            yield lane

    @contextmanager
    def loop(self, extent: int | Expr, start: int | Expr = 0) -> Iterator[Expr]:
        """Loop from ``start`` to before ``extent``; a single trip takes no loop."""
        if isinstance(extent, int) and isinstance(start, int) and extent - start == 1:
            yield start
            return
        if isinstance(start, int) and start == 0:
            with tb.serial(0, extent) as variable:
                yield variable
            return
        # TVM adds a start that it does not know twice where a variable is divided.
        with tb.serial(0, extent - start) as variable:
            yield self.scalar(start + variable)

    def opaque(self, count: Expr) -> Expr:
        """Return ``count`` as a number without a bound that LLVM knows.

        Loops of few trips around an inner loop are unrolled otherwise, and then the constants of
        what comes before and after take registers from the inner loop's sums.
        """
        return self.scalar(tirx.max(-self.threads, count))

    @contextmanager
    def share(self, extent: int, split: bool = True) -> Iterator[Expr]:
        """Loop over this thread's share of ``extent`` trips; all of them without ``split``."""
        if not split:
            with self.loop(extent) as variable:
                yield variable
            return
        first = self.scalar(tirx.floordiv(self.thread * extent, self.threads))
        last = self.scalar(tirx.floordiv((self.thread + 1) * extent, self.threads))
        with self.loop(last, first) as variable:
            yield variable

    @contextmanager
    def nest(self, extents: Sequence[int]) -> Iterator[list[Expr]]:
        """Loop over all indices below ``extents``."""
        with ExitStack() as stack:
            yield [stack.enter_context(self.loop(n)) for n in extents]

    @contextmanager
    def only_last_thread(self, split: bool = True) -> Iterator[None]:
        """Do what follows on one thread: the one whose share is never the largest."""
        if not split:
            yield
            return
        with tb.If(self.thread == self.threads - 1), tb.Then():
            yield

    def flat(self, indices: Sequence[Expr], sizes: Sequence[int]) -> Expr:
        """Return the row-major position of an index."""
        total: Expr = 0
        for index, size in zip(indices, sizes, strict=True):
            total = total * size + index
        return total

    def scalar(self, value: Expr, dtype: str = "int32") -> Expr:
        """Return ``value`` held in a register of one element."""
        buffer = tb.alloc_buffer((1,), dtype, scope="local")
        tb.buffer_store(buffer, value, [0])
        return buffer[0]


class Register:
    """A vector register."""

    def __init__(self, buffer: Buffer, lanes: int) -> None:
        self.buffer = buffer
        self._all = [tirx.Ramp(0, 1, lanes) if lanes > 1 else 0]

    @property
    def value(self) -> Expr:
        """The vector it holds."""
        return self.buffer[self._all[0]]

    def lane(self, k: Expr) -> Expr:
        """Return one element."""
        return self.buffer[k]

    def lanes_from(self, first: int) -> Callable[[Expr], Expr]:
        """Return a function that gives an element by its number, counted from ``first``."""
        return lambda k: self.buffer[k + first]

    def set(self, value: Expr) -> None:
        """Store a vector."""
        tb.buffer_store(self.buffer, value, self._all)

    def add(self, value: Expr) -> None:
        """Add a vector; a product is contracted to a fused multiply-add."""
        self.set(self.value + value)


class Emission:
    """Collects what is written inside the block of :func:`emitting`."""

    function: Any = None


@contextmanager
def emitting(
    lanes: int, dtypes: Sequence[str], in_place: bool = False
) -> Iterator[tuple[Emission, KernelEmitter]]:
    """Write a kernel; ``emission.function`` is the TIR function after the block.

    Args:
        lanes: float32 elements of a vector register.
        dtypes: element types of the pointers: operands, results, scratch.
        in_place: whether results may have the memory of operands. The compiler then keeps loads
            before the stores that they are written before.
    """
    emission = Emission()
    with IRBuilder() as builder:
        with tb.prim_func(is_private=True, s_tir=True):
            tb.func_name("kernel")
            tb.func_attr({"tirx.noalias": not in_place})
            pointers = [tb.arg(f"p{k}", tb.handle(d)) for k, d in enumerate(dtypes)]
            thread, threads = (
                tb.arg(name, tirx.Var(name, tvm.ir.PrimType("int32")))
                for name in ("thread", "threads")
            )
            buffers = [
                tb.decl_buffer((_WINDOW,), d, data=p) for d, p in zip(dtypes, pointers, strict=True)
            ]
            yield emission, KernelEmitter(lanes, buffers, thread, threads)
        function = builder.get()
        emission.function = function.with_body(bind_lets(function.body))


__all__ = ["Emission", "Expr", "KernelEmitter", "Register", "emitting"]
