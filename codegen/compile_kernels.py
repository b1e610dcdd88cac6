# SPDX-License-Identifier: MIT
"""TIR functions to object files, each alone, several at a time.

Threads rather than processes: TVM releases Python's lock while LLVM works, so two threads
compile twice as fast, and a process would first import TVM for seconds.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import tvm

from ..errors import CompileError
from .bindings import PIPELINE

VARIABLE = "RANVIER_JOBS"
"""Environment variable with the number of kernels compiled at a time; 1 uses no threads."""

_C_FUNCTION = 1
"""Calling convention of a function that TVM is to leave as it is: a plain function of C."""


def compile_kernels(functions: Mapping[str, Any], target: Mapping[str, Any]) -> dict[str, bytes]:
    """Return the object file of each kernel, which holds it as a C function of its name.

    Args:
        functions: TIR functions of raw pointers and int32 by symbol.
        target: TVM's target.

    Raises:
        CompileError: a kernel cannot be compiled; the message names it.
    """
    jobs = min(number_of_jobs(), len(functions))
    if jobs < 2:
        return {name: compile_functions({name: f}, target) for name, f in functions.items()}
    with _pool(jobs) as pool:
        futures: dict[str, Future[bytes]] = {
            name: pool.submit(compile_functions, {name: f}, target) for name, f in functions.items()
        }
        return {name: future.result() for name, future in futures.items()}


def compile_functions(functions: Mapping[str, Any], target: Mapping[str, Any]) -> bytes:
    """Return one object file with TIR functions as C functions of their names.

    Raises:
        CompileError: TVM or LLVM refuses it.
    """
    try:
        built = _built(functions, target)
        with TemporaryDirectory(prefix="ranvier-") as folder:
            path = Path(folder) / "object.o"
            built.mod.write_to_file(str(path), "o")
            return path.read_bytes()
    except Exception as error:
        raise CompileError(f"{', '.join(functions)} cannot be compiled: {error}") from error


def assembly_of(function: Any, target: Mapping[str, Any]) -> str:
    """Return the assembly of a TIR function."""
    text: str = _built({"kernel": function}, target).mod.inspect_source("asm")
    return text


def _built(functions: Mapping[str, Any], target: Mapping[str, Any]) -> Any:
    marked = {
        tvm.ir.GlobalVar(name): function.with_attrs(
            {"global_symbol": name, "calling_conv": _C_FUNCTION}
        )
        for name, function in functions.items()
    }
    module = tvm.IRModule(marked)
    return tvm.compile(module, tvm.target.Target(target), tir_pipeline=PIPELINE)


def number_of_jobs() -> int:
    """Return how many kernels are compiled at a time: by default as many as there are cores.

    Raises:
        CompileError: the environment variable does not hold a positive number.
    """
    text = os.environ.get(VARIABLE, "")
    if not text:
        return len(os.sched_getaffinity(0))
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise CompileError(f"{VARIABLE} must be a positive number, found {text!r}")
    return int(text)


@contextmanager
def _pool(jobs: int) -> Iterator[ThreadPoolExecutor]:
    """Yield a pool of threads; an error in the block drops the work that has not begun."""
    pool = ThreadPoolExecutor(jobs, thread_name_prefix="ranvier-compile")
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
