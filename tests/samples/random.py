# SPDX-License-Identifier: MIT
"""Samples of random numbers, which are functions of their keys."""

from __future__ import annotations

import numpy as np

from ranvier.ir import ops
from samples import Sample

KEY = ops.key_of(2**40 + 7, stream=3, step=11)
KEYS = np.stack([ops.key_of(5, stream, 3) for stream in (0, 2**32 - 1, 17)])
X = np.random.default_rng(37).standard_normal((3, 4)).astype(np.float32)
UNIFORM = np.random.default_rng(41).uniform(size=(3, 4)).astype(np.float32)
RATIO = np.array(0.4, np.float32)

SAMPLES = [
    Sample(ops.RandomBits((3, 5)), (KEY,)),
    Sample(ops.RandomBits((2, 4)), (KEY,), "blocks"),
    Sample(ops.RandomBits(()), (KEY,), "scalar"),
    Sample(ops.RandomBits((0, 2)), (KEY,), "empty"),
    Sample(ops.RandomUniform((7,), -1.0, 3.0), (KEY,)),
    Sample(ops.RandomUniform((7,), dtype="float64"), (KEY,), "float64"),
    Sample(ops.RandomUniform((7,), dtype="float16"), (KEY,), "half"),
    Sample(ops.RandomNormal((2, 3), 1.0, 2.0), (KEY,)),
    Sample(ops.RandomNormal((5,), dtype="float64"), (KEY,), "float64"),
    Sample(ops.DropoutSite(0.3), (X,)),
    Sample(ops.Dropout(), (X, UNIFORM, RATIO), gradient=None),
    Sample(
        ops.Dropout(),
        (X.astype(np.float16), UNIFORM.astype(np.float64), RATIO),
        "half",
        gradient=None,
    ),
    Sample(ops.Multinomial(6), (X, KEY)),
    Sample(ops.Multinomial(2), (X[:, :1], KEY), "single"),
    Sample(ops.RowBits((3, 2)), (KEYS,)),
    Sample(ops.RowBits((2, 3, 4), 2), (KEYS,), "blocks"),
    Sample(ops.RowBits((4,)), (KEYS,), "block"),
    Sample(ops.RowBits((), 7), (KEYS,), "scalar"),
    Sample(ops.RowBits((5,), 2**32 - 1), (KEYS,), "last-stream"),
    Sample(ops.RowBits((0, 2)), (KEYS,), "empty"),
    Sample(ops.RowBits((2,)), (KEYS[:0],), "no-rows"),
    Sample(ops.RowUniform((4,), -1.0, 3.0, 2), (KEYS,)),
    Sample(ops.RowUniform((4,), stream=1, dtype="float64"), (KEYS,), "float64"),
    Sample(ops.RowUniform((), dtype="float16"), (KEYS,), "half"),
    Sample(ops.RowNormal((2, 3), 4), (KEYS,)),
    Sample(ops.RowNormal((5,)), (KEYS,), "odd"),
    Sample(ops.RowNormal((), dtype="float64"), (KEYS,), "float64"),
    Sample(ops.RowUniform((3, 3), stream=1), (KEYS,), "blocks"),
    Sample(ops.RowBernoulli((6,), 9), (KEYS, np.array(0.4, np.float32))),
    Sample(ops.RowBernoulli((2,)), (KEYS, np.array([[0.1], [0.5], [0.9]])), "each", gradient=None),
    Sample(ops.RandomKey(), ()),
    Sample(ops.RandomKey(2**63 + 1, 4), (), "seed"),
    Sample(ops.LegacyUniform(5, (2, 3)), ()),
]
