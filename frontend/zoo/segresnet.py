# SPDX-License-Identifier: MIT
"""SegResNet: residual encoder and light decoder for volumes."""

from __future__ import annotations

from .. import builder as nn
from ..builder import Network, Tensor
from .sizes import check_multiple

_DOWN, _UP = (1, 2, 2, 4), (1, 1, 1)
_BRANCH_GAIN = 0.7


def segresnet3d(
    classes: int = 2, size: int = 96, batch: int = 1, channels: int = 1, width: int = 16
) -> Network:
    """Return the 3-D SegResNet, as ``monai.networks.nets.SegResNet`` with its default blocks.

    MONAI's default width is 8; its bundles for brain tumours have 16.

    Args:
        classes: channels of the result.
        size: depth, height and width, a multiple of 8.
        batch: number of volumes.
        channels: of the volumes.
        width: channels of the first level, a multiple of 8.

    References:
        Myronenko, 3D MRI brain tumor segmentation using autoencoder regularization, BrainLes
        2018.
    """
    check_multiple("segresnet3d", size, 8)
    check_multiple("segresnet3d", width, 8, "width")
    x = nn.input("volume", (batch, channels, size, size, size))
    y = nn.conv(x, width, 3, padding="same", bias=False, name="convInit.conv")
    skipped = []
    for level, depth in enumerate(_DOWN):
        with nn.scope("down_layers"), nn.scope(level):
            if level:
                y = nn.conv(y, width << level, 3, stride=2, padding=1, bias=False, name="0.conv")
            y = _blocks(y, depth, 1)
        skipped.append(y)
    for number, depth in enumerate(_UP):
        level = len(_UP) - 1 - number
        name = f"up_samples.{number}.0.conv"
        y = nn.upsample(nn.conv(y, width << level, 1, bias=False, name=name), 2)
        y = y + skipped[level]
        with nn.scope("up_layers"), nn.scope(number):
            y = _blocks(y, depth, 0)
    with nn.scope("conv_final"):
        y = nn.relu(nn.group_norm(y, 8, name="0"))
        logits = nn.conv(y, classes, 1, name="2.conv")
    return nn.network("segresnet3d", [x], {"logits": logits})


def _blocks(x: Tensor, count: int, first: int) -> Tensor:
    for number in range(first, first + count):
        with nn.scope(number):
            y = nn.relu(nn.group_norm(x, 8, name="norm1"))
            y = nn.conv(y, x.shape[1], 3, padding="same", bias=False, name="conv1.conv")
            y = nn.relu(nn.group_norm(y, 8, gain=_BRANCH_GAIN, name="norm2"))
            x = x + nn.conv(y, x.shape[1], 3, padding="same", bias=False, name="conv2.conv")
    return x
