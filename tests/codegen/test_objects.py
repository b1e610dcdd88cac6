# SPDX-License-Identifier: MIT
"""Kernels as object files: compiled once, shared by programs, found again only if undamaged."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ranvier.codegen import compile_kernels
from ranvier.codegen.compile_kernels import number_of_jobs
from ranvier.codegen.targets import cpu, parse_target
from ranvier.compiler import build_canonical, run_canonical
from ranvier.errors import CacheError, CompileError
from ranvier.ir import Graph, parse_graph
from small_program import small_kernels


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test alone."""
    monkeypatch.setenv("RANVIER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the kernels that are compiled rather than found, as they come."""
    names: list[str] = []

    def spy(functions: Any, target: Any) -> dict[str, bytes]:
        names.extend(functions)
        return compile_kernels.compile_kernels(functions, target)

    monkeypatch.setattr(cpu, "compile_kernels", spy)
    return names


def chain(*ops: str, size: int = 8) -> Graph:
    """Return a graph of matrix products, each followed by one of ``ops``."""
    shape = f"float32[{size}, {size}]"
    lines, last = [], "%x"
    for k, op in enumerate(ops):
        lines += [f"  %m{k}: {shape} = mat_mul({last}, %w)", f"  %v{k}: {shape} = {op}(%m{k})"]
        last = f"%v{k}"
    body = "\n".join(lines)
    return parse_graph(f"graph @g(%x: {shape}, %w: {shape}) {{\n{body}\n  return {last}\n}}\n")


def objects(folder: Path) -> list[Path]:
    """Return the object files in the cache."""
    return [p for p in folder.rglob("objects/*/*") if p.is_file()]


def test_equal_kernels_of_one_program_are_one_object(folder: Path, compiled: list[str]) -> None:
    run_canonical(chain("relu", "relu", "tanh"), [np.eye(8, dtype=np.float32)] * 2)
    assert len(compiled) == 2 == len(objects(folder))


def test_another_program_finds_the_kernels_it_shares(compiled: list[str]) -> None:
    build_canonical(chain("relu", "tanh"), parse_target("cpu"))
    before = list(compiled)
    (y,) = run_canonical(chain("tanh", "exp"), [np.eye(8, dtype=np.float32)] * 2)
    assert len(compiled) == len(before) + 1
    np.testing.assert_allclose(y, np.exp(np.tanh(np.eye(8))), rtol=1e-6)


def test_kernels_of_another_target_or_size_are_others(compiled: list[str]) -> None:
    build_canonical(chain("relu"), parse_target("cpu{march=x86-64-v2}"))
    build_canonical(chain("relu"), parse_target("cpu{march=x86-64-v3}"))
    build_canonical(chain("relu", size=9), parse_target("cpu{march=x86-64-v3}"))
    assert len(set(compiled)) == 3


@pytest.mark.parametrize("kept", [0, 20, 100, -1])
def test_damaged_objects_are_compiled_again(folder: Path, compiled: list[str], kept: int) -> None:
    build_canonical(chain("relu"), parse_target("cpu"))
    (path,) = objects(folder)
    path.write_bytes(path.read_bytes()[:kept])
    (y,) = run_canonical(chain("relu", "relu"), [np.eye(8, dtype=np.float32)] * 2)
    assert len(compiled) == 2
    np.testing.assert_array_equal(y, np.eye(8))


def test_a_full_disk_is_a_cache_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ranvier.codegen.objects.atomic_file", full)
    with pytest.raises(CacheError, match=r"No space left on device.*set RANVIER_CACHE"):
        build_canonical(chain("relu"), parse_target("cpu"))


def test_processes_that_write_the_same_objects_at_once(folder: Path) -> None:
    code = (
        "import sys, numpy as np\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "from test_objects import chain\n"
        "from ranvier.compiler import run_canonical\n"
        "ops = sys.argv[2].split(',')\n"
        "print(run_canonical(chain(*ops), [np.eye(8, dtype=np.float32)] * 2)[0].sum())\n"
    )
    here = Path(__file__).parent
    command = [sys.executable, "-c", code, str(here)]
    both = [
        subprocess.Popen([*command, ops], stdout=subprocess.PIPE, text=True, cwd=here.parent)
        for ops in ("relu,abs", "abs,relu")
    ]
    assert [p.communicate(timeout=120)[0].strip() for p in both] == ["8.0", "8.0"]
    assert len(objects(folder)) == 2
    assert not list(folder.rglob("*.tmp"))


def test_libraries_show_their_entry_alone() -> None:
    first = build_canonical(chain("relu"), parse_target("cpu"))
    second = build_canonical(chain("relu", "tanh"), parse_target("cpu"))
    shared = {k.name for k in first.program.kernels} & {k.name for k in second.program.kernels}
    assert shared
    for built in (first, second):
        library = ctypes.CDLL(str(built.library))
        assert hasattr(library, "ranvier_run")
        assert not any(hasattr(library, name) for name in shared)


def test_symbols_are_digests_and_unique() -> None:
    built = build_canonical(chain("relu", "tanh", "relu", "exp"), parse_target("cpu"))
    names = [k.name for k in built.program.kernels]
    assert len(set(names)) == len(names) == 3
    assert all(name.startswith("k_") and len(name) == 34 for name in names)


# Compilation


@pytest.fixture(params=["1", "3"])
def jobs(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """One kernel at a time, and several."""
    monkeypatch.setenv("RANVIER_JOBS", request.param)
    return str(request.param)


def test_the_number_of_jobs_does_not_change_the_code(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    functions = {n: k.function for n, k in small_kernels().items()}
    many = {f"{n}{k}": f for k in range(4) for n, f in functions.items()}
    target = cpu.CpuTarget()._tvm()
    monkeypatch.setenv("RANVIER_JOBS", "1")
    alone = compile_kernels.compile_kernels(many, target)
    monkeypatch.setenv("RANVIER_JOBS", "4")
    assert compile_kernels.compile_kernels(many, target) == alone


@pytest.mark.usefixtures("jobs")
def test_a_kernel_that_cannot_be_compiled_is_named() -> None:
    functions = {n: k.function for n, k in small_kernels().items()}
    functions["broken"] = functions["add"].with_attr("target", "none such")
    with pytest.raises(CompileError, match="broken cannot be compiled"):
        compile_kernels.compile_kernels(functions, cpu.CpuTarget()._tvm())


def test_jobs_are_the_cores_of_this_process_or_as_many_as_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("RANVIER_JOBS", raising=False)
    assert number_of_jobs() >= 1
    monkeypatch.setenv("RANVIER_JOBS", "7")
    assert number_of_jobs() == 7


@pytest.mark.parametrize("text", ["0", "-1", "two", "²", "1.5"])
def test_numbers_of_jobs_that_are_none(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANVIER_JOBS", text)
    with pytest.raises(CompileError, match="RANVIER_JOBS must be a positive number"):
        number_of_jobs()
