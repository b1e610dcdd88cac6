# SPDX-License-Identifier: MIT
"""VGG: plain networks of small convolutions."""

from __future__ import annotations

from collections.abc import Sequence

from .. import builder as nn
from ..builder import Network, Tensor
from .sizes import check_multiple

_VGG16 = (2, 2, 3, 3, 3)
_VGG19 = (2, 2, 4, 4, 4)


def vgg16(
    classes: int = 1000, size: int = 224, batch: int = 1, channels: int = 3, width: int = 64
) -> Network:
    """Return VGG-16, as ``torchvision.models.vgg16``.

    The first linear layer reads the last feature map as it is: at other sizes than 224 it has
    another number of weights, where torchvision pools to 7 x 7.

    Args:
        classes: number of scores.
        size: height and width of the images, a multiple of 32.
        batch: number of images.
        channels: of the images.
        width: channels of the first stage; the linear layers have 64 times as many features.

    References:
        Simonyan and Zisserman, Very deep convolutional networks for large-scale image
        recognition, ICLR 2015.
    """
    x = nn.input("image", (batch, channels, size, size))
    return _classifier("vgg16", x, _VGG16, classes, width, normalised=False)


def vgg19(
    classes: int = 1000, size: int = 224, batch: int = 1, channels: int = 3, width: int = 64
) -> Network:
    """Return VGG-19, as ``torchvision.models.vgg19``; see :func:`vgg16`."""
    x = nn.input("image", (batch, channels, size, size))
    return _classifier("vgg19", x, _VGG19, classes, width, normalised=False)


def vgg16_bn(
    classes: int = 1000, size: int = 224, batch: int = 1, channels: int = 3, width: int = 64
) -> Network:
    """Return VGG-16 with batch normalisation, as ``torchvision.models.vgg16_bn``."""
    x = nn.input("image", (batch, channels, size, size))
    return _classifier("vgg16_bn", x, _VGG16, classes, width, normalised=True)


def vgg19_bn(
    classes: int = 1000, size: int = 224, batch: int = 1, channels: int = 3, width: int = 64
) -> Network:
    """Return VGG-19 with batch normalisation, as ``torchvision.models.vgg19_bn``."""
    x = nn.input("image", (batch, channels, size, size))
    return _classifier("vgg19_bn", x, _VGG19, classes, width, normalised=True)


def _classifier(
    name: str, x: Tensor, depths: Sequence[int], classes: int, width: int, normalised: bool
) -> Network:
    check_multiple(name, x.shape[-1], 32)
    with nn.scope("features"):
        y = _features(x, depths, width, normalised)
    y = nn.flatten(y)
    with nn.scope("classifier"):
        for number in (0, 3):
            y = nn.dropout(nn.relu(nn.linear(y, 64 * width, name=str(number))), 0.5)
        scores = nn.linear(y, classes, name="6")
    return nn.network(name, [x], {"scores": scores})


def _features(x: Tensor, depths: Sequence[int], width: int, normalised: bool) -> Tensor:
    """Return the last feature map; layers are counted as in torchvision."""
    number = 0
    for stage, depth in enumerate(depths):
        for _ in range(depth):
            x = nn.conv(x, width << min(stage, 3), 3, padding="same", name=str(number))
            if normalised:
                x = nn.batch_norm(x, name=str(number + 1))
            x = nn.relu(x)
            number += 3 if normalised else 2
        x = nn.max_pool(x, 2)
        number += 1
    return x
