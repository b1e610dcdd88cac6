# SPDX-License-Identifier: MIT
"""ViT: images as sequences of patches."""

from __future__ import annotations

from .. import builder as nn
from ..builder import Network, Normal, Tensor, Uniform
from .sizes import check_multiple

PATCH, HEAD = 16, 64


def vit_b16(
    classes: int = 1000,
    size: int = 224,
    batch: int = 1,
    channels: int = 3,
    width: int = 768,
    layers: int = 12,
) -> Network:
    """Return ViT-B/16, as ``torchvision.models.vit_b_16``.

    Args:
        classes: number of scores.
        size: height and width of the images, a multiple of 16.
        batch: number of images.
        channels: of the images.
        width: features of a token, a multiple of 64, the size of a head.
        layers: number of encoder layers.

    References:
        Dosovitskiy et al., An image is worth 16x16 words: transformers for image recognition at
        scale, ICLR 2021.
    """
    check_multiple("vit_b16", size, PATCH)
    check_multiple("vit_b16", width, HEAD, "width")
    x = nn.input("image", (batch, channels, size, size))
    y = tokens(nn.conv(x, width, PATCH, stride=PATCH, name="conv_proj"))
    first = nn.parameter("class_token", (1, 1, width), Uniform(-1, 1), Normal(0.0, 0.02))
    y = nn.concat((nn.broadcast(first, (batch, 1, width)), y))
    with nn.scope("encoder"):
        y = y + nn.parameter("pos_embedding", (1, *y.shape[1:]), Uniform(-1, 1), Normal(0.0, 0.02))
        for number in range(layers):
            with nn.scope("layers"), nn.scope(f"encoder_layer_{number}"):
                y = _layer(y)
        y = nn.layer_norm(y, epsilon=1e-6, name="ln")
    first = nn.reshape(nn.crop(y, 1, 0, 1), (batch, width))
    scores = nn.linear(first, classes, name="heads.head")
    return nn.network("vit_b16", [x], {"scores": scores})


def tokens(x: Tensor) -> Tensor:
    """Return features (N, C, spatial...) as a sequence (N, positions, C)."""
    return nn.transpose(nn.flatten(x, 2), (0, 2, 1))


def _layer(x: Tensor) -> Tensor:
    width = x.shape[2]
    y = nn.layer_norm(x, epsilon=1e-6, name="ln_1")
    with nn.scope("self_attention"):
        q, k, v = nn.split(nn.linear(y, 3 * width, name="in_proj"), 3)
        y = nn.linear(nn.attention(q, k, v, width // HEAD), width, name="out_proj")
    x = x + y
    y = nn.layer_norm(x, epsilon=1e-6, name="ln_2")
    with nn.scope("mlp"):
        y = nn.linear(nn.gelu(nn.linear(y, 4 * width, name="0")), width, name="3")
    return x + y
