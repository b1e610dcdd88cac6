# SPDX-License-Identifier: MIT
"""Scaled dot product attention with several heads."""

from __future__ import annotations

from ...ir import ops
from .movement import reshape, transpose
from .tensor import Layer, Tensor


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    heads: int,
    *,
    mask: Tensor | None = None,
    name: str | None = None,
) -> Tensor:
    """Return ``softmax(q k^T / sqrt(size of a head)) v`` for every head, joined again.

    It has no parameters: queries, keys and values come from linear layers.

    Args:
        q: queries (B, L, heads * D).
        k: keys (B, S, heads * D).
        v: values (B, S, heads * E).
        heads: number of heads, which are parts of the last axis.
        mask: bool (B, 1, 1, S) or what broadcasts to (B, heads, L, S); false hides a key.
        name: of the layer.

    Raises:
        LayerError: sizes do not fit.

    References:
        Vaswani et al., Attention is all you need, NIPS 2017.
    """
    layer = Layer.begin("attention", name)
    parts = [_heads(layer, x, heads) for x in (q, k, v)]
    extra = [] if mask is None else [mask]
    y = layer.apply(ops.Attention(), *parts, *extra)
    batch, _, rows, size = y.shape
    return reshape(transpose(y, (0, 2, 1, 3)), (batch, rows, heads * size))


def _heads(layer: Layer, x: Tensor, heads: int) -> Tensor:
    """Return (B, L, heads * D) as (B, heads, L, D)."""
    if x.rank != 3 or heads < 1 or x.shape[2] % heads:
        raise layer.error(f"data must be (batch, length, a multiple of {heads}), found {x.type}")
    batch, rows, size = x.shape
    return transpose(reshape(x, (batch, rows, heads, size // heads)), (0, 2, 1, 3))
