# SPDX-License-Identifier: MIT
"""Samples of reads and writes at positions that are data."""

from __future__ import annotations

import ml_dtypes
import numpy as np

from arrays import distinct, integers, normal
from ranvier.ir import ops
from samples import Sample

X = normal(4, 5)
CUBE = distinct(2, 3, 4)
TABLE = np.array([[0, -1], [2, 0]])
PAIRS = np.array([[0, -1], [1, 0], [0, -1], [-1, 2]])
REDUCTIONS = ["none", "add", "mul", "max", "min"]
ROWS = integers(6, 4, low=-4, high=4)
UPDATES = distinct(6, 4, seed=1) + np.float32(0.1)

SAMPLES = [
    Sample(ops.Gather(0), (X, TABLE)),
    Sample(ops.Gather(1), (X, TABLE.astype(np.int32)), "int32"),
    Sample(ops.Gather(1), (X, TABLE.astype(np.int8)), "int8"),
    Sample(ops.Gather(1), (X, np.array(2)), "scalar"),
    Sample(ops.Gather(0), (X, np.zeros((0, 2), np.int64)), "empty"),
    Sample(ops.Gather(1), (CUBE.astype(ml_dtypes.bfloat16), TABLE), "bfloat16"),
    Sample(ops.Gather(0), (np.array([True, False]), TABLE % 2), "bool"),
    Sample(ops.GatherElements(1), (X, TABLE)),
    Sample(ops.GatherElements(0), (X, integers(7, 5, low=-4, high=4)), "longer"),
    Sample(ops.GatherND(), (CUBE, PAIRS)),
    Sample(ops.GatherND(), (CUBE, np.array([1, 2, 3])), "element"),
    Sample(ops.GatherND(1), (CUBE, TABLE[..., None] % 3), "batch"),
    Sample(ops.GatherND(2), (CUBE, integers(2, 3, 2, 1, low=-4, high=4)), "batch2"),
    *(Sample(ops.ScatterElements(0, r), (X[:, :4], ROWS, UPDATES), r) for r in REDUCTIONS),
    *(
        Sample(ops.ScatterElements(1, r), (X, TABLE, X[2:, 3:] + 1), f"{r}-part")
        for r in REDUCTIONS
    ),
    *(Sample(ops.ScatterND(r), (CUBE, PAIRS, UPDATES[:4]), r) for r in REDUCTIONS),
    Sample(ops.ScatterElements(1), (X, TABLE[:0], X[:0, :2]), "empty"),
    Sample(ops.ScatterElements(0, "add"), (np.arange(3), TABLE[0], TABLE[1]), "int64"),
    Sample(
        ops.ScatterND("add"),
        (CUBE.astype(np.float16), PAIRS, UPDATES[:4].astype(np.float16)),
        "float16",
    ),
    Sample(
        ops.ScatterND("max"),
        (np.array([1, 2], np.float32), PAIRS[:2, :1], np.array([np.nan, 3], np.float32)),
        "nan",
        gradient=None,
    ),
    Sample(ops.InRange(-1, 3), (TABLE,)),
    Sample(ops.InRange(0, 3), (TABLE,), "outside"),
    Sample(ops.InRange(-1000, 1000), (TABLE.astype(np.int8),), "int8"),
    Sample(ops.InRange(0, 0), (TABLE[:0],), "empty"),
]
