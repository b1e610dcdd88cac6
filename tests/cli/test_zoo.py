# SPDX-License-Identifier: MIT
"""The command that lists and writes the models of the zoo."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ranvier.frontend import load, zoo


def test_every_model_is_listed(ranvier: Any) -> None:
    models = ranvier("zoo", "--json").data["models"]
    assert [m["name"] for m in models] == list(zoo.MODELS)
    (resnet,) = (m for m in models if m["name"] == "resnet18")
    assert resnet["parameters"] == 11_689_512
    assert 3.6e9 < resnet["flops"] < 3.7e9
    assert resnet["inputs"] == [{"name": "image", "type": "float32[1, 3, 224, 224]"}]
    text = ranvier("zoo").out
    assert "He et al., CVPR 2016" in text
    assert "11.7 M" in text


def test_one_model_is_described(ranvier: Any) -> None:
    data = ranvier("zoo", "unet2d", "--size", 64, "--json").data
    assert data["outputs"] == [{"name": "logits", "type": "float32[1, 2, 64, 64]"}]
    assert data["options"]["size"] == 64
    assert data["options"]["width"] == 64
    assert "options: classes=2, size=64" in ranvier("zoo", "unet2d", "--size", 64).out


def test_model_is_written(ranvier: Any, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    words = ("zoo", "resnet18", "--size", 32, "--width", 4, "--seed", 3, "-o", path)
    done = ranvier(*words, "--opset", 17, "--json")
    assert done.code == 0, done.err
    assert done.data["bytes"] == path.stat().st_size
    model = load(path)
    assert model.opsets == {"": 17}
    weights = zoo.build("resnet18", size=32, width=4, seed=3).parameters
    assert (model.graph.parameters["conv1.weight"] == weights["conv1.weight"]).all()
    assert "opset 20" in ranvier(*words).out


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("resnet19",), 1, "no model 'resnet19' in the zoo"),
        (("resnet18", "--length", 4), 1, "resnet18: has no option 'length'"),
        (("unet2d", "--size", 100), 1, "size=100 must be a multiple of 16"),
        (("--size", 100), 2, "name the model"),
        (("resnet18", "--size", 0), 2, "0 is not in the range x>=1"),
    ],
)
def test_mistakes(ranvier: Any, words: tuple[str, ...], code: int, message: str) -> None:
    done = ranvier("zoo", *words)
    assert done.code == code
    assert message in done.err
