# SPDX-License-Identifier: MIT
"""The U-Net of MONAI, built with ranvier; its parameters are named as MONAI names them."""

from __future__ import annotations

from collections.abc import Sequence

from ranvier.frontend import builder as nn
from ranvier.frontend.builder import Network, Tensor

CHANNELS = (16, 32, 64, 128, 256)


def residual_unet(
    shape: Sequence[int], classes: int = 2, channels: Sequence[int] = CHANNELS
) -> Network:
    """Return ``monai.networks.nets.UNet`` with strides of 2 and two residual units per level.

    Convolutions have biases, instance norms have no parameters, and every PReLU has one slope.

    Args:
        shape: of the images: (N, C, spatial...), sizes multiples of ``2 ** (levels - 1)``.
        classes: channels of the result.
        channels: of the levels.

    References:
        Kerfoot et al., Left-ventricle quantification using residual U-Net, STACOM 2018.
    """
    x = nn.input("image", tuple(shape))
    with nn.scope("model"):
        y = _level(x, classes, channels, top=True)
    return nn.network("residual_unet", [x], {"logits": y})


def _level(x: Tensor, results: int, channels: Sequence[int], *, top: bool = False) -> Tensor:
    width, *below = channels
    with nn.scope(0):
        y = _unit(x, width, stride=2, count=2)
    with nn.scope(1), nn.scope("submodule"):
        deeper = _level(y, width, below) if len(below) > 1 else _unit(y, below[0], 1, 2)
    y = nn.concat((y, deeper))
    with nn.scope(2):
        with nn.scope(0):
            y = nn.conv_transpose(y, results, 3, stride=2, padding=1, output_padding=1, name="conv")
            y = _activated(y)
        with nn.scope(1):
            return _unit(y, results, stride=1, count=1, bare=top)


def _unit(x: Tensor, width: int, stride: int, count: int, *, bare: bool = False) -> Tensor:
    """Return a residual unit of ``count`` convolutions; a ``bare`` one is not normalised."""
    y = x
    with nn.scope("conv"):
        for number in range(count):
            with nn.scope(f"unit{number}"):
                step = 1 if number else stride
                y = nn.conv(y, width, 3, stride=step, padding=1, name="conv")
                y = y if bare else _activated(y)
    return y + _shortcut(x, width, stride)


def _shortcut(x: Tensor, width: int, stride: int) -> Tensor:
    if stride != 1:
        return nn.conv(x, width, 3, stride=stride, padding=1, name="residual")
    return x if x.shape[1] == width else nn.conv(x, width, 1, name="residual")


def _activated(x: Tensor) -> Tensor:
    with nn.scope("adn"):
        y = nn.instance_norm(x, affine=False, name="N")
        return nn.prelu(y, shared=True, name="A")
