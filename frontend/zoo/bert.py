# SPDX-License-Identifier: MIT
"""BERT: a transformer over words."""

from __future__ import annotations

from .. import builder as nn
from ..builder import Network, Normal, Tensor, Uniform
from .sizes import check_multiple

_HEAD, _POSITIONS, _TYPES = 64, 512, 2


def bert_base(
    length: int = 128,
    batch: int = 1,
    width: int = 768,
    layers: int = 12,
    vocabulary: int = 30522,
) -> Network:
    """Return BERT-base with its pooler, as ``transformers.BertModel`` of the default sizes.

    Args:
        length: tokens of a sequence, at most 512.
        batch: number of sequences.
        width: features of a token, a multiple of 64, the size of a head.
        layers: number of encoder layers.
        vocabulary: number of tokens that there are.

    References:
        Devlin, Chang, Lee, Toutanova, BERT: pre-training of deep bidirectional transformers for
        language understanding, NAACL 2019.
    """
    check_multiple("bert_base", width, _HEAD, "width")
    words, mask, types = (
        nn.input(name, (batch, length), "int64")
        for name in ("input_ids", "attention_mask", "token_type_ids")
    )
    seen = nn.reshape(nn.not_equal(mask, 0), (batch, 1, 1, length))
    with nn.scope("embeddings"):
        y = _embedded(words, types, width, vocabulary)
    for number in range(layers):
        with nn.scope("encoder"), nn.scope("layer"), nn.scope(number):
            y = _layer(y, seen)
    first = nn.reshape(nn.crop(y, 1, 0, 1), (batch, width))
    pooled = nn.tanh(nn.linear(first, width, name="pooler.dense"))
    outputs = {"last_hidden_state": y, "pooler_output": pooled}
    return nn.network("bert_base", [words, mask, types], outputs)


def _embedded(words: Tensor, types: Tensor, width: int, vocabulary: int) -> Tensor:
    y = nn.embedding(words, vocabulary, width, name="word_embeddings")
    y = y + nn.embedding(types, _TYPES, width, name="token_type_embeddings")
    table = nn.parameter(
        "position_embeddings.weight", (_POSITIONS, width), Uniform(-1, 1), Normal(0.0, 0.02)
    )
    y = y + nn.crop(table, 0, 0, words.shape[1])
    return nn.dropout(nn.layer_norm(y, epsilon=1e-12, name="LayerNorm"), 0.1)


def _layer(x: Tensor, seen: Tensor) -> Tensor:
    width = x.shape[2]
    with nn.scope("attention"):
        with nn.scope("self"):
            q, k, v = (nn.linear(x, width, name=name) for name in ("query", "key", "value"))
            y = nn.attention(q, k, v, width // _HEAD, mask=seen)
        x = _added(y, x)
    with nn.scope("intermediate"):
        y = nn.gelu(nn.linear(x, 4 * width, name="dense"))
    return _added(y, x)


def _added(y: Tensor, x: Tensor) -> Tensor:
    with nn.scope("output"):
        y = nn.dropout(nn.linear(y, x.shape[2], name="dense"), 0.1)
        return nn.layer_norm(y + x, epsilon=1e-12, name="LayerNorm")
