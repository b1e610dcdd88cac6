# SPDX-License-Identifier: MIT
"""UNet++: a U-Net whose skip connections are convolved on their way, level by level."""

from __future__ import annotations

from .. import builder as nn
from ..builder import Network, Tensor
from .sizes import check_multiple


def unet_plus_plus(
    classes: int = 1,
    size: int = 256,
    batch: int = 1,
    channels: int = 3,
    width: int = 32,
    depth: int = 4,
) -> Network:
    """Return UNet++ without deep supervision, as ``4uiiurz1/pytorch-nested-unet``.

    Node ``(i, j)`` reads all nodes ``(i, k < j)`` of its level and the enlarged node
    ``(i + 1, j - 1)`` below.

    Args:
        classes: channels of the result.
        size: height and width, a multiple of ``2 ** depth``.
        batch: number of images.
        channels: of the images.
        width: channels of the first level.
        depth: how often the size is halved.

    References:
        Zhou, Siddiquee, Tajbakhsh, Liang, UNet++: a nested U-Net architecture for medical
        image segmentation, DLMIA 2018.
    """
    check_multiple("unet_plus_plus", size, 1 << depth)
    x = nn.input("image", (batch, channels, size, size))
    rows: list[list[Tensor]] = []
    y = x
    for level in range(depth + 1):
        y = _node(y if level == 0 else nn.max_pool(y, 2), width, level, 0)
        rows.append([y])
        for column in range(1, level + 1):
            above = level - column
            below = nn.upsample(rows[above + 1][column - 1], 2, align_corners=True)
            joined = nn.concat((*rows[above], below))
            rows[above].append(_node(joined, width, above, column))
    logits = nn.conv(rows[0][depth], classes, 1, name="final")
    return nn.network("unet_plus_plus", [x], {"logits": logits})


def _node(x: Tensor, width: int, level: int, column: int) -> Tensor:
    with nn.scope(f"conv{level}_{column}"):
        for number in (1, 2):
            x = nn.conv(x, width << level, 3, padding="same", name=f"conv{number}")
            x = nn.relu(nn.batch_norm(x, name=f"bn{number}"))
    return x
