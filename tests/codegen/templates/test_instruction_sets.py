# SPDX-License-Identifier: MIT
"""Templates use the vectors of each instruction set in full, and keep sums in registers.

This is all that is checked of AVX-512, which few machines can run; AVX2 and NEON run elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest

from ranvier.codegen.assemble import assemble
from ranvier.codegen.compile_kernels import assembly_of
from ranvier.codegen.spills import innermost_loops, spills
from ranvier.codegen.targets.cpu import CpuTarget
from ranvier.codegen.templates.tile import tiles
from ranvier.compiler import arena_plan, target_ready
from ranvier.frontend import builder as nn
from ranvier.frontend.builder import Tensor
from ranvier.ir import Emitter, Graph, TensorType, ops

REGISTERS = {"x86-64-v3": "%ymm", "x86-64-v4": "%zmm", "armv8-a": "v", "armv8.2-a": "v"}
"""What the registers of whole vectors are called."""

_MULTIPLY_ADD = re.compile(r"^\s*(?:vfn?m(?:add|sub)|fml[as]|fn?m(?:add|sub)).*$", re.MULTILINE)

Network = Callable[[Tensor], Tensor]


def convolution(x: Tensor) -> Tensor:
    return nn.relu(nn.conv(nn.relu(x), 96, 3, padding=1, name="c"))


def residual(x: Tensor) -> Tensor:
    return nn.relu(nn.add(nn.conv(nn.relu(x), 64, 1, name="c"), x))


def tails(x: Tensor) -> Tensor:
    return nn.relu(nn.conv(nn.relu(x), 19, 3, stride=2, padding=1, name="c"))


def stem(x: Tensor) -> Tensor:
    return nn.relu(nn.conv(x, 64, 7, stride=2, padding=3, name="c"))


def first(x: Tensor) -> Tensor:
    return nn.relu(nn.conv(x, 64, 3, padding=1, name="c"))


def depthwise(x: Tensor) -> Tensor:
    return nn.clip(nn.conv(nn.relu(x), 64, 3, padding=1, groups=64, name="c"), 0, 6)


def transposed(x: Tensor) -> Tensor:
    return nn.conv_transpose(nn.relu(x), 32, 2, stride=2, name="c")


def product(x: Tensor) -> Tensor:
    return nn.linear(x, 200, name="c")


NETWORKS: list[tuple[Network, tuple[int, ...]]] = [
    (convolution, (1, 64, 14, 14)),
    (convolution, (1, 32, 4, 8, 28)),
    (residual, (1, 64, 28, 28)),
    (tails, (1, 24, 15, 17)),
    (stem, (1, 3, 64, 64)),
    (first, (1, 3, 56, 56)),
    (first, (1, 2, 8, 12, 24)),
    (depthwise, (1, 64, 28, 28)),
    (transposed, (1, 64, 8, 8)),
    (product, (1, 128, 96)),
    (product, (5, 96)),
]


@pytest.mark.parametrize("march", REGISTERS)
@pytest.mark.parametrize(("network", "shape"), NETWORKS, ids=lambda v: getattr(v, "__name__", None))
def test_inner_loops_multiply_whole_vectors_and_spill_none(
    network: Network, shape: tuple[int, ...], march: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = nn.input("x", shape)
    check(nn.graph("g", [x], [network(x)], seed=1), march, monkeypatch)


# Data (N, C, S...), channels of the result, stride, padding, groups; windows are of 3.
GRADIENTS: dict[str, tuple[tuple[int, ...], int, int, int, int]] = {
    "winograd": ((4, 64, 16, 16), 64, 1, 1, 1),
    "winograd-volume": ((1, 32, 8, 8, 8), 48, 1, 1, 1),
    "strided": ((4, 64, 16, 16), 96, 2, 1, 1),
    "tails": ((2, 21, 15, 17), 19, 2, 0, 1),
    "first": ((2, 3, 32, 32), 32, 1, 1, 1),
    "last": ((2, 32, 32, 32), 2, 1, 1, 1),
    "depthwise": ((2, 32, 14, 14), 32, 1, 1, 32),
}


@pytest.mark.parametrize("march", REGISTERS)
@pytest.mark.parametrize("case", GRADIENTS)
def test_gradients_multiply_whole_vectors_and_spill_none(
    case: str, march: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape, outputs, stride, padding, groups = GRADIENTS[case]
    rank = len(shape) - 2
    op = ops.ConvWeightGradient(
        (3,) * rank,
        (stride,) * rank,
        (padding,) * rank,
        (padding,) * rank,
        (1,) * rank,
        (1,) * rank,
        groups,
    )
    emit = Emitter()
    x = emit.argument(TensorType("float32", shape), "x")
    positions = op.sliding.positions(shape[2:])
    dz = emit.argument(TensorType("float32", (shape[0], outputs, *positions)), "dz")
    check(emit.graph("g", (x, dz), [emit(op, x, dz)]), march, monkeypatch)


def check(graph: Graph, march: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at the kernels of a graph that templates wrote."""
    monkeypatch.setenv("RANVIER_CACHE", "off")  # kernels with code have no function any more
    target = CpuTarget(march)
    largest = 0
    for label, text in assemblies(graph, target):
        multiplied = _MULTIPLY_ADD.findall(text)
        assert all(is_whole(line, REGISTERS[march]) for line in multiplied), label
        assert spills(text) == 0, label
        largest = max([largest, *(loop.arithmetic for loop in innermost_loops(text))])
    assert largest >= min(8, max(t.rows * t.vectors for t in tiles(target.unit)))


def assemblies(graph: Graph, target: CpuTarget) -> Iterator[tuple[str, str]]:
    """Yield label and assembly of each kernel of a graph that a template wrote."""
    assembly = assemble(target_ready(graph, target), target, arena_plan)
    labels = {k.name: k.label for k in assembly.program.kernels if " by " in k.label}
    assert labels
    for name, label in labels.items():
        yield label, assembly_of(assembly.kernels[name].function, target._tvm())


def is_whole(line: str, register: str) -> bool:
    """Whether an instruction works on whole vectors of float32."""
    mnemonic, _, operands = line.strip().partition("\t")
    if register == "v":
        return operands.startswith("v") and operands.split(",")[0].endswith(".4s")
    return mnemonic.endswith("ps") and register in operands and operands.count("mm") >= 2
