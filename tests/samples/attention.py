# SPDX-License-Identifier: MIT
"""Samples of attention."""

from __future__ import annotations

import numpy as np

from ranvier.ir import Array, ops
from samples import Sample

_RNG = np.random.default_rng(17)


def normal(*shape: int) -> Array:
    """Return float32 numbers around 0."""
    return _RNG.standard_normal(shape).astype(np.float32)


Q, K, V = normal(2, 4, 3, 6), normal(2, 4, 5, 6), normal(2, 4, 5, 2)
GROUPED = (normal(2, 2, 5, 6), normal(2, 2, 5, 2))
HALF = tuple(x.astype(np.float16) for x in (Q, K, V))
BIAS = normal(3, 5)
SEEN = np.array([[1, 1, 0, 1, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]], np.bool_)
ANGLES = normal(2, 3, 2)

SAMPLES = [
    Sample(ops.Attention(), (Q, K, V)),
    Sample(ops.Attention(scale=0.2, softcap=1.5), (Q, K, V), "softcap"),
    Sample(ops.Attention(causal=True, offset=1), (Q, K, V), "causal"),
    Sample(ops.Attention(causal=True, offset=-1), (Q, K, V), "causal-empty"),
    Sample(ops.Attention(), (Q, *GROUPED, BIAS), "grouped"),
    Sample(ops.Attention(causal=True, exposed="weights"), (Q, *GROUPED, SEEN), "hidden"),
    Sample(ops.Attention(exposed="raw"), (Q, K, V), "raw"),
    Sample(ops.Attention(exposed="biased"), (Q, K, V, BIAS), "biased"),
    Sample(ops.Attention(), (*HALF, SEEN), "half"),
    Sample(ops.RotaryEmbedding(), (normal(2, 2, 3, 4), np.cos(ANGLES), np.sin(ANGLES))),
    Sample(ops.RotaryEmbedding(True), (Q[:, :2], np.cos(ANGLES), np.sin(ANGLES)), "interleaved"),
    Sample(ops.RotaryEmbedding(), (Q, np.cos(ANGLES[0]), np.sin(ANGLES[0])), "partial"),
]
