# SPDX-License-Identifier: MIT
"""Samples of the ops that move elements."""

from __future__ import annotations

import ml_dtypes
import numpy as np

from arrays import normal
from ranvier.ir import ops
from samples import Sample

X = normal(4, 5)
EMPTY = np.zeros((3, 0), np.float32)
BRAIN = normal(2, 6).astype(ml_dtypes.bfloat16)
NIBBLES = np.array([[-8, 7, 3], [0, -1, 5]], ml_dtypes.int4)

SAMPLES = [
    Sample(ops.Reshape((2, 10)), (X,)),
    Sample(ops.Reshape((1, 20, 1)), (X,), "ones"),
    Sample(ops.Reshape((3, 1, 2, 4)), (normal(2, 3, 4),), "across"),
    Sample(ops.Reshape(()), (normal(1, 1),), "scalar"),
    Sample(ops.Reshape((0, 7)), (EMPTY,), "empty"),
    Sample(ops.Reshape((3, 4)), (BRAIN,), "bfloat16"),
    Sample(ops.Reshape((6,)), (NIBBLES,), "int4"),
    Sample(ops.Transpose((1, 0)), (X,)),
    Sample(ops.Transpose((2, 0, 1)), (normal(2, 3, 4),), "three"),
    Sample(ops.Transpose(()), (np.float32(3.0).reshape(()),), "scalar"),
    Sample(ops.BroadcastTo((2, 4, 5)), (X,)),
    Sample(ops.BroadcastTo((4, 5)), (X[:, :1],), "column"),
    Sample(ops.BroadcastTo((0, 3)), (EMPTY[:1, :0].reshape(0, 1),), "empty"),
    Sample(ops.Slice((1, 0), (4, 5), (2, 3)), (X,)),
    Sample(ops.Slice((3, 4), (-1, 0), (-2, -3)), (X,), "down"),
    Sample(ops.Slice((2, 2), (2, 5), (1, 1)), (X,), "nothing"),
    Sample(ops.Pad((1, 2), (0, 3), value=-1.5), (X,)),
    Sample(ops.Pad((-1, 2), (1, -3)), (X,), "crop"),
    Sample(ops.Pad((0, -5), (0, 2), value=2.0), (X,), "all-new"),
    Sample(ops.Pad((0, 1), (0, 1), value=1.0), (EMPTY,), "empty"),
    Sample(ops.Pad((1, 2), (3, 0), "edge"), (X,), "edge"),
    Sample(ops.Pad((1, 7), (2, 13), "reflect"), (X,), "reflect"),
    Sample(ops.Pad((-1, 7), (6, -2), "reflect"), (X,), "reflect-crop"),
    Sample(ops.Pad((2, 2), (2, 2), "reflect"), (X[:1, :2],), "reflect-one"),
    Sample(ops.Pad((5, 1), (1, 12), "wrap"), (X,), "wrap"),
    Sample(ops.Pad((1,), (1,), value=7), (np.arange(3),), "int64"),
    Sample(ops.Pad((1,), (1,), value=True), (np.array([False, True]),), "bool"),
    Sample(ops.Concat(1), (X, X[:, :0], normal(4, 2, seed=1))),
    Sample(ops.Concat(0), (X,), "one"),
    Sample(ops.Concat(0), tuple(normal(n, 2, seed=n) for n in (1, 3, 2, 4, 1)), "five"),
    Sample(ops.Concat(0), (NIBBLES, NIBBLES), "int4"),
    Sample(ops.Reverse((0, 1)), (X,)),
    Sample(ops.Reverse(()), (X,), "none"),
    Sample(ops.Iota("float32", (3, 4), 1), ()),
    Sample(ops.Iota("int64", (3, 2), 0), (), "int64"),
    Sample(ops.Iota("float16", (5,), 0), (), "float16"),
]
