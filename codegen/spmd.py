# SPDX-License-Identifier: MIT
"""The native part of threads: entry points of a library, and the barrier that ``main`` calls.

Written in LLVM's language, as TIR has no atomic operations on CPUs. A team is a block of 256
zeroed bytes, a cache line per concern, laid out as :mod:`ranvier.runtime.team` says:

| bytes | what it holds |
|---|---|
| 0, 4 | turn: how many runs were announced; workers asleep in wait of the next |
| 64 | threads that have arrived at the current barrier |
| 128, 132 | phase: how many barriers were passed; threads asleep at the current one |
| 192, 200 | ``main`` of the announced run, null to dismiss the workers; its call |

Whoever waits spins, then yields its processor in turns, then sleeps until it is woken, so that
threads that outnumber the processors finish and idle workers cost nothing. Counters wrap
around; they are compared for equality alone, with the value seen last.
"""

from __future__ import annotations

from typing import Any

import tvm
from tvm import tirx
from tvm.script import tirx as T
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script.builder import ir as tb

MAIN = "ranvier_main"
"""Symbol of a program's ``main(first, last, thread, threads, team, table)``."""

_SPINS = 4000
"""Some 20 microseconds, more where a processor pauses longer."""
_YIELDS = 200
"""Some 100 microseconds on an idle machine: workers stay awake between runs in a row."""

# Per architecture: the hint that a thread spins, and the number of the system call futex.
_MACHINES = {"x86_64": ("pause", 202), "aarch64": ("isb", 98)}

_FORMS = {
    "run": {"call": "handle"},
    "work": {"team": "handle", "thread": "int32"},
    "dismiss": {"team": "handle"},
    "barrier": {"team": "handle", "threads": "int32"},
}

_ANNOUNCE = """
declare i32 @sched_yield()
declare i64 @syscall(i64, ...)

define void @spmd_announce(ptr %word, i32 %value) {
  %before = atomicrmw xchg ptr %word, i32 %value seq_cst
  %sleepers = getelementptr i8, ptr %word, i64 4
  %asleep = load atomic i32, ptr %sleepers seq_cst, align 4
  %any = icmp ne i32 %asleep, 0
  br i1 %any, label %wake, label %done
wake: ; all that sleep: operation 129 is FUTEX_WAKE_PRIVATE
  %woken = call i64 (i64, ...) @syscall(i64 FUTEX, ptr %word, i32 129, i32 2147483647)
  br label %done
done:
  ret void
}
"""

_AWAIT = """
define void @spmd_await(ptr %word, i32 %seen) {
entry:
  br label %spin
spin:
  %spins = phi i32 [ 0, %entry ], [ %spun, %pause ]
  %found = load atomic i32, ptr %word acquire, align 4
  %changed = icmp ne i32 %found, %seen
  br i1 %changed, label %done, label %pause
pause:
  call void asm sideeffect "PAUSE", "~{memory}"()
  %spun = add i32 %spins, 1
  %again = icmp ult i32 %spun, SPINS
  br i1 %again, label %spin, label %yield
yield:
  %yields = phi i32 [ 0, %pause ], [ %yielded, %next ]
  %ignored = call i32 @sched_yield()
  %later = load atomic i32, ptr %word acquire, align 4
  %moved = icmp ne i32 %later, %seen
  br i1 %moved, label %done, label %next
next:
  %yielded = add i32 %yields, 1
  %more = icmp ult i32 %yielded, YIELDS
  br i1 %more, label %yield, label %enter
enter: ; counted before the last look: whoever changes the word after it sees a sleeper
  %sleepers = getelementptr i8, ptr %word, i64 4
  %others = atomicrmw add ptr %sleepers, i32 1 seq_cst
  br label %look
look:
  %last = load atomic i32, ptr %word seq_cst, align 4
  %gone = icmp ne i32 %last, %seen
  br i1 %gone, label %leave, label %sleep
sleep: ; operation 128 is FUTEX_WAIT_PRIVATE; it returns at once if the word has changed
  %slept = call i64 (i64, ...) @syscall(i64 FUTEX, ptr %word, i32 128, i32 %seen, ptr null)
  br label %look
leave:
  %fewer = atomicrmw sub ptr %sleepers, i32 1 seq_cst
  br label %done
done:
  ret void
}
"""

_BARRIER = """
define void @spmd_barrier(ptr %team, i32 %threads) {
  %arrivals = getelementptr i8, ptr %team, i64 64
  %word = getelementptr i8, ptr %team, i64 128
  %phase = load atomic i32, ptr %word monotonic, align 4
  %before = atomicrmw add ptr %arrivals, i32 1 acq_rel
  %arrived = add i32 %before, 1
  %complete = icmp eq i32 %arrived, %threads
  br i1 %complete, label %release, label %wait
release: ; nobody arrives at the next barrier before the phase has changed
  store atomic i32 0, ptr %arrivals monotonic, align 4
  %following = add i32 %phase, 1
  call void @spmd_announce(ptr %word, i32 %following)
  ret void
wait:
  call void @spmd_await(ptr %word, i32 %phase)
  ret void
}
"""

_RUN = """
declare void @ranvier_main(i32, i32, i32, i32, ptr, ptr)

define void @spmd_post(ptr %team, ptr %main, ptr %call) {
  %job = getelementptr i8, ptr %team, i64 192
  store ptr %main, ptr %job
  %place = getelementptr i8, ptr %team, i64 200
  store ptr %call, ptr %place
  %turn = load atomic i32, ptr %team monotonic, align 4
  %following = add i32 %turn, 1
  call void @spmd_announce(ptr %team, i32 %following)
  ret void
}

define void @spmd_run(ptr %call) {
  %last.at = getelementptr i8, ptr %call, i64 4
  %threads.at = getelementptr i8, ptr %call, i64 8
  %team.at = getelementptr i8, ptr %call, i64 16
  %table = getelementptr i8, ptr %call, i64 24
  %first = load i32, ptr %call
  %last = load i32, ptr %last.at
  %threads = load i32, ptr %threads.at
  %team = load ptr, ptr %team.at
  %several = icmp ugt i32 %threads, 1
  br i1 %several, label %post, label %go
post:
  call void @spmd_post(ptr %team, ptr @ranvier_main, ptr %call)
  br label %go
go:
  call void @ranvier_main(i32 %first, i32 %last, i32 0, i32 %threads, ptr %team, ptr %table)
  ret void
}

define void @spmd_work(ptr %team, i32 %thread) {
entry:
  br label %wait
wait:
  %seen = phi i32 [ 0, %entry ], [ %turn, %run ]
  call void @spmd_await(ptr %team, i32 %seen)
  %turn = load atomic i32, ptr %team acquire, align 4
  %job = getelementptr i8, ptr %team, i64 192
  %main = load ptr, ptr %job
  %dismissed = icmp eq ptr %main, null
  br i1 %dismissed, label %done, label %run
run:
  %place = getelementptr i8, ptr %team, i64 200
  %call = load ptr, ptr %place
  %last.at = getelementptr i8, ptr %call, i64 4
  %threads.at = getelementptr i8, ptr %call, i64 8
  %table = getelementptr i8, ptr %call, i64 24
  %first = load i32, ptr %call
  %last = load i32, ptr %last.at
  %threads = load i32, ptr %threads.at
  call void %main(i32 %first, i32 %last, i32 %thread, i32 %threads, ptr %team, ptr %table)
  br label %wait
done:
  ret void
}

define void @spmd_dismiss(ptr %team) {
  call void @spmd_post(ptr %team, ptr null, ptr null)
  ret void
}
"""


def spmd_functions(machine: str) -> dict[str, Any]:
    """Return the TIR functions that start, wait for and dismiss threads, by symbol.

    Args:
        machine: ``x86_64`` or ``aarch64``.
    """
    pause, futex = _MACHINES[machine]
    words = {"PAUSE": pause, "FUTEX": str(futex), "SPINS": str(_SPINS), "YIELDS": str(_YIELDS)}
    text = _ANNOUNCE + _AWAIT + _BARRIER + _RUN
    for word, value in words.items():
        text = text.replace(word, value)
    return {f"ranvier_{name}": _calling(name, form, text) for name, form in _FORMS.items()}


def call(symbol: str, *arguments: Any) -> None:
    """Emit the call of a C function that returns nothing."""
    tb.evaluate(T.call_extern("void", symbol, *arguments))


def argument(name: str, dtype: str) -> Any:
    """Declare an argument of the function being built: a pointer to ``uint8``, or a number."""
    pointer = dtype == "handle"
    variable = tb.handle("uint8") if pointer else tirx.Var(name, tvm.ir.PrimType(dtype))
    return tb.arg(name, variable)


def _calling(name: str, form: dict[str, str], text: str) -> Any:
    # TVM inlines imported text and drops what nobody calls, so each entry point is a TIR function.
    with IRBuilder() as builder, tb.prim_func(s_tir=True):
        tb.func_name(f"ranvier_{name}")
        arguments = [argument(k, dtype) for k, dtype in form.items()]
        with tb.attr(tirx.const(0, "int32"), "pragma_import_llvm", text):
            call(f"spmd_{name}", *arguments)
    return builder.get()
