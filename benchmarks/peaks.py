# SPDX-License-Identifier: MIT
"""What one core can do at most: multiply-adds, and bytes from each level of memory.

The loops are C, compiled by the clang of the ziglang package when they are needed: a measured
peak is worth more than one from a data sheet, and must not depend on the kernels it judges.
"""

from __future__ import annotations

import ctypes
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ranvier.errors import UnsupportedError
from ranvier.runtime.buffers import aligned_empty

from .machine import caches
from .results import Peaks

_SECONDS = 0.02
_TRIES = 7
_BLOCK = 16 * 10  # floats of the longest vector times the chains of the C file


def measure_peaks() -> Peaks:
    """Measure on the core where this runs; pin the process first.

    Raises:
        UnsupportedError: the C compiler of ziglang does not work here.
    """
    with tempfile.TemporaryDirectory(prefix="ranvier-peaks-") as folder:
        library = _compiled(Path(folder))
        operations = 2 * library.width() * library.chains()
        rounds = 100_000
        flops = _best(lambda: library.multiply_add(rounds, 0.5, 1.0), operations * rounds)
        sizes = _sizes()
        read = {level: _read(library, nbytes) for level, nbytes in sizes.items()}
        return Peaks(flops, read, _scale(library, sizes["memory"]))


def _sizes() -> dict[str, int]:
    """Return how many bytes to read for each level: half a cache, or many times the last."""
    known = caches() or {"L1": 32 << 10, "L2": 512 << 10}
    sizes = {level: nbytes // 2 for level, nbytes in known.items()}
    return {**sizes, "memory": 8 * max(known.values())}


def _read(library: Any, nbytes: int) -> float:
    count = max(1, nbytes // 4 // _BLOCK) * _BLOCK
    data = _floats(count)
    rounds = max(1, (4 << 20) // nbytes)
    pointer = data.ctypes.data
    return _best(lambda: library.read_all(pointer, count, rounds), 4 * count * rounds)


def _scale(library: Any, nbytes: int) -> float:
    count = nbytes // 4 // _BLOCK * _BLOCK
    data, results = _floats(count), _floats(count)
    pointers = data.ctypes.data, results.ctypes.data
    return _best(lambda: library.scale_all(*pointers, count, 1), 8 * count)


def _floats(count: int) -> Any:
    data = aligned_empty((count,), np.float32)
    data[...] = 1.0  # touched, so that each page is there
    return data


def _best(run: Callable[[], object], amount: float) -> float:
    """Return the amount per second of the best try, each of some length.

    Processor time: what others take of the core is not the core's limit.
    """
    best = 0.0
    for _ in range(_TRIES):
        runs, start = 0, time.thread_time()
        while (spent := time.thread_time() - start) < _SECONDS:
            run()
            runs += 1
        best = max(best, runs * amount / spent)
    return best


def _compiled(folder: Path) -> Any:
    source, target = Path(__file__).with_name("peaks.c"), folder / "peaks.so"
    command = [
        sys.executable, "-m", "ziglang", "cc", "-O3", "-mcpu=native", "-ffp-contract=fast",
        "-shared", "-fPIC", "-nostdlib", str(source), "-o", str(target),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UnsupportedError(f"the loops that measure peaks do not compile: {done.stderr[-400:]}")
    library = ctypes.CDLL(str(target))
    number, pointer, single = ctypes.c_long, ctypes.c_void_p, ctypes.c_float
    library.multiply_add.argtypes = [number, single, single]
    library.multiply_add.restype = single
    library.read_all.argtypes = [pointer, number, number]
    library.read_all.restype = single
    library.scale_all.argtypes = [pointer, pointer, number, number]
    library.scale_all.restype = None
    return library
