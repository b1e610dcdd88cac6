# SPDX-License-Identifier: MIT
"""Classifiers of sequences by recurrent layers."""

from __future__ import annotations

from collections.abc import Callable

from .. import builder as nn
from ..builder import Network, Tensor

Recurrent = Callable[..., tuple[Tensor, Tensor]]


def lstm_classifier(
    classes: int = 2,
    length: int = 128,
    batch: int = 1,
    width: int = 256,
    layers: int = 2,
    vocabulary: int = 10_000,
) -> Network:
    """Return a bidirectional LSTM over embedded tokens, with a linear layer on the last states.

    The recurrent layers are those of ``torch.nn.LSTM(width, width, layers,
    bidirectional=True)``.

    Args:
        classes: number of scores.
        length: tokens of a sequence.
        batch: number of sequences.
        width: features of a token, and size of a direction's state.
        layers: number of recurrent layers.
        vocabulary: number of tokens that there are.

    References:
        Graves and Schmidhuber, Framewise phoneme classification with bidirectional LSTM and
        other neural network architectures, Neural Networks 2005.
    """
    tokens = nn.input("tokens", (batch, length), "int64")
    y = nn.embedding(tokens, vocabulary, width, name="embedding")
    return _classifier("lstm", nn.lstm, tokens, y, layers, classes)


def gru_classifier(
    classes: int = 2,
    length: int = 128,
    batch: int = 1,
    width: int = 256,
    layers: int = 2,
    vocabulary: int = 10_000,
) -> Network:
    """Return the same with ``torch.nn.GRU``; see :func:`lstm_classifier`.

    References:
        Cho et al., Learning phrase representations using RNN encoder-decoder for statistical
        machine translation, EMNLP 2014.
    """
    tokens = nn.input("tokens", (batch, length), "int64")
    y = nn.embedding(tokens, vocabulary, width, name="embedding")
    return _classifier("gru", nn.gru, tokens, y, layers, classes)


def _classifier(
    kind: str, recurrent: Recurrent, tokens: Tensor, y: Tensor, layers: int, classes: int
) -> Network:
    width = y.shape[2]
    y = last = nn.transpose(y, (1, 0, 2))
    for number in range(layers):
        y, last = recurrent(y, width, bidirectional=True, name=f"{kind}.{number}")
    scores = nn.linear(nn.dropout(last, 0.5), classes, name="fc")
    return nn.network(f"{kind}_classifier", [tokens], {"scores": scores})
