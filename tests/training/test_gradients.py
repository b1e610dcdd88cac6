# SPDX-License-Identifier: MIT
"""Gradients of all parameters of whole models against torch's autograd in float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from corpus import feeds, path_of, rows
from gradients import Comparison, Problem, compare, problem
from ranvier.frontend import zoo
from ranvier.ir import Array, TensorType
from ranvier.training.model import OnnxModel, as_model

IMAGE = {"batch": 4, "size": 32, "classes": 5, "width": 8}
# Deep ones end in images of one pixel at that size, and variances of four numbers multiply
# rounding: in float32 torch itself is off by 2e-3 (MobileNetV2) to 2e-2 (EfficientNet) then, and
# by 2e-5 at this size.
DEEP = {**IMAGE, "batch": 8, "size": 64}
SIZES: Mapping[str, Mapping[str, int]] = {
    **dict.fromkeys(zoo.MODELS, IMAGE),
    **dict.fromkeys(("mobilenet_v2", "efficientnet_b0", "densenet121"), DEEP),
    **dict.fromkeys(("resnet50", "resnet101", "resnet152"), DEEP),
    "vit_b16": {"batch": 4, "size": 32, "classes": 5, "width": 64, "layers": 2},
    "unet2d": {"batch": 4, "size": 32, "width": 8, "depth": 3},
    "unet3d": {"batch": 4, "size": 16, "width": 8, "depth": 2, "channels": 1},
    "unet_plus_plus": {"batch": 4, "size": 32, "width": 8, "depth": 3},
    "segresnet3d": {"batch": 4, "size": 16, "width": 8},
    "dynunet3d": {"batch": 4, "size": 16, "width": 8, "depth": 3},
    "unetr3d": {"batch": 4, "size": 32, "width": 8, "hidden": 64, "classes": 3},
    "deeplabv3_plus": {"batch": 4, "size": 64, "width": 8, "classes": 3},
    "bert_base": {"batch": 4, "length": 12, "width": 64, "layers": 2, "vocabulary": 50},
    "lstm_classifier": {"batch": 4, "length": 6, "width": 8, "vocabulary": 20},
    "gru_classifier": {"batch": 4, "length": 6, "width": 8, "vocabulary": 20},
}
"""Small, with at least four samples: variances of batch norms are then well conditioned."""

# One of each kind that takes no more than some seconds, in the interpreter and to compile.
QUICK = {
    "resnet18", "vgg16_bn", "vit_b16", "unet2d", "unet_plus_plus", "bert_base",
    "lstm_classifier", "gru_classifier", "autoencoder_dynamo18", "bert_tiny_ts14",
    "lstm_text_ts17", "mixedops_dynamo20", "mixedops_ts18", "oldcnn_ts9", "resnet18_ts17",
    "unet2d_bn_ts13", "unet2d_ts17_dynhw", "vit_own_ts17",
}  # fmt: skip
QUICKLY_COMPILED = {"lstm_classifier", "unet2d_bn_ts13"}
FLOATS = [r for r in rows() if r["name"] != "resnet18_qdq"]  # whose roundings have no slope


def from_zoo(name: str) -> Problem:
    sizes = SIZES[name]
    model = as_model(zoo.network(name, **sizes))
    rng = np.random.default_rng(1)
    batch = {k: data(k, t, sizes, rng) for k, t in model.inputs.items()}
    return problem(model, batch)


def data(name: str, type: TensorType, sizes: Mapping[str, int], rng: np.random.Generator) -> Array:
    if type.dtype == "float32":
        return rng.standard_normal(type.dims).astype(np.float32)
    if name == "attention_mask":
        return np.asarray(np.arange(type.dims[1]) < rng.integers(4, 9, (type.dims[0], 1)), np.int64)
    high = 2 if name == "token_type_ids" else sizes["vocabulary"]
    return rng.integers(0, high, type.dims)


def from_corpus(row: dict[str, Any]) -> Problem:
    batch, _ = feeds(row, 1)
    rng = np.random.default_rng(1)
    if "3d" not in row["name"]:  # no batch norm, and large enough
        batch = {k: doubled(a, rng) for k, a in batch.items()}
    return problem(OnnxModel(path_of(row)), batch)


def doubled(array: Array, rng: np.random.Generator) -> Array:
    """Return a batch of twice the size, whose new half differs from the old one."""
    other = array
    if array.dtype.kind == "f":
        other = rng.standard_normal(array.shape).astype(array.dtype)
    return np.concatenate([array, other])


def cases(quick: set[str]) -> list[Any]:
    made = {name: partial(from_zoo, name) for name in SIZES}
    made |= {row["name"]: partial(from_corpus, row) for row in FLOATS}
    return [
        pytest.param(make, id=name, marks=() if name in quick else pytest.mark.slow)
        for name, make in made.items()
    ]


@pytest.mark.parametrize("make", cases(QUICK))
def test_vjps_are_autograd(make: Callable[[], Problem]) -> None:
    """In float64 both decide alike, and what is left is rounding."""
    one = make()
    result = compare(one.by_interpreter(), one.by_torch())
    assert max(result.errors.values()) <= 1e-9, worst(result)
    assert max(result.zeros.values(), default=0.0) <= 1e-9, result.zeros


@pytest.mark.parametrize("make", cases(QUICKLY_COMPILED))
def test_compiled_gradients_are_autograd(make: Callable[[], Problem]) -> None:
    """Under the decisions that the compiled program took in float32."""
    one = make()
    gradients, decided = one.by_program()
    result = compare(gradients, one.by_torch(decided))
    tolerance = 1e-4 if all(g.dtype == np.float32 for g in gradients.values()) else 2e-2
    assert max(result.errors.values()) <= tolerance, worst(result)
    assert max(result.zeros.values(), default=0.0) <= tolerance, result.zeros


def worst(result: Comparison) -> str:
    """The five largest errors, for the message."""
    order = sorted(result.errors, key=lambda k: -result.errors[k])
    return ", ".join(f"{k}: {result.errors[k]:.1e}" for k in order[:5])
