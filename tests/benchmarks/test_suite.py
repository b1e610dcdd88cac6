# SPDX-License-Identifier: MIT
"""The suite keeps within its time and tells what it leaves out."""

from __future__ import annotations

import json
import platform
import re
from pathlib import Path

import onnx
import pytest

from ranvier.benchmarks.cases import Case
from ranvier.benchmarks.compare import Plan
from ranvier.benchmarks.machine import caches, describe
from ranvier.benchmarks.memory import peak, reset_peak, resident
from ranvier.benchmarks.processes import EngineFailed
from ranvier.benchmarks.suite import PARTS, Findings, Job, Settings, jobs, run_jobs
from ranvier.benchmarks.tiny import write_tiny


class Clock:
    """A clock that only jobs move."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def job(self, name: str, seconds: float) -> Job:
        def do(found: Findings) -> None:
            self.now += seconds

        return name, do


def test_nothing_is_begun_when_time_is_over() -> None:
    clock = Clock()
    todo = [clock.job("a", 5.0), clock.job("b", 6.0), clock.job("c", 1.0)]
    said: list[str] = []
    report = run_jobs(todo, 10.0, said.append, clock)
    assert said == ["a", "b"]
    assert report.left_out == ["c: no time left"]


def test_job_that_fails_leaves_the_others() -> None:
    def fail(found: Findings) -> None:
        raise EngineFailed("out of memory")

    clock = Clock()
    report = run_jobs([("a", fail), clock.job("b", 1.0)], 10.0, clock=clock)
    assert report.left_out == ["a: out of memory"]
    assert clock.now == pytest.approx(1.0)


def test_comparisons_come_first(tmp_path: Path) -> None:
    cases = [Case("a", tmp_path / "a.onnx"), Case("b", tmp_path / "b.onnx")]
    plan = Plan(["ranvier"], threads=1, cores=(0,))
    names = [name for name, _ in jobs(Settings(cases, [1, 2], PARTS, plan), tmp_path, print)]
    assert names == [
        "a, 1 threads: comparison",
        "b, 1 threads: comparison",
        "a, 2 threads: comparison",
        "b, 2 threads: comparison",
        "resnet8, 1 threads: training",
        "resnet8, 2 threads: training",
        "overhead of a call",
        "peaks of a core",
        "a: kernels",
        "a: startup",
        "a: memory",
        "b: kernels",
        "b: startup",
        "b: memory",
    ]
    few = [name for name, _ in jobs(Settings(cases, [1], ["memory"], plan), tmp_path, print)]
    assert few == ["a: memory", "b: memory"]


def test_machine_is_described_and_not_named() -> None:
    described = json.loads(json.dumps(describe()))
    assert set(described) == {
        "processor",
        "architecture",
        "flags",
        "cores",
        "allowed_cores",
        "caches",
        "memory_bytes",
        "system",
        "python",
        "packages",
    }
    words = re.findall(r"[^\s\",]+", json.dumps(described))
    assert platform.node() not in words
    assert not [word for word in words if "/" in word]


def test_data_caches_are_read(tmp_path: Path) -> None:
    for index, (kind, level, size) in enumerate(
        [("Data", "1", "32K"), ("Instruction", "1", "64K"), ("Unified", "2", "2M")]
    ):
        folder = tmp_path / f"index{index}"
        folder.mkdir()
        for name, text in (("type", kind), ("level", level), ("size", size)):
            (folder / name).write_text(f"{text}\n", encoding="ascii")
    assert caches(tmp_path) == {"L1": 32 << 10, "L2": 2 << 20}
    assert caches(tmp_path / "missing") == {}


def test_peak_memory_starts_again() -> None:
    reset_peak()
    before = resident()
    block = bytearray(64 << 20)
    block[:: 4 << 10] = b"x" * len(block[:: 4 << 10])
    assert peak() - before > 60 << 20
    del block
    reset_peak()
    assert peak() - before < 32 << 20


def test_tiny_model_is_valid(tmp_path: Path) -> None:
    onnx.checker.check_model(str(write_tiny(tmp_path / "tiny.onnx")), full_check=True)
