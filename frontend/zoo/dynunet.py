# SPDX-License-Identifier: MIT
"""DynUNet: the network that nnU-Net configures for volumes."""

from __future__ import annotations

from .. import builder as nn
from ..builder import Network, Tensor
from .sizes import check_multiple

_WIDEST = 10
"""No level has more channels than this many times the first: 320 in nnU-Net."""


def dynunet3d(
    classes: int = 2,
    size: int = 96,
    batch: int = 1,
    channels: int = 1,
    width: int = 32,
    depth: int = 5,
) -> Network:
    """Return nnU-Net's 3-D U-Net, as ``monai.networks.nets.DynUNet``.

    Strided convolutions, instance normalisation, leaky rectifiers, transposed convolutions;
    kernels of 3 and strides of 2 throughout, as planned for volumes of even spacing.

    Args:
        classes: channels of the result.
        size: depth, height and width, a multiple of ``2 ** depth``.
        batch: number of volumes.
        channels: of the volumes.
        width: channels of the first level.
        depth: how often the size is halved.

    References:
        Isensee, Jaeger, Kohl, Petersen, Maier-Hein, nnU-Net: a self-configuring method for
        deep learning-based biomedical image segmentation, Nature Methods 2021.
    """
    check_multiple("dynunet3d", size, 1 << depth)
    x = nn.input("volume", (batch, channels, size, size, size))
    counts = [min(width << level, _WIDEST * width) for level in range(depth + 1)]
    names = ["input_block", *(f"downsamples.{k}" for k in range(depth - 1)), "bottleneck"]
    y, skipped = x, []
    for level, name in enumerate(names):
        with nn.scope(name):
            y = _twice(y, counts[level], stride=2 if level else 1)
        skipped.append(y)
    for number in range(depth):
        level = depth - 1 - number
        with nn.scope("upsamples"), nn.scope(number):
            y = nn.conv_transpose(
                y, counts[level], 2, stride=2, bias=False, name="transp_conv.conv"
            )
            y = nn.concat((y, skipped[level]))
            with nn.scope("conv_block"):
                y = _twice(y, counts[level])
    logits = nn.conv(y, classes, 1, name="output_block.conv.conv")
    return nn.network("dynunet3d", [x], {"logits": logits})


def _twice(x: Tensor, channels: int, stride: int = 1) -> Tensor:
    for number in (1, 2):
        x = nn.conv(x, channels, 3, stride=stride, padding=1, bias=False, name=f"conv{number}.conv")
        x = nn.leaky_relu(nn.instance_norm(x, name=f"norm{number}"), 0.01)
        stride = 1
    return x
