# SPDX-License-Identifier: MIT
"""U-Net for images and for volumes."""

from __future__ import annotations

from .. import builder as nn
from ..builder import Network, Tensor
from .sizes import check_multiple


def unet2d(
    classes: int = 2,
    size: int = 256,
    batch: int = 1,
    channels: int = 1,
    width: int = 64,
    depth: int = 4,
) -> Network:
    """Return the 2-D U-Net with padded convolutions and batch normalisation.

    Five levels of two 3 x 3 convolutions, 64 to 1024 channels, max pooling, transposed
    convolutions. The paper's convolutions lose a border and have no normalisation; as here it
    is in ``milesial/Pytorch-UNet``.

    Args:
        classes: channels of the result.
        size: height and width, a multiple of ``2 ** depth``.
        batch: number of images.
        channels: of the images.
        width: channels of the first level.
        depth: how often the size is halved.

    References:
        Ronneberger, Fischer, Brox, U-Net: convolutional networks for biomedical image
        segmentation, MICCAI 2015.
    """
    check_multiple("unet2d", size, 1 << depth)
    x = nn.input("image", (batch, channels, size, size))
    y, skipped = x, []
    for level in range(depth):
        with nn.scope(f"down{level}"):
            y = _twice(y, width << level, width << level, bias=False)
        skipped.append(y)
        y = nn.max_pool(y, 2)
    with nn.scope("bottom"):
        y = _twice(y, width << depth, width << depth, bias=False)
    for level in reversed(range(depth)):
        with nn.scope(f"up{level}"):
            y = nn.conv_transpose(y, width << level, 2, stride=2, name="up")
            y = nn.concat((skipped[level], y))
            y = _twice(y, width << level, width << level, bias=False)
    return nn.network("unet2d", [x], {"logits": nn.conv(y, classes, 1, name="head")})


def unet3d(
    classes: int = 3,
    size: int = 96,
    batch: int = 1,
    channels: int = 3,
    width: int = 32,
    depth: int = 3,
) -> Network:
    """Return the 3-D U-Net, with padded convolutions.

    Channels double before pooling, so that no level is a bottleneck: 32 and 64, 64 and 128,
    128 and 256, 256 and 512.

    Args:
        classes: channels of the result.
        size: depth, height and width, a multiple of ``2 ** depth``.
        batch: number of volumes.
        channels: of the volumes.
        width: channels of the first convolution.
        depth: how often the size is halved.

    References:
        Çiçek, Abdulkadir, Lienkamp, Brox, Ronneberger, 3D U-Net: learning dense volumetric
        segmentation from sparse annotation, MICCAI 2016.
    """
    check_multiple("unet3d", size, 1 << depth)
    x = nn.input("volume", (batch, channels, size, size, size))
    y, skipped = x, []
    for level in range(depth):
        with nn.scope(f"down{level}"):
            y = _twice(y, width << level, width << (level + 1))
        skipped.append(y)
        y = nn.max_pool(y, 2)
    with nn.scope("bottom"):
        y = _twice(y, width << depth, width << (depth + 1))
    for level in reversed(range(depth)):
        with nn.scope(f"up{level}"):
            y = nn.conv_transpose(y, y.shape[1], 2, stride=2, bias=False, name="up")
            y = nn.concat((skipped[level], y))
            y = _twice(y, width << (level + 1), width << (level + 1))
    return nn.network("unet3d", [x], {"logits": nn.conv(y, classes, 1, name="head")})


def _twice(x: Tensor, first: int, second: int, *, bias: bool = True) -> Tensor:
    for number, channels in enumerate((first, second)):
        x = nn.conv(x, channels, 3, padding="same", bias=bias, name=f"conv{number}")
        x = nn.relu(nn.batch_norm(x, name=f"norm{number}"))
    return x
