# SPDX-License-Identifier: MIT
"""DenseNet: every layer reads the results of all layers before it."""

from __future__ import annotations

from .. import builder as nn
from ..builder import Network, Tensor


def densenet121(
    classes: int = 1000, size: int = 224, batch: int = 1, channels: int = 3, width: int = 64
) -> Network:
    """Return DenseNet-121, as ``torchvision.models.densenet121``.

    Args:
        classes: number of scores.
        size: height and width of the images.
        batch: number of images.
        channels: of the images.
        width: channels of the stem; each layer adds half as many.

    References:
        Huang, Liu, van der Maaten, Weinberger, Densely connected convolutional networks,
        CVPR 2017.
    """
    x = nn.input("image", (batch, channels, size, size))
    with nn.scope("features"):
        y = nn.conv(x, width, 7, stride=2, padding=3, bias=False, name="conv0")
        y = nn.max_pool(nn.relu(nn.batch_norm(y, name="norm0")), 3, stride=2, padding=1)
        for block, depth in enumerate((6, 12, 24, 16), 1):
            y = _block(y, block, depth, growth=width // 2)
            if block < 4:
                with nn.scope(f"transition{block}"):
                    y = nn.relu(nn.batch_norm(y, name="norm"))
                    y = nn.conv(y, y.shape[1] // 2, 1, bias=False, name="conv")
                    y = nn.average_pool(y, 2)
        y = nn.relu(nn.batch_norm(y, name="norm5"))
    scores = nn.linear(nn.global_average_pool(y), classes, name="classifier")
    return nn.network("densenet121", [x], {"scores": scores})


def _block(x: Tensor, block: int, depth: int, growth: int) -> Tensor:
    for number in range(1, depth + 1):
        with nn.scope(f"denseblock{block}"), nn.scope(f"denselayer{number}"):
            y = nn.relu(nn.batch_norm(x, name="norm1"))
            y = nn.conv(y, 4 * growth, 1, bias=False, name="conv1")
            y = nn.relu(nn.batch_norm(y, name="norm2"))
            y = nn.conv(y, growth, 3, padding="same", bias=False, name="conv2")
        x = nn.concat((x, y))
    return x
