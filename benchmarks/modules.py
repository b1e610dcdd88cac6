# SPDX-License-Identifier: MIT
"""torch modules, and the ONNX files that torch's exporter writes of them.

``NAME/module.json`` says which module ``NAME/model.onnx`` was exported from, and
``NAME/module.safetensors`` holds its weights, so that torch runs the very same network.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ranvier.errors import InputError

OPSET = 18


@dataclass(frozen=True)
class Recipe:
    """How a module is made.

    Attributes:
        make: returns the module with freshly drawn weights.
        inputs: shape of each input by name; those of integers are token numbers.
        tokens: size of the vocabulary, 0 for images.
    """

    make: Callable[[], Any]
    inputs: Mapping[str, tuple[int, ...]]
    tokens: int = 0


class Bottleneck(nn.Module):  # type: ignore[misc]
    """A block of ResNet-50 (He et al., CVPR 2016), its stride on the 3 x 3 convolution."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_convolution(channels, width, 1, 1), nn.ReLU(),
            *_convolution(width, width, 3, stride), nn.ReLU(),
            *_convolution(width, 4 * width, 1, 1),
        )  # fmt: skip
        same = stride == 1 and channels == 4 * width
        self.shortcut = nn.Sequential(
            *([] if same else _convolution(channels, 4 * width, 1, stride))
        )

    def forward(self, x: Any) -> Any:
        """Return the block of an image."""
        return torch.relu(self.body(x) + self.shortcut(x))


def resnet50() -> Any:
    """Return ResNet-50."""
    blocks: list[Any] = []
    channels = 64
    for width, count in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for k in range(count):
            blocks.append(Bottleneck(channels, width, 2 if k == 0 and width > 64 else 1))
            channels = 4 * width
    stem = [*_convolution(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 1000)]
    return nn.Sequential(*stem, *blocks, *head)


def _convolution(channels: int, results: int, kernel: int, stride: int) -> list[Any]:
    convolution = nn.Conv2d(channels, results, kernel, stride, kernel // 2, bias=False)
    return [convolution, nn.BatchNorm2d(results)]


def _monai(name: str, **options: Any) -> Callable[[], Any]:
    def make() -> Any:
        from monai.networks import nets

        return getattr(nets, name)(**options)

    return make


def _bert() -> Any:
    from transformers import BertConfig, BertModel

    return BertModel(BertConfig(attn_implementation="eager", return_dict=False))


_UNET = {
    "in_channels": 1, "out_channels": 2, "channels": (16, 32, 64, 128, 256),
    "strides": (2, 2, 2, 2), "num_res_units": 2,
}  # fmt: skip
_SEGRESNET = {"init_filters": 16, "in_channels": 4, "out_channels": 3, "blocks_down": (1, 2, 2, 4)}

RECIPES: Mapping[str, Recipe] = {
    "resnet50": Recipe(resnet50, {"x": (1, 3, 224, 224)}),
    "densenet121": Recipe(
        _monai("DenseNet121", spatial_dims=2, in_channels=3, out_channels=1000),
        {"x": (1, 3, 224, 224)},
    ),
    "unet2d_256": Recipe(_monai("UNet", spatial_dims=2, **_UNET), {"x": (1, 1, 256, 256)}),
    "unet3d_96": Recipe(_monai("UNet", spatial_dims=3, **_UNET), {"x": (1, 1, 96, 96, 96)}),
    "segresnet3d_96": Recipe(
        _monai("SegResNet", spatial_dims=3, **_SEGRESNET), {"x": (1, 4, 96, 96, 96)}
    ),
    "vit_b16": Recipe(
        _monai("ViT", in_channels=3, img_size=224, patch_size=16, spatial_dims=2,
               classification=True, num_classes=1000),
        {"x": (1, 3, 224, 224)},
    ),
    "bert_base_128": Recipe(_bert, {"input_ids": (1, 128)}, tokens=30522),
}  # fmt: skip
"""Every module; architectures with their published sizes."""


def export(name: str, folder: Path, seed: int = 0) -> Path:
    """Write a module's weights and ONNX file to ``folder/name``; return the file.

    Raises:
        InputError: there is no such module.
    """
    from safetensors.torch import save_file

    recipe = _recipe(name)
    torch.manual_seed(seed)
    module = recipe.make()
    _randomise(module)
    module.eval()
    own = folder / name
    own.mkdir(parents=True, exist_ok=True)
    examples = tuple(_example(shape, recipe.tokens) for shape in recipe.inputs.values())
    torch.onnx.export(
        module, examples, str(own / "model.onnx"), input_names=list(recipe.inputs),
        opset_version=OPSET, dynamo=True, external_data=False, verbose=False,
    )  # fmt: skip
    save_file(_weights(module), str(own / "module.safetensors"))
    (own / "module.json").write_text(json.dumps({"module": name}), encoding="utf-8")
    return own / "model.onnx"


def restore(folder: Path) -> tuple[Any, Sequence[str]]:
    """Return the module of a folder, for inference, and the names of its inputs in order."""
    from safetensors.torch import load_file

    name = json.loads((folder / "module.json").read_text(encoding="utf-8"))["module"]
    recipe = _recipe(name)
    module = recipe.make()
    module.load_state_dict(load_file(str(folder / "module.safetensors")), strict=False)
    return module.eval(), list(recipe.inputs)


def _recipe(name: str) -> Recipe:
    if name not in RECIPES:
        raise InputError(f"no module {name!r}; there are: {', '.join(RECIPES)}")
    return RECIPES[name]


def _example(shape: tuple[int, ...], tokens: int) -> Any:
    return torch.randint(tokens, shape) if tokens else torch.randn(shape)


def _weights(module: Any) -> dict[str, Any]:
    # Copies: some modules share one weight under two names, which the format refuses.
    return {key: value.detach().clone() for key, value in module.state_dict().items()}


def _randomise(module: Any) -> None:
    """Make no normalisation an identity: a fresh network hides what is done wrong to it."""
    with torch.no_grad():
        for part in module.modules():
            if hasattr(part, "running_var") and part.running_var is not None:
                part.running_mean.normal_(0.0, 0.2)
                part.running_var.uniform_(0.6, 1.4)
            if "Norm" in type(part).__name__ and getattr(part, "weight", None) is not None:
                part.weight.uniform_(0.6, 1.4)
                part.bias.normal_(0.0, 0.2)
