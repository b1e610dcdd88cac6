# SPDX-License-Identifier: MIT
"""UNETR: a transformer over the patches of a volume, with a convolutional decoder."""

from __future__ import annotations

from .. import builder as nn
from ..builder import Network, Normal, Tensor, Uniform
from .sizes import check_multiple
from .vit import HEAD, PATCH, tokens

_LAYERS = 12
_SKIPS = (4, 7, 10)
"""Layers whose results the decoder reads."""


def unetr3d(
    classes: int = 14,
    size: int = 96,
    batch: int = 1,
    channels: int = 1,
    width: int = 16,
    hidden: int = 768,
) -> Network:
    """Return UNETR, as ``monai.networks.nets.UNETR`` with its default options.

    Args:
        classes: channels of the result.
        size: depth, height and width, a multiple of 16.
        batch: number of volumes.
        channels: of the volumes.
        width: channels of the decoder's finest level.
        hidden: features of a token, a multiple of 64, the size of a head.

    References:
        Hatamizadeh, Tang, Nath, Yang, Myronenko, Landman, Roth, Xu, UNETR: transformers for 3D
        medical image segmentation, WACV 2022.
    """
    check_multiple("unetr3d", size, PATCH)
    check_multiple("unetr3d", hidden, HEAD, "hidden")
    x = nn.input("volume", (batch, channels, size, size, size))
    with nn.scope("vit"):
        states = _transformer(x, hidden)
    with nn.scope("encoder1"), nn.scope("layer"):
        skips = [_residual(x, width)]
    for number, state in enumerate(states[:-1]):
        with nn.scope(f"encoder{number + 2}"):
            skips.append(_enlarged(state, width << (number + 1), 2 - number))
    y = states[-1]
    for number in range(5, 1, -1):
        skip = skips.pop()
        with nn.scope(f"decoder{number}"):
            y = _doubled(y, skip.shape[1], "transp_conv.conv")
            with nn.scope("conv_block"):
                y = _residual(nn.concat((y, skip)), skip.shape[1])
    return nn.network("unetr3d", [x], {"logits": nn.conv(y, classes, 1, name="out.conv.conv")})


def _transformer(x: Tensor, hidden: int) -> list[Tensor]:
    """Return the results of some layers and the last one as coarse volumes."""
    with nn.scope("patch_embedding"):
        patches = nn.conv(x, hidden, PATCH, stride=PATCH, name="patch_embeddings")
        y = tokens(patches)
        y = y + nn.parameter(
            "position_embeddings", (1, *y.shape[1:]), Uniform(-1, 1), Normal(0.0, 0.02)
        )
    found = []
    for number in range(_LAYERS):
        with nn.scope("blocks"), nn.scope(number):
            y = _layer(y)
        if number + 1 in _SKIPS:
            found.append(y)
    found.append(nn.layer_norm(y, name="norm"))
    return [nn.reshape(nn.transpose(z, (0, 2, 1)), patches.shape) for z in found]


def _layer(x: Tensor) -> Tensor:
    width = x.shape[2]
    y = nn.layer_norm(x, name="norm1")
    with nn.scope("attn"):
        q, k, v = nn.split(nn.linear(y, 3 * width, bias=False, name="qkv"), 3)
        x = x + nn.linear(nn.attention(q, k, v, width // HEAD), width, name="out_proj")
    y = nn.layer_norm(x, name="norm2")
    with nn.scope("mlp"):
        y = nn.gelu(nn.linear(y, 4 * width, name="linear1"))
        return x + nn.linear(y, width, name="linear2")


def _enlarged(x: Tensor, channels: int, times: int) -> Tensor:
    """Return the state of a layer at a finer level: enlarged once, and ``times`` more."""
    y = _doubled(x, channels, "transp_conv_init.conv")
    for number in range(times):
        with nn.scope("blocks"), nn.scope(number):
            y = _doubled(y, channels, "0.conv")
            with nn.scope(1):
                y = _residual(y, channels)
    return y


def _doubled(x: Tensor, channels: int, name: str) -> Tensor:
    return nn.conv_transpose(x, channels, 2, stride=2, bias=False, name=name)


def _residual(x: Tensor, channels: int) -> Tensor:
    y = _normalised(x, channels, 3, 1)
    y = _normalised(nn.leaky_relu(y, 0.01), channels, 3, 2)
    shortcut = x if x.shape[1] == channels else _normalised(x, channels, 1, 3)
    return nn.leaky_relu(y + shortcut, 0.01)


def _normalised(x: Tensor, channels: int, kernel: int, number: int) -> Tensor:
    y = nn.conv(x, channels, kernel, padding="same", bias=False, name=f"conv{number}.conv")
    return nn.instance_norm(y, affine=False, name=f"norm{number}")
