# SPDX-License-Identifier: MIT
"""ResNet: residual networks of 18 to 152 layers."""

from __future__ import annotations

from collections.abc import Sequence

from .. import builder as nn
from ..builder import Network, Tensor

BRANCH_GAIN = 0.3
"""Scale of the last normalisation of a branch: sums over 50 blocks grow, but not without end."""


def resnet18(
    classes: int = 1000, size: int = 224, batch: int = 1, channels: int = 3, width: int = 64
) -> Network:
    """Return ResNet-18, as ``torchvision.models.resnet18``.

    Args:
        classes: number of scores.
        size: height and width of the images.
        batch: number of images.
        channels: of the images.
        width: channels of the first stage; 64 in the paper.

    References:
        He, Zhang, Ren, Sun, Deep residual learning for image recognition, CVPR 2016.
    """
    x = nn.input("image", (batch, channels, size, size))
    return _classifier("resnet18", x, (2, 2, 2, 2), classes, width, bottleneck=False)


def resnet34(
    classes: int = 1000, size: int = 224, batch: int = 1, channels: int = 3, width: int = 64
) -> Network:
    """Return ResNet-34, as ``torchvision.models.resnet34``; see :func:`resnet18`."""
    x = nn.input("image", (batch, channels, size, size))
    return _classifier("resnet34", x, (3, 4, 6, 3), classes, width, bottleneck=False)


def resnet50(
    classes: int = 1000, size: int = 224, batch: int = 1, channels: int = 3, width: int = 64
) -> Network:
    """Return ResNet-50, as ``torchvision.models.resnet50``; see :func:`resnet18`.

    A block that halves the size does so in its 3 x 3 convolution ("v1.5"), not in the first.
    """
    x = nn.input("image", (batch, channels, size, size))
    return _classifier("resnet50", x, (3, 4, 6, 3), classes, width, bottleneck=True)


def resnet101(
    classes: int = 1000, size: int = 224, batch: int = 1, channels: int = 3, width: int = 64
) -> Network:
    """Return ResNet-101, as ``torchvision.models.resnet101``; see :func:`resnet50`."""
    x = nn.input("image", (batch, channels, size, size))
    return _classifier("resnet101", x, (3, 4, 23, 3), classes, width, bottleneck=True)


def resnet152(
    classes: int = 1000, size: int = 224, batch: int = 1, channels: int = 3, width: int = 64
) -> Network:
    """Return ResNet-152, as ``torchvision.models.resnet152``; see :func:`resnet50`."""
    x = nn.input("image", (batch, channels, size, size))
    return _classifier("resnet152", x, (3, 8, 36, 3), classes, width, bottleneck=True)


def resnet8(
    classes: int = 10, size: int = 32, batch: int = 1, channels: int = 3, width: int = 16
) -> Network:
    """Return a ResNet of 8 layers for small images: a 3 x 3 stem and one block per stage.

    The paper's networks for CIFAR-10 (section 4.2) with shortcuts that are projected; its
    smallest has 20 layers.

    Args:
        classes: number of scores.
        size: height and width of the images.
        batch: number of images.
        channels: of the images.
        width: channels of the first of the three stages; each doubles it.

    References:
        He, Zhang, Ren, Sun, Deep residual learning for image recognition, CVPR 2016.
    """
    return _small("resnet8", (batch, channels, size, size), 1, classes, width)


def resnet20(
    classes: int = 10, size: int = 32, batch: int = 1, channels: int = 3, width: int = 16
) -> Network:
    """Return the ResNet of 20 layers for small images; see :func:`resnet8`."""
    return _small("resnet20", (batch, channels, size, size), 3, classes, width)


def _small(name: str, shape: tuple[int, ...], depth: int, classes: int, width: int) -> Network:
    x = nn.input("image", shape)
    y = nn.conv(x, width, 3, padding=1, bias=False, name="conv1")
    y = nn.relu(nn.batch_norm(y, name="bn1"))
    for k in range(3):
        for number in range(depth):
            stride = 2 if k and not number else 1
            with nn.scope(f"layer{k + 1}"), nn.scope(number):
                y = _basic(y, width << k, stride, 1)
    scores = nn.linear(nn.global_average_pool(y), classes, name="fc")
    return nn.network(name, [x], {"scores": scores})


def _classifier(
    name: str, x: Tensor, depths: Sequence[int], classes: int, width: int, bottleneck: bool
) -> Network:
    features = stages(x, depths, width, bottleneck=bottleneck)
    scores = nn.linear(nn.global_average_pool(features[-1]), classes, name="fc")
    return nn.network(name, [x], {"scores": scores})


def stages(
    x: Tensor,
    depths: Sequence[int],
    width: int = 64,
    *,
    bottleneck: bool,
    strides: Sequence[int] = (1, 2, 2, 2),
    dilations: Sequence[int] = (1, 1, 1, 1),
) -> list[Tensor]:
    """Return the results of the four stages.

    Args:
        x: images.
        depths: blocks per stage.
        width: channels of the first stage.
        bottleneck: whether blocks have three convolutions, and four times the channels.
        strides: by how much each stage reduces the size; the stem reduces it by 4 before.
        dilations: distance between the elements of windows in each stage.
    """
    y = nn.conv(x, width, 7, stride=2, padding=3, bias=False, name="conv1")
    y = nn.relu(nn.batch_norm(y, name="bn1"))
    y = nn.max_pool(y, 3, stride=2, padding=1)
    features = []
    for k, depth in enumerate(depths):
        for number in range(depth):
            stride = strides[k] if number == 0 else 1
            # As in torchvision, the block that would have halved the size dilates less.
            dilation = dilations[max(k - 1, 0)] if number == 0 else dilations[k]
            with nn.scope(f"layer{k + 1}"), nn.scope(number):
                block = _bottleneck if bottleneck else _basic
                y = block(y, width << k, stride, dilation)
        features.append(y)
    return features


def _basic(x: Tensor, width: int, stride: int, dilation: int) -> Tensor:
    y = nn.conv(x, width, 3, stride=stride, padding="same", bias=False, name="conv1")
    y = nn.relu(nn.batch_norm(y, name="bn1"))
    y = nn.conv(y, width, 3, padding="same", dilation=dilation, bias=False, name="conv2")
    y = nn.batch_norm(y, gain=BRANCH_GAIN, name="bn2")
    return nn.relu(y + _shortcut(x, width, stride))


def _bottleneck(x: Tensor, width: int, stride: int, dilation: int) -> Tensor:
    y = nn.conv(x, width, 1, bias=False, name="conv1")
    y = nn.relu(nn.batch_norm(y, name="bn1"))
    y = nn.conv(
        y, width, 3, stride=stride, padding="same", dilation=dilation, bias=False, name="conv2"
    )
    y = nn.relu(nn.batch_norm(y, name="bn2"))
    y = nn.conv(y, 4 * width, 1, bias=False, name="conv3")
    y = nn.batch_norm(y, gain=BRANCH_GAIN, name="bn3")
    return nn.relu(y + _shortcut(x, 4 * width, stride))


def _shortcut(x: Tensor, channels: int, stride: int) -> Tensor:
    """Return ``x``, projected where the block changes its shape."""
    if stride == 1 and x.shape[1] == channels:
        return x
    with nn.scope("downsample"):
        y = nn.conv(x, channels, 1, stride=stride, bias=False, name="0")
        return nn.batch_norm(y, name="1")
