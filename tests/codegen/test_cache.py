# SPDX-License-Identifier: MIT
"""The kernel cache: hits, damage, folders that cannot be written, processes side by side."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ranvier.codegen import cache
from ranvier.codegen.targets import parse_target
from ranvier.compiler import build_canonical, run_canonical
from ranvier.errors import CacheError
from ranvier.ir import parse_graph

TEXT = """graph @g(%x: float32[4]) {
  %y: float32[4] = exp(%x)
  return %y
}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test alone."""
    monkeypatch.setenv("RANVIER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def run() -> float:
    """Compile and run a small graph; return its first result."""
    (y,) = run_canonical(parse_graph(TEXT), [np.zeros(4, np.float32)])
    return float(y[0])


def test_second_compilation_is_a_hit(monkeypatch: pytest.MonkeyPatch) -> None:
    run()
    monkeypatch.setattr("ranvier.codegen.build.assemble", None)  # a miss would call it
    assert run() == 1
    assert cache.cache_size()[0] == 1


def test_damaged_entries_are_made_again(folder: Path) -> None:
    run()
    library = next(folder.rglob("model.so"))
    damaged = library.read_bytes()[:-7]
    library.unlink()  # not in place: this process may still have the file mapped
    library.write_bytes(damaged)
    assert run() == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes to every folder")
def test_folder_without_permission(folder: Path) -> None:
    folder.mkdir(mode=0o500)
    with pytest.raises(CacheError, match=r"set RANVIER_CACHE to a writable folder"):
        run()


def test_folder_that_is_a_file(folder: Path) -> None:
    folder.write_text("")
    with pytest.raises(CacheError, match=r"set RANVIER_CACHE to a writable folder"):
        run()


def test_full_disk_leaves_nothing_behind(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ranvier.codegen.cache._seal", full)
    with pytest.raises(CacheError, match="No space left on device"):
        run()
    left = [p for p in folder.rglob("*") if p.is_file()]
    assert not [p for p in left if "objects" not in p.parts or p.suffix == ".tmp"]


def test_two_processes_compile_the_same_graph_at_once(folder: Path) -> None:
    code = (
        "import numpy as np\n"
        "from ranvier.compiler import run_canonical\n"
        "from ranvier.ir import parse_graph\n"
        f"print(run_canonical(parse_graph({TEXT!r}), [np.zeros(4, np.float32)])[0][0])\n"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    assert [p.communicate(timeout=120)[0].strip() for p in both] == ["1.0", "1.0"]
    assert cache.cache_size()[0] == 1
    assert not list(folder.rglob("*.tmp"))


def test_off_keeps_nothing_beyond_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANVIER_CACHE", "off")
    built = build_canonical(parse_graph(TEXT), parse_target("cpu"))
    assert built.library.is_file()
    assert built.library.is_relative_to(cache.cache_folder())


def test_clearing_removes_every_entry(folder: Path) -> None:
    run()
    cache.clear_cache()
    assert cache.cache_size() == (0, 0)
    assert folder.is_dir()
