# SPDX-License-Identifier: MIT
"""Samples of random numbers, which are functions of their keys."""

from __future__ import annotations

import numpy as np

from ranvier.ir import ops
from samples import Sample

KEY = ops.key_of(2**40 + 7, stream=3, step=11)
X = np.random.default_rng(37).standard_normal((3, 4)).astype(np.float32)
UNIFORM = np.random.default_rng(41).uniform(size=(3, 4)).astype(np.float32)
RATIO = np.array(0.4, np.float32)

SAMPLES = [
    Sample(ops.RandomBits((3, 5)), (KEY,)),
    Sample(ops.RandomBits(()), (KEY,), "scalar"),
    Sample(ops.RandomBits((0, 2)), (KEY,), "empty"),
    Sample(ops.RandomUniform((7,), -1.0, 3.0), (KEY,)),
    Sample(ops.RandomUniform((7,), dtype="float64"), (KEY,), "float64"),
    Sample(ops.RandomUniform((7,), dtype="float16"), (KEY,), "half"),
    Sample(ops.RandomNormal((2, 3), 1.0, 2.0), (KEY,)),
    Sample(ops.RandomNormal((5,), dtype="float64"), (KEY,), "float64"),
    Sample(ops.Dropout(), (X, UNIFORM, RATIO), gradient=None),
    Sample(
        ops.Dropout(),
        (X.astype(np.float16), UNIFORM.astype(np.float64), RATIO),
        "half",
        gradient=None,
    ),
    Sample(ops.Multinomial(6), (X, KEY)),
    Sample(ops.Multinomial(2), (X[:, :1], KEY), "single"),
    Sample(ops.RandomKey(), ()),
    Sample(ops.RandomKey(2**63 + 1, 4), (), "seed"),
    Sample(ops.LegacyUniform(5, (2, 3)), ()),
]
