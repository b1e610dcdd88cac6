# SPDX-License-Identifier: MIT
"""Samples of replacing values by a table."""

from __future__ import annotations

import numpy as np

from ranvier.ir import Array, ArrayAttribute, ops
from samples import Sample


def table(keys: Array, values: Array, default: Array) -> ops.LookUp:
    """Return the op that replaces ``keys`` by ``values``."""
    return ops.LookUp(*map(ArrayAttribute, (keys, values, default)))


WORDS = np.array(["liver", "spleen", "liver"], object)
NUMBERS = np.array([1, 2, 3], np.int64)

SAMPLES = [
    Sample(
        table(WORDS, NUMBERS, np.array(-1, np.int64)),
        (np.array([["spleen", ""], ["liver", "NaN"]], object),),
    ),
    Sample(
        table(np.array([0.5, np.nan, 2], np.float32), WORDS, np.array([""], object)),
        (np.array([np.nan, 2.0, 3.0], np.float32),),
        "nan",
    ),
    Sample(table(NUMBERS, NUMBERS[::-1].copy(), NUMBERS[:1]), (NUMBERS[:0],), "empty"),
]
