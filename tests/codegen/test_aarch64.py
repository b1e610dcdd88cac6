# SPDX-License-Identifier: MIT
"""Models compiled for aarch64, run by an emulator on one thread and on several."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from aarch64 import build_driver, run_emulated, why_not
from ranvier.codegen.targets import parse_target
from ranvier.compiler import build_canonical
from ranvier.frontend import builder as nn
from ranvier.frontend.builder import Tensor
from ranvier.ir import Emitter, Graph, TensorType, interpret, ops
from ranvier.ir.types import numpy_dtype

pytestmark = pytest.mark.skipif(bool(why_not()), reason=f"cannot run aarch64: {why_not()}")

Network = Callable[[Tensor], Tensor]


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program that loads libraries of aarch64."""
    return build_driver(tmp_path_factory.mktemp("aarch64"))


def residual(x: Tensor) -> Tensor:
    """Convolutions whose channels and widths fill no tile, one added to what it reads."""
    y = nn.relu(nn.batch_norm(nn.conv(x, 18, 3, padding=1, name="a"), name="norm"))
    z = nn.conv(nn.relu(nn.conv(y, 7, 1, name="b")), 18, 3, padding=1, name="c")
    y = nn.relu(nn.add(z, y))
    return nn.conv(nn.concat((y, nn.conv(y, 5, 1))), 30, 3, stride=2, padding=1, name="d")


def wide(x: Tensor) -> Tensor:
    """Convolutions with many channels, which minimal filtering may compute."""
    y = nn.relu(nn.conv(x, 64, 3, padding=1, name="a"))
    return nn.relu(nn.add(nn.conv(y, 64, 3, padding=1, name="b"), x))


def volume(x: Tensor) -> Tensor:
    """A level of a U-Net of three dimensions."""
    y = nn.relu(nn.instance_norm(nn.conv(x, 12, 3, padding=1, name="a"), name="norm"))
    z = nn.conv_transpose(nn.max_pool(y, 2), 6, 2, stride=2, name="up")
    return nn.conv(nn.concat((y, nn.upsample(nn.max_pool(y, 2), 2), z)), 3, 1, name="b")


def mobile(x: Tensor) -> Tensor:
    """Convolutions of each channel alone and of groups, averages and a product."""
    y = nn.hard_swish(nn.conv(x, 20, 3, stride=2, padding=1, name="a"))
    y = nn.clip(nn.conv(y, 20, 3, padding=1, groups=20, name="b"), 0, 6)
    y = nn.conv(nn.average_pool(y, 3, stride=1, padding=1), 20, 3, groups=2, name="c")
    return nn.linear(nn.global_average_pool(y), 11, name="fc")


def transformer(x: Tensor) -> Tensor:
    """Products, attention, softmax and the error function."""
    q, k, v = nn.split(nn.linear(nn.layer_norm(x, name="n"), 72, name="qkv"), 3)
    y = nn.add(nn.attention(q, k, v, 3), x)
    y = nn.gelu(nn.linear(nn.layer_norm(y, name="m"), 34, name="a"))
    return nn.softmax(nn.linear(y, 21, name="b"))


def functions(x: Tensor) -> Tensor:
    """Functions that are polynomials."""
    return nn.concat((nn.tanh(x), nn.sigmoid(x), nn.gelu(x), nn.gelu(x, "tanh"), nn.swish(x)))


def recurrent(x: Tensor) -> Tensor:
    """A loop over steps."""
    return nn.lstm(x, 10, name="lstm")[0]


NETWORKS: list[tuple[Network, tuple[int, ...]]] = [
    (residual, (2, 5, 13, 11)),
    (wide, (1, 64, 13, 15)),
    (wide, (1, 64, 26, 30)),
    (volume, (1, 4, 6, 6, 10)),
    (mobile, (1, 3, 17, 16)),
    (transformer, (1, 9, 24)),
    (functions, (1, 3, 7001)),
    (recurrent, (7, 2, 5)),
]


@pytest.mark.parametrize(("network", "shape"), NETWORKS, ids=lambda v: getattr(v, "__name__", None))
def test_networks(network: Network, shape: tuple[int, ...], driver: Path, tmp_path: Path) -> None:
    x = nn.input("x", shape)
    check(nn.graph("g", [x], [network(x)], seed=1), driver, tmp_path, 1e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64", "int8"])
def test_other_element_types(dtype: str, driver: Path, tmp_path: Path) -> None:
    emit = Emitter()
    x = emit.argument(TensorType(dtype, (5, 37)), "x")
    total = emit(ops.ReduceSum((1,)), emit(ops.Mul(), emit(ops.Abs(), x), x))
    wider = emit(ops.Cast("float32"), x)
    check(emit.graph("types", [x], [total, wider]), driver, tmp_path, 1e-2)


def check(graph: Graph, driver: Path, folder: Path, tolerance: float) -> None:
    """Compare runs in a row on one, two and three threads with the interpreter."""
    built = build_canonical(graph, parse_target("cpu{march=armv8.2-a}"))
    rng = np.random.default_rng(0)
    types = [v.type for v in graph.inputs if isinstance(v.type, TensorType)]
    inputs = [(2 * rng.standard_normal(t.dims)).astype(numpy_dtype(t.dtype)) for t in types]
    expected = interpret(graph, inputs)
    for threads in (1, 2, 3):
        results = run_emulated(driver, built, inputs, folder, threads, runs=3)
        for found, right in zip(results, expected, strict=True):
            wide, exact = found.astype(np.float64), right.astype(np.float64)
            limit = tolerance * np.abs(exact).max()
            np.testing.assert_allclose(wide, exact, rtol=0, atol=limit)
