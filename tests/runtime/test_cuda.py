# SPDX-License-Identifier: MIT
"""CUDA artifacts: what is refused without a GPU, compilation without one, results with one."""

from __future__ import annotations

import importlib.util
import json

import numpy as np
import pytest

from ranvier.codegen.targets import parse_target
from ranvier.compiler import build_canonical
from ranvier.errors import RanvierError
from ranvier.ir import Array, interpret, parse_graph
from ranvier.runtime.cuda_compile import compile_cuda
from ranvier.runtime.cuda_executor import CudaExecutor

pytestmark = pytest.mark.usefixtures("cache_folder")

TEXT = """graph @g(%x: float32[4, 6], %go: bool[], %s: float32[6]) {
  param %w: float32[6, 5] = (0.5, 1.0, -1.0, 2.0, 0.25, 0.5, 1.0, -1.0, 2.0, 0.25, 0.5, 1.0, -1.0,
    2.0, 0.25, 0.5, 1.0, -1.0, 2.0, 0.25, 0.5, 1.0, -1.0, 2.0, 0.25, 0.5, 1.0, -1.0, 2.0, 0.25)
  %y: float32[4, 5] = mat_mul(%x, %w)
  %z: float32[4, 5] = exp(%y)
  %m: float32[4] = reduce_max(%z) {axes=(1,)}
  %t: float32[6], %rows: float32[4, 6] = scan(%s, %x)
  {body=graph @b(%a: float32[6], %r: float32[6]) {
    %n: float32[6] = add(%a, %r)
    return %n, %n
  }, length=4, num_carried=1, num_scanned=1}
  %v: float32[6] = branch(%go, %t, %s)
  {then_body=graph @yes(%p: float32[6], %q: float32[6]) {
    return %p
  }, else_body=graph @no(%p: float32[6], %q: float32[6]) {
    return %q
  }}
  return %z, %m, %rows, %v
}
"""


def inputs(go: bool) -> list[Array]:
    """Return arrays for the graph above."""
    rng = np.random.default_rng(0)
    return [
        rng.standard_normal((4, 6)).astype(np.float32),
        np.asarray(go),
        rng.standard_normal(6).astype(np.float32),
    ]


@pytest.mark.parametrize("arch", ["sm_80", "sm_90"])
def test_source_compiles_with_the_run_time_compiler(arch: str) -> None:
    if importlib.util.find_spec("cuda") is None:
        pytest.skip("NVIDIA's compiler wheels are not installed (extra 'cuda')")
    built = build_canonical(parse_graph(TEXT), parse_target(f"cuda{{arch={arch}}}"))
    source = json.loads(built.library.read_text())["source"]
    assert compile_cuda(source, arch)[:4] == b"\x7fELF"


def test_without_a_gpu_the_error_says_what_is_missing(request: pytest.FixtureRequest) -> None:
    from conftest import gpu_count

    if gpu_count():
        pytest.skip("this machine has a GPU")
    built = build_canonical(parse_graph(TEXT), parse_target("cuda"))
    with pytest.raises(RanvierError, match=r"ranvier\[cuda\]|CUDA driver"):
        CudaExecutor(built.program, built.library, built.weights)


@pytest.mark.gpu
@pytest.mark.parametrize("go", [False, True])
def test_results_on_a_gpu(go: bool) -> None:
    graph = parse_graph(TEXT)
    built = build_canonical(graph, parse_target("cuda{arch=sm_80}"))
    executor = CudaExecutor(built.program, built.library, built.weights)
    found = executor.run(inputs(go))
    executor.close()
    for a, b in zip(found, interpret(graph, inputs(go)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
