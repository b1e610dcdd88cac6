# SPDX-License-Identifier: MIT
"""MobileNetV2: inverted residual blocks with depthwise convolutions."""

from __future__ import annotations

from .. import builder as nn
from ..builder import Network, Tensor
from .sizes import scaled_channels

_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Expansion, channels, blocks and stride of the first block, per stage."""


def mobilenet_v2(
    classes: int = 1000, size: int = 224, batch: int = 1, channels: int = 3, width: int = 32
) -> Network:
    """Return MobileNetV2, as ``torchvision.models.mobilenet_v2``.

    Args:
        classes: number of scores.
        size: height and width of the images.
        batch: number of images.
        channels: of the images.
        width: channels of the stem, to which all others are in proportion.

    References:
        Sandler, Howard, Zhu, Zhmoginov, Chen, MobileNetV2: inverted residuals and linear
        bottlenecks, CVPR 2018.
    """
    x = nn.input("image", (batch, channels, size, size))
    with nn.scope("features"):
        with nn.scope(0):
            y = _activated(x, scaled_channels(32, width, 32), 3, stride=2)
        block = 1
        for expansion, outputs, depth, stride in _STAGES:
            for number in range(depth):
                with nn.scope(block), nn.scope("conv"):
                    count = scaled_channels(outputs, width, 32)
                    y = _inverted(y, count, expansion, stride if number == 0 else 1)
                block += 1
        with nn.scope(block):
            y = _activated(y, max(1280, scaled_channels(1280, width, 32)), 1)
    y = nn.dropout(nn.global_average_pool(y), 0.2)
    scores = nn.linear(y, classes, name="classifier.1")
    return nn.network("mobilenet_v2", [x], {"scores": scores})


def _inverted(x: Tensor, channels: int, expansion: int, stride: int) -> Tensor:
    """Return the block: expand, filter each channel, project; added to ``x`` if it can be."""
    inner, y, number = x.shape[1] * expansion, x, 0
    if expansion > 1:
        with nn.scope(0):
            y = _activated(y, inner, 1)
        number = 1
    with nn.scope(number):
        y = _activated(y, inner, 3, stride=stride, groups=inner)
    y = nn.conv(y, channels, 1, bias=False, name=str(number + 1))
    adds = stride == 1 and x.shape[1] == channels
    y = nn.batch_norm(y, gain=0.5 if adds else 1.0, name=str(number + 2))
    return x + y if adds else y


def _activated(
    x: Tensor, channels: int, kernel: int, *, stride: int = 1, groups: int = 1
) -> Tensor:
    y = nn.conv(
        x, channels, kernel, stride=stride, padding="same", groups=groups, bias=False, name="0"
    )
    return nn.clip(nn.batch_norm(y, name="1"), 0, 6)
