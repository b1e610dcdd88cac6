# SPDX-License-Identifier: MIT
"""EfficientNet-B0: inverted residual blocks with squeeze and excitation."""

from __future__ import annotations

from .. import builder as nn
from ..builder import Network, Tensor
from .sizes import scaled_channels

_STAGES = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)
"""Expansion, kernel, stride of the first block, channels and blocks, per stage."""

_SWISH_GAIN, _EXCITED_GAIN = 1.1, 2.6
"""Scales of normalisations before swish and behind a gate, which make up for what both take."""


def efficientnet_b0(
    classes: int = 1000, size: int = 224, batch: int = 1, channels: int = 3, width: int = 32
) -> Network:
    """Return EfficientNet-B0, as ``torchvision.models.efficientnet_b0``.

    Args:
        classes: number of scores.
        size: height and width of the images.
        batch: number of images.
        channels: of the images.
        width: channels of the stem, to which all others are in proportion.

    References:
        Tan and Le, EfficientNet: rethinking model scaling for convolutional neural networks,
        ICML 2019. Hu, Shen, Sun, Squeeze-and-excitation networks, CVPR 2018.
    """
    x = nn.input("image", (batch, channels, size, size))
    with nn.scope("features"):
        with nn.scope(0):
            y = _activated(x, scaled_channels(32, width, 32), 3, stride=2)
        for stage, (expansion, kernel, stride, outputs, depth) in enumerate(_STAGES, 1):
            count = scaled_channels(outputs, width, 32)
            for number in range(depth):
                with nn.scope(stage), nn.scope(number), nn.scope("block"):
                    y = _block(y, count, expansion, kernel, stride if number == 0 else 1)
        with nn.scope(len(_STAGES) + 1):
            y = _activated(y, 4 * y.shape[1], 1)
    y = nn.dropout(nn.global_average_pool(y), 0.2)
    scores = nn.linear(y, classes, name="classifier.1")
    return nn.network("efficientnet_b0", [x], {"scores": scores})


def _block(x: Tensor, channels: int, expansion: int, kernel: int, stride: int) -> Tensor:
    inner, y, number = x.shape[1] * expansion, x, 0
    if expansion > 1:
        with nn.scope(0):
            y = _activated(y, inner, 1)
        number = 1
    with nn.scope(number):
        y = _activated(y, inner, kernel, stride=stride, groups=inner)
    with nn.scope(number + 1):
        y = _excited(y, max(1, x.shape[1] // 4))
    adds = stride == 1 and x.shape[1] == channels
    with nn.scope(number + 2):
        y = nn.conv(y, channels, 1, bias=False, name="0")
        y = nn.batch_norm(y, gain=_EXCITED_GAIN * (0.5 if adds else 1.0), name="1")
    return x + y if adds else y


def _excited(x: Tensor, squeezed: int) -> Tensor:
    """Return ``x`` with every channel multiplied by a gate that depends on all their means."""
    y = nn.global_average_pool(x, keep=True)
    y = nn.swish(nn.conv(y, squeezed, 1, name="fc1"))
    return x * nn.sigmoid(nn.conv(y, x.shape[1], 1, name="fc2"))


def _activated(
    x: Tensor, channels: int, kernel: int, *, stride: int = 1, groups: int = 1
) -> Tensor:
    y = nn.conv(
        x, channels, kernel, stride=stride, padding="same", groups=groups, bias=False, name="0"
    )
    return nn.swish(nn.batch_norm(y, gain=_SWISH_GAIN, name="1"))
