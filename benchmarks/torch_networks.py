# SPDX-License-Identifier: MIT
"""The networks that learn, as torch modules, and ranvier's weights in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from ranvier.errors import InputError

from .engines import Unavailable


class Block(nn.Module):  # type: ignore[misc]
    """A block of two convolutions (He et al., CVPR 2016), its parts named as torchvision does."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = (
            nn.Sequential()
            if stride == 1 and channels == width
            else nn.Sequential(
                nn.Conv2d(channels, width, 1, stride, bias=False), nn.BatchNorm2d(width)
            )
        )

    def forward(self, x: Any) -> Any:
        """Return the block of an image."""
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(y + self.downsample(x))


class ResNet(nn.Module):  # type: ignore[misc]
    """A residual network, its parts named as torchvision does.

    Args:
        stem: convolution of the images, with what is done before it is normalised.
        pool: what follows the stem.
        width: channels of the first stage.
        depths: blocks per stage.
        classes: number of scores.
    """

    def __init__(
        self, stem: Any, pool: Any, width: int, depths: Sequence[int], classes: int
    ) -> None:
        super().__init__()
        self.conv1, self.bn1 = stem, nn.BatchNorm2d(width)
        self.relu, self.pool = nn.ReLU(inplace=True), pool
        self.count, channels = len(depths), width
        for k, depth in enumerate(depths):
            blocks = []
            for number in range(depth):
                blocks.append(Block(channels, width << k, 2 if k and not number else 1))
                channels = width << k
            self.add_module(f"layer{k + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(channels, classes)

    def forward(self, x: Any) -> Any:
        """Return the scores of images."""
        y = self.pool(self.relu(self.bn1(self.conv1(x))))
        for k in range(self.count):
            y = getattr(self, f"layer{k + 1}")(y)
        return self.fc(y.mean((2, 3)))


def resnet18() -> Any:
    """Return ResNet-18 for ten classes."""
    stem = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
    return ResNet(stem, nn.MaxPool2d(3, 2, 1), 64, (2, 2, 2, 2), 10)


def resnet8() -> Any:
    """Return the ResNet of eight layers for small grey images of two classes."""
    stem = nn.Conv2d(1, 16, 3, 1, 1, bias=False)
    return ResNet(stem, nn.Identity(), 16, (1, 1, 1), 2)


class UNet(nn.Module):  # type: ignore[misc]
    """The 2-D U-Net of ranvier's zoo, its parts named alike."""

    def __init__(self, channels: int, classes: int, width: int, depth: int) -> None:
        super().__init__()
        self.depth = depth
        self.pool = nn.MaxPool2d(2)
        for level in range(depth):
            self.add_module(f"down{level}", _twice(channels, width << level))
            channels = width << level
        self.bottom = _twice(channels, width << depth)
        for level in range(depth):
            block = _twice(width << (level + 1), width << level)
            block.up = nn.ConvTranspose2d(width << (level + 1), width << level, 2, 2)
            self.add_module(f"up{level}", block)
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, x: Any) -> Any:
        """Return the scores of every pixel."""
        skipped = []
        for level in range(self.depth):
            x = _apply(getattr(self, f"down{level}"), x)
            skipped.append(x)
            x = self.pool(x)
        x = _apply(self.bottom, x)
        for level in reversed(range(self.depth)):
            block = getattr(self, f"up{level}")
            x = _apply(block, torch.cat((skipped[level], block.up(x)), 1))
        return self.head(x)


def _twice(channels: int, width: int) -> Any:
    block = nn.Module()
    for number, inputs in enumerate((channels, width)):
        block.add_module(f"conv{number}", nn.Conv2d(inputs, width, 3, 1, 1, bias=False))
        block.add_module(f"norm{number}", nn.BatchNorm2d(width))
    return block


def _apply(block: Any, x: Any) -> Any:
    x = torch.relu_(block.norm0(block.conv0(x)))
    return torch.relu_(block.norm1(block.conv1(x)))


def _monai(rank: int) -> Callable[[], Any]:
    def make() -> Any:
        try:
            from monai.networks import nets
        except ImportError:
            raise Unavailable(
                "the U-Net is MONAI's, which is not installed; pip install 'ranvier[bench]'"
            ) from None
        return nets.UNet(
            spatial_dims=rank, in_channels=1, out_channels=2, channels=(16, 32, 64, 128, 256),
            strides=(2, 2, 2, 2), num_res_units=2,
        )  # fmt: skip

    return make


MODULES: Mapping[str, Callable[[], Any]] = {
    "resnet8": resnet8,
    "resnet18": resnet18,
    "unet2d": _monai(2),
    "unet3d": _monai(3),
}
"""The module of every training case."""

_NAMES = {"running_mean": "mean", "running_var": "variance"}


def load_weights(module: Any, weights: Mapping[str, Any]) -> None:
    """Let a module hold ranvier's weights: other names of statistics, linear maps transposed.

    Raises:
        InputError: the module has a parameter that the weights lack, or the reverse.
    """
    norms = {n for n, part in module.named_modules() if isinstance(part, nn.BatchNorm2d)}
    linear = {n for n, part in module.named_modules() if isinstance(part, nn.Linear)}
    left = dict(weights)
    with torch.no_grad():
        for key, tensor in module.state_dict().items():
            owner, _, last = key.rpartition(".")
            if last == "num_batches_tracked":
                continue
            name = "scale" if owner in norms and last == "weight" else _NAMES.get(last, last)
            array = left.pop(f"{owner}.{name}", None)
            if array is None or array.size != tensor.numel():
                raise InputError(f"weights do not fit the torch module's '{key}'")
            array = array.T if owner in linear and last == "weight" else array
            tensor.copy_(torch.from_numpy(array.copy()).reshape(tensor.shape))
    if left:
        raise InputError(f"the torch module has no '{next(iter(left))}'")
