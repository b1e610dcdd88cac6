# SPDX-License-Identifier: MIT
"""Every model of the zoo: its parameters are counted, and onnxruntime computes what we mean."""

from __future__ import annotations

import importlib
import importlib.util
from collections import Counter
from typing import Any

import numpy as np
import onnx
import pytest

import ranvier
from ranvier.compiler import Compiler, bound_types
from ranvier.errors import LayerError
from ranvier.frontend import zoo
from ranvier.frontend.export import export
from ranvier.ir import Array, Graph, TensorType, interpret, verify
from ranvier.passes import run_passes
from ranvier.passes.pipelines import CANONICAL

SMALL: dict[str, dict[str, int]] = {
    "resnet8": {"size": 16, "width": 4},
    "resnet20": {"size": 16, "width": 4},
    "resnet18": {"size": 64, "width": 16},
    "resnet34": {"size": 64, "width": 8},
    "resnet50": {"size": 64, "width": 16},
    "resnet101": {"size": 64, "width": 8},
    "resnet152": {"size": 64, "width": 8},
    "vgg16": {"size": 32, "width": 8},
    "vgg19": {"size": 32, "width": 8},
    "vgg16_bn": {"size": 32, "width": 8},
    "vgg19_bn": {"size": 32, "width": 8},
    "densenet121": {"size": 64, "width": 16},
    "mobilenet_v2": {"size": 64, "width": 16},
    "efficientnet_b0": {"size": 64, "width": 16},
    "vit_b16": {"size": 32, "width": 128, "layers": 3},
    "unet2d": {"size": 32, "width": 8},
    "unet3d": {"size": 16, "width": 4},
    "unet_plus_plus": {"size": 32, "width": 4},
    "segresnet3d": {"size": 16, "width": 8},
    "dynunet3d": {"size": 32, "width": 4, "depth": 4},
    "unetr3d": {"size": 32, "width": 4, "hidden": 64},
    "deeplabv3_plus": {"size": 64, "width": 8},
    "bert_base": {"length": 16, "width": 128, "layers": 2, "vocabulary": 100},
    "lstm_classifier": {"length": 8, "width": 16, "vocabulary": 50},
    "gru_classifier": {"length": 8, "width": 16, "vocabulary": 50},
}
"""Options that make a model small enough for the interpreter."""

BACKBONE, PYRAMID = 23_508_032, 15_535_104
"""Parameters of ResNet-50 without its classifier, and of DeepLab's pyramid of 256 channels.

torchvision's deeplabv3_resnet50 has 42,004,074 parameters: these, a convolution and two heads.
"""

COUNTS: dict[str, tuple[dict[str, int], int]] = {
    "resnet8": ({}, 75_290 + 16 * 32 + 32 * 64 + 2 * (32 + 64)),
    # The paper counts 0.27 M for 20 layers, whose shortcuts have no parameters.
    "resnet20": ({}, 269_722 + 16 * 32 + 32 * 64 + 2 * (32 + 64)),
    "resnet18": ({}, 11_689_512),
    "resnet34": ({}, 21_797_672),
    "resnet50": ({}, 25_557_032),
    "resnet101": ({}, 44_549_160),
    "resnet152": ({}, 60_192_808),
    "vgg16": ({}, 138_357_544),
    "vgg19": ({}, 143_667_240),
    "vgg16_bn": ({}, 138_365_992),
    "vgg19_bn": ({}, 143_678_248),
    "densenet121": ({}, 7_978_856),
    "mobilenet_v2": ({}, 3_504_872),
    "efficientnet_b0": ({}, 5_288_548),
    "vit_b16": ({}, 86_567_656),
    "unet2d": ({"channels": 3, "classes": 1}, 31_037_633),
    # The paper counts 19,069,955, which leaves scales and biases of normalisations out.
    "unet3d": ({}, 19_069_955 + 2 * (32 + 2 * (64 + 128 + 256) + 512 + 2 * (256 + 128 + 64))),
    "unet_plus_plus": ({}, 9_163_329),
    "segresnet3d": ({"channels": 4, "classes": 3}, 4_702_227),
    "dynunet3d": ({}, 31_189_410),
    # MONAI's blocks also hold a normalisation for cross attention, which never runs.
    "unetr3d": ({}, 92_802_478 - 12 * 2 * 768),
    "deeplabv3_plus": (
        {},
        BACKBONE + PYRAMID + (256 * 48 + 96) + (304 * 256 * 9 + 512) + (256 * 21 + 21),
    ),
    "bert_base": ({}, 109_482_240),
    # torch.nn.LSTM(256, 256, 2, bidirectional=True) has 2,629,632, torch.nn.GRU 1,972,224.
    "lstm_classifier": ({}, 10_000 * 256 + 2_629_632 + 2 * 512 + 2),
    "gru_classifier": ({}, 10_000 * 256 + 1_972_224 + 2 * 512 + 2),
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
        step = {"classes": 1, "batch": 1, "channels": 1, "depth": -1}.get(option, value)
        other = zoo.network(name, **{**SMALL[name], option: value + step})
        assert (other.parameter_count, other.flops) != (small.parameter_count, small.flops)


@pytest.mark.parametrize(
    "name", ["mobilenet_v2", "vgg16_bn", "vit_b16", "segresnet3d", "bert_base"]
)
def test_passes_find_the_same_in_a_graph_and_in_its_onnx_form(name: str) -> None:
    graph = zoo.build(name, **SMALL[name])
    compiler = Compiler(export(graph))
    structures = bound_types(compiler.model.graph, {})
    stage, _ = compiler.stage("", structures, None)
    built, read = (
        Counter(node.op.name for node in run_passes(g, CANONICAL)) for g in (graph, stage.graph)
    )
    del read["in_range"]  # checks of positions, which graphs get when they are compiled
    assert built == read


@pytest.mark.parametrize("name", ["resnet18", "segresnet3d", "bert_base", "lstm_classifier"])
def test_models_compile(name: str) -> None:
    graph = zoo.build(name, **SMALL[name])
    inputs = inputs_of(graph, 0)
    feeds = {v.name: a for v, a in zip(graph.inputs, inputs, strict=True)}
    results = ranvier.Session(graph).run(None, feeds)
    for a, e in zip(results, interpret(graph, inputs), strict=True):
        assert difference(np.asarray(a), e) < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_models_of_full_size_compile(name: str) -> None:
    options = {"size": 32} if name == "unet3d" else {}
    graph = zoo.build(name, **options)
    feeds = {v.name: a for v, a in zip(graph.inputs, inputs_of(graph, 0), strict=True)}
    expected = session(export(graph)).run(None, feeds)
    results = ranvier.Session(graph).run(None, feeds)
    for a, e in zip(results, expected, strict=True):
        assert difference(np.asarray(a), e) < 1e-4


def test_seeds_make_different_weights() -> None:
    one, two, again = (zoo.build("resnet18", seed=s, **SMALL["resnet18"]) for s in (0, 1, 0))
    assert one == again
    assert one != two


def test_unknown_model() -> None:
    with pytest.raises(LayerError, match="no model 'resnet19' in the zoo; there are: resnet8, "):
        zoo.build("resnet19")


def test_unknown_option() -> None:
    with pytest.raises(LayerError, match="resnet18: has no option 'depth'; there are: classes, "):
        zoo.build("resnet18", depth=3)


def test_size_that_cannot_be_halved() -> None:
    with pytest.raises(LayerError, match="unet2d: size=100 must be a multiple of 16"):
        zoo.build("unet2d", size=100)
