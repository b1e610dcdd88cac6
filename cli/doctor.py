# SPDX-License-Identifier: MIT
"""``ranvier doctor``: is everything here that compiling and running needs?"""

from __future__ import annotations

import ctypes
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from typing import TYPE_CHECKING

import click

from ..errors import RanvierError
from .command import Command, Output

if TYPE_CHECKING:
    from rich.console import Console

_OPTIONAL = {
    "onnxruntime": "'ranvier diff' and the demonstration compare with it",
    "pydicom": "the demonstration reads its CT slice",
}
_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)\s*([^;]*)")
_CLAUSE = re.compile(r"(==|>=|<=|<|>|!=)\s*([0-9][^,\s]*)")
_STYLES = {"ok": "green", "warn": "yellow", "fail": "red"}
_RESERVE = 1 << 30


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: what was looked at.
        status: ``ok``, ``warn`` (works, with less) or ``fail``.
        found: what was found.
        advice: what to do, unless ``ok``.
    """

    name: str
    status: str
    found: str
    advice: str = ""


@click.command("doctor", cls=Command)
def command() -> Output:
    """Check this installation: versions, processor, linker, cache, optional packages, GPU.

    Ends with exit code 1 if something that ranvier needs is missing.
    """
    from .progress import progress

    checks: list[Callable[[], Iterator[Finding]]] = [
        _python, _packages, _processor, _linker, _cache, _compilation, _optional, _gpu,
    ]  # fmt: skip
    findings: list[Finding] = []
    with progress("looking around", len(checks)) as shown:
        for check in checks:
            findings += check()
            shown.advance()
    failed = any(f.status == "fail" for f in findings)
    data = {"healthy": not failed, "findings": [asdict(f) for f in findings]}
    return Output(data, lambda console: _render(console, findings), 1 if failed else 0)


def _render(console: Console, findings: list[Finding]) -> None:
    from rich.text import Text

    from .tables import table

    rows = [(Text(f.status, _STYLES[f.status]), f.name, f.found, f.advice) for f in findings]
    console.print(table("", ("", "what", "found", "what to do"), rows))


def _python() -> Iterator[Finding]:
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    good = (3, 10) <= sys.version_info[:2] < (3, 14)
    yield _finding("Python", good, found, "use Python 3.10 to 3.13")


def _packages() -> Iterator[Finding]:
    needed = [r for r in requires("ranvier") or [] if "extra ==" not in r]
    if not needed:
        yield Finding("packages", "warn", "the installation names none", "pip install -e .")
    for requirement in needed:
        match = _REQUIREMENT.match(requirement)
        assert match is not None
        name, clauses = match[1], match[2].strip()
        try:
            installed = version(name)
        except PackageNotFoundError:
            yield Finding(name, "fail", "missing", f"pip install '{name}{clauses}'")
            continue
        good = satisfies(installed, clauses)
        found = installed if good else f"{installed}, tested with {clauses}"
        yield _finding(name, good, found, f"pip install '{name}{clauses}'")


def satisfies(installed: str, clauses: str) -> bool:
    """Whether a version fits clauses such as ``>=1.2,<2``.

    >>> satisfies("0.27.0.post1", "==0.27.0.post1"), satisfies("2.0", ">=1.2,<2")
    (True, False)
    """
    mine = _numbers(installed)
    for sign, wanted in _CLAUSE.findall(clauses):
        if sign in ("==", "!="):
            fits = (installed == wanted) == (sign == "==")
        else:
            limit = _numbers(wanted)
            fits = {
                ">=": mine >= limit, "<=": mine <= limit, "<": mine < limit, ">": mine > limit,
            }[sign]  # fmt: skip
        if not fits:
            return False
    return True


def _numbers(text: str) -> tuple[int, ...]:
    """Return the release numbers, without zeros at the end: 2.0 is 2."""
    match = re.match(r"\d+(\.\d+)*", text)
    numbers = [int(n) for n in match[0].split(".")] if match else []
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def _processor() -> Iterator[Finding]:
    from ..codegen.targets import parse_target

    info = parse_target("cpu").info()
    found = f"{info.arch}, {info.cpu}: {', '.join(info.features) or 'no special features'}"
    good = info.arch != "x86_64" or "avx2" in info.features
    advice = "code will be slow: this processor lacks AVX2, or the virtual machine hides it"
    yield _finding("processor", good, found, advice, "warn")


def _linker() -> Iterator[Finding]:
    from ..codegen.link import linker

    try:
        command = [str(linker()), "ld.lld", "--version"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        good, found = done.returncode == 0, (done.stdout or done.stderr).strip()
    except (RanvierError, OSError, subprocess.TimeoutExpired) as error:
        good, found = False, str(error)
    yield _finding("linker", good, found, "pip install --force-reinstall ziglang")


def _cache() -> Iterator[Finding]:
    from ..codegen.cache import VARIABLE, cache_folder, cache_size
    from .tables import size

    folder = cache_folder()
    advice = f"make it writable, or set {VARIABLE} to another folder or to 'off'"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        space = os.statvfs(folder)
    except OSError as error:
        yield Finding("cache", "fail", f"{folder}: {error.strerror}", advice)
        return
    free = space.f_bavail * space.f_frsize
    programs, nbytes = cache_size()
    found = f"{folder}: {programs} programs, {size(nbytes)}; {size(free)} free"
    yield _finding("cache", free > _RESERVE, found, "little space is left", "warn")


def _compilation() -> Iterator[Finding]:
    """Compile and run one small kernel: the only proof that the parts fit together."""
    import numpy as np

    from ..compiler import run_canonical
    from ..ir import Emitter, TensorType
    from ..ir.ops import Neg

    emit = Emitter()
    x = emit.argument(TensorType("float32", (4,)), "x")
    graph = emit.graph("doctor", [x], [emit(Neg(), x)])
    try:
        (result,) = run_canonical(graph, [np.arange(4, dtype=np.float32)])
        good = bool((result == -np.arange(4)).all())
        found = "a kernel was compiled and run" if good else f"wrong result {result}"
    except RanvierError as error:
        good, found = False, str(error)
    yield _finding("compiler", good, found, "see the lines above; reinstall ranvier")


def _optional() -> Iterator[Finding]:
    for name, use in _OPTIONAL.items():
        try:
            yield Finding(name, "ok", version(name))
        except PackageNotFoundError:
            yield Finding(name, "warn", "not installed", f"optional: {use}; pip install {name}")


def _gpu() -> Iterator[Finding]:
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        yield Finding("GPU", "ok", "no CUDA driver; not needed for target cpu")
        return
    count = ctypes.c_int(0)
    failed = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))
    found = f"driver error {failed}" if failed else f"{count.value} CUDA devices"
    yield _finding("GPU", not failed, found, "check the driver with nvidia-smi", "warn")


def _finding(name: str, good: bool, found: str, advice: str, otherwise: str = "fail") -> Finding:
    return Finding(name, "ok" if good else otherwise, found, "" if good else advice)
