# SPDX-License-Identifier: MIT
"""Every model of the zoo: its parameters are counted, and onnxruntime computes what we mean."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

import numpy as np
import onnx
import pytest

from ranvier.errors import LayerError
from ranvier.frontend import zoo
from ranvier.frontend.export import export
from ranvier.ir import Array, Graph, TensorType, interpret, verify

SMALL: dict[str, dict[str, int]] = {
    "resnet18": {"size": 64, "width": 16},
    "resnet34": {"size": 64, "width": 8},
    "resnet50": {"size": 64, "width": 16},
    "resnet101": {"size": 64, "width": 8},
    "resnet152": {"size": 64, "width": 8},
    "unet2d": {"size": 32, "width": 8},
    "unet3d": {"size": 16, "width": 4},
}
"""Options that make a model small enough for the interpreter."""

COUNTS: dict[str, tuple[dict[str, int], int]] = {
    "resnet18": ({}, 11_689_512),
    "resnet34": ({}, 21_797_672),
    "resnet50": ({}, 25_557_032),
    "resnet101": ({}, 44_549_160),
    "resnet152": ({}, 60_192_808),
    "unet2d": ({"channels": 3, "classes": 1}, 31_037_633),
    # The paper counts 19,069,955, which leaves scales and biases of normalisations out.
    "unet3d": ({}, 19_069_955 + 2 * (32 + 2 * (64 + 128 + 256) + 512 + 2 * (256 + 128 + 64))),
}
"""Trainable parameters that the reference implementations have, with the options they take."""


def inputs_of(graph: Graph, seed: int) -> list[Array]:
    """Random images, or the numbers 0 and 1 as tokens."""
    rng = np.random.default_rng(seed)
    arrays: list[Array] = []
    for value in graph.inputs:
        assert isinstance(value.type, TensorType)
        if value.type.dtype == "float32":
            arrays.append(rng.standard_normal(value.type.dims, np.float32))
        else:
            arrays.append(rng.integers(0, 2, value.type.dims).astype(value.type.dtype))
    return arrays


def session(model: onnx.ModelProto) -> Any:
    """Return onnxruntime's session of a model."""
    if importlib.util.find_spec("onnxruntime") is None:
        pytest.skip("onnxruntime is not installed")
    runtime = importlib.import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    return runtime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def difference(actual: Array, expected: Array) -> float:
    """Return the largest difference as a fraction of the largest element."""
    return float(np.abs(actual - expected).max() / np.abs(expected).max())


def test_every_model_is_tested() -> None:
    assert SMALL.keys() == zoo.MODELS.keys()
    assert COUNTS.keys() == zoo.MODELS.keys()


@pytest.mark.parametrize("name", SMALL)
def test_onnxruntime_computes_the_same(name: str) -> None:
    graph = zoo.build(name, **SMALL[name])
    verify(graph)
    model = export(graph)
    onnx.checker.check_model(model, full_check=True)
    inputs = inputs_of(graph, 0)
    expected = interpret(graph, inputs)
    feeds = {v.name: a for v, a in zip(graph.inputs, inputs, strict=True)}
    results = session(model).run(None, feeds)
    for value, a, e in zip(graph.outputs, results, expected, strict=True):
        assert difference(a, e) < 1e-4, value.name


@pytest.mark.parametrize("name", SMALL)
def test_signals_neither_vanish_nor_explode(name: str) -> None:
    graph = zoo.build(name, **SMALL[name])
    one, two = (interpret(graph, inputs_of(graph, seed)) for seed in (0, 1))
    for a, b in zip(one, two, strict=True):
        assert 0.05 < np.abs(a).max() < 100
        assert difference(a, b) > 0.02, "the result hardly depends on the input"


@pytest.mark.parametrize("name", COUNTS)
def test_parameters_are_those_of_the_reference(name: str) -> None:
    options, count = COUNTS[name]
    assert zoo.network(name, **options).parameter_count == count


@pytest.mark.parametrize("name", SMALL)
def test_every_option_changes_the_network(name: str) -> None:
    small = zoo.network(name, **SMALL[name])
    for option, default in zoo.MODELS[name].options.items():
        value = SMALL[name].get(option, default)
        changed = value + 1 if option in ("classes", "batch", "channels") else 2 * value
        if option != "depth":
            other = zoo.network(name, **{**SMALL[name], option: changed})
            assert (other.parameter_count, other.flops) != (small.parameter_count, small.flops)


def test_seeds_make_different_weights() -> None:
    one, two, again = (zoo.build("resnet18", seed=s, **SMALL["resnet18"]) for s in (0, 1, 0))
    assert one == again
    assert one != two


def test_unknown_model() -> None:
    with pytest.raises(LayerError, match="no model 'resnet19' in the zoo; there are: resnet18, "):
        zoo.build("resnet19")


def test_unknown_option() -> None:
    with pytest.raises(LayerError, match="resnet18: has no option 'depth'; there are: classes, "):
        zoo.build("resnet18", depth=3)


def test_size_that_cannot_be_halved() -> None:
    with pytest.raises(LayerError, match="unet2d: size=100 must be a multiple of 16"):
        zoo.build("unet2d", size=100)
