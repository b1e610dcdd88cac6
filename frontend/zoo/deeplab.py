# SPDX-License-Identifier: MIT
"""DeepLabV3+: dilated convolutions at several rates, and a decoder that adds detail."""

from __future__ import annotations

from .. import builder as nn
from ..builder import Network, Tensor
from .resnet import stages
from .sizes import check_multiple


def deeplabv3_plus(
    classes: int = 21, size: int = 512, batch: int = 1, channels: int = 3, width: int = 64
) -> Network:
    """Return DeepLabV3+ on ResNet-50 with an output stride of 16, as ``VainF/DeepLabV3Plus``.

    Args:
        classes: channels of the result.
        size: height and width of the images, a multiple of 16.
        batch: number of images.
        channels: of the images.
        width: channels of the backbone's first stage; the head has four times as many.

    References:
        Chen, Zhu, Papandreou, Schroff, Adam, Encoder-decoder with atrous separable convolution
        for semantic image segmentation, ECCV 2018.
    """
    check_multiple("deeplabv3_plus", size, 16)
    x = nn.input("image", (batch, channels, size, size))
    with nn.scope("backbone"):
        features = stages(
            x, (3, 4, 6, 3), width, bottleneck=True, strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2)
        )
    with nn.scope("classifier"):
        with nn.scope("aspp"):
            y = _pyramid(features[-1], 4 * width)
        detail = _activated(features[0], 3 * width // 4, 1, name="project")
        y = nn.concat((detail, nn.resize(y, detail.shape[2:])))
        y = _activated(y, 4 * width, 3, name="classifier.0")
        y = nn.conv(y, classes, 1, name="classifier.3")
    return nn.network("deeplabv3_plus", [x], {"logits": nn.resize(y, size)})


def _pyramid(x: Tensor, channels: int) -> Tensor:
    """Return what windows of several sizes, and all positions together, see."""
    branches = [_activated(x, channels, 1, name="convs.0")]
    for number, rate in enumerate((6, 12, 18), 1):
        branches.append(_activated(x, channels, 3, dilation=rate, name=f"convs.{number}"))
    whole = nn.global_average_pool(x, keep=True)
    whole = _activated(whole, channels, 1, name="convs.4")
    branches.append(nn.broadcast(whole, (*whole.shape[:2], *x.shape[2:])))
    return nn.dropout(_activated(nn.concat(branches), channels, 1, name="project"), 0.1)


def _activated(x: Tensor, channels: int, kernel: int, *, dilation: int = 1, name: str) -> Tensor:
    with nn.scope(name):
        y = nn.conv(x, channels, kernel, padding="same", dilation=dilation, bias=False, name="conv")
        return nn.relu(nn.batch_norm(y, name="norm"))
