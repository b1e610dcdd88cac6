# SPDX-License-Identifier: MIT
"""Targets: names, what they refuse, libraries for other processors, CUDA without a GPU."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import ranvier
from ranvier.codegen.targets import parse_target, parse_targets
from ranvier.compiler import build_canonical, run_canonical
from ranvier.errors import ArtifactError, TargetError
from ranvier.ir import Graph, interpret, parse_graph
from ranvier.runtime.cuda_launch import CudaLibrary
from ranvier.runtime.machine import this_arch
from ranvier.runtime.strict_json import decode

pytestmark = pytest.mark.usefixtures("cache_folder")

ELF_MACHINE = {"x86_64": 62, "aarch64": 183}

TEXT = """graph @g(%x: float32[1, 3, 8, 8], %w: float32[4, 3, 3, 3]) {
  %y: float32[1, 4, 6, 6] = conv(%x, %w)
  {strides=(1, 1), low=(0, 0), high=(0, 0), dilation=(1, 1), input_dilation=(1, 1)}
  %z: float32[1, 4, 6, 6] = relu(%y)
  %m: float32[1, 4] = reduce_mean(%z) {axes=(2, 3)}
  return %z, %m
}
"""


def graph() -> Graph:
    """Return a graph with a convolution, an elementwise op and a reduction."""
    return parse_graph(TEXT)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gpu", "unknown target 'gpu'; known: cpu"),
        ("cpu{march=pentium}", "unknown march 'pentium'; known: native"),
        ("cpu{mtune=x}", "no option 'mtune'; known: march"),
        ("cuda{arch=sm_20}", "unknown arch 'sm_20'; known: sm_80, sm_90"),
        ("cpu{march}", "expected option=value"),
        ("cpu{march=x86-64+pentium}", "unknown march 'pentium'"),
        ("cpu{march=x86-64+x86-64}", "names one processor twice"),
        ("cpu{march=x86-64+x86-64-v2", "unknown target"),
    ],
)
def test_wrong_targets_are_refused_with_the_known_ones(text: str, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        parse_targets(text)


def test_several_processors_are_for_artifacts_alone() -> None:
    with pytest.raises(TargetError, match="unknown march 'x86-64\\+x86-64-v2'"):
        parse_target("cpu{march=x86-64+x86-64-v2}")


@pytest.mark.skipif(this_arch() != "x86_64", reason="compares two levels of x86-64")
def test_an_artifact_of_two_levels_runs_the_better_one(tmp_path: Path) -> None:
    levels = "cpu{march=x86-64+x86-64-v2+armv8-a}"
    ranvier.compile(graph(), target=levels).save(tmp_path / "a")
    session = ranvier.Session(tmp_path / "a")
    assert session.artifact.target.cpu == "x86-64-v2"
    assert [v.target.cpu for v in session.artifact.variants] == ["x86-64", "armv8-a"]
    rng = np.random.default_rng(0)
    inputs = {v.name: rng.standard_normal(v.type.dims, np.float32) for v in graph().inputs}  # type: ignore[union-attr]
    found = session.run(None, inputs)
    for a, b in zip(found, interpret(graph(), list(inputs.values())), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("march", ["x86-64-v3", "armv8-a", "armv8.2-a"])
def test_libraries_are_for_the_processor_asked_for(march: str) -> None:
    target = parse_target(f"cpu{{march={march}}}")
    header = build_canonical(graph(), target).library.read_bytes()[:20]
    assert header[:4] == b"\x7fELF"
    assert int.from_bytes(header[18:20], "little") == ELF_MACHINE[target.info().arch]


def test_a_level_runs_where_the_processor_has_it() -> None:
    from ranvier.runtime.machine import require_machine

    target = parse_target("cpu{march=x86-64-v3}")
    try:
        require_machine(target.info())
    except ArtifactError as error:
        pytest.skip(f"this processor lacks x86-64-v3: {error}")
    rng = np.random.default_rng(0)
    inputs = [rng.standard_normal(v.type.dims, np.float32) for v in graph().inputs]  # type: ignore[union-attr]
    found = run_canonical(graph(), inputs, target.name)
    for a, b in zip(found, interpret(graph(), inputs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("arch", ["sm_80", "sm_90"])
def test_cuda_source_is_made_without_a_gpu(arch: str, tmp_path: Path) -> None:
    built = build_canonical(graph(), parse_target(f"cuda{{arch={arch}}}"))
    library = decode(CudaLibrary, json.loads(built.library.read_text()), "library")
    launched = {launch.function for k in library.kernels for launch in k.launches}
    assert launched
    assert all("__global__ void" in library.source and f in library.source for f in launched)
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("source made; not compiled further, because nvcc is not installed")
    source = tmp_path / "model.cu"
    source.write_text(library.source)
    command = [nvcc, f"-arch={arch}", "-cubin", "-o", str(tmp_path / "model.cubin"), str(source)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
