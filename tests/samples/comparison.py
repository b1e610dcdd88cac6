# SPDX-License-Identifier: MIT
"""Samples of comparisons, logic, bits and selection."""

from __future__ import annotations

import numpy as np

from arrays import integers, normal
from ranvier.ir import numpy_dtype, ops
from samples import Sample

from .arithmetic import WHOLE, extremes

SPECIAL = np.array([0.0, -0.0, 1.5, np.inf, -np.inf, np.nan, np.nan, 3.0], np.float32)
OTHER = np.array([-0.0, 0.0, np.nan, np.inf, np.inf, np.nan, 1.0, 2.0], np.float32)
TRUTH, FLAGS = np.array([[True], [False]]), np.array([True, False])
COMPARISONS = [ops.Equal(), ops.Less(), ops.LessEqual(), ops.Greater(), ops.GreaterEqual()]
BITWISE = [ops.BitwiseAnd(), ops.BitwiseOr(), ops.BitwiseXor()]
SHIFTS = [ops.ShiftLeft(), ops.ShiftRight()]
WORDS = np.array(["node", "axon", ""], object)

SAMPLES = [
    *(Sample(op, (SPECIAL, OTHER), "special") for op in COMPARISONS),
    *(Sample(op, (integers(2, 1), integers(3, seed=1)), "outer") for op in COMPARISONS),
    *(Sample(ops.Less(), extremes(d), d) for d in WHOLE),
    *(
        Sample(ops.Greater(), (SPECIAL.astype(numpy_dtype(d)), OTHER.astype(numpy_dtype(d))), d)
        for d in ["float16", "bfloat16", "float8_e5m2"]
    ),
    Sample(ops.Equal(), (TRUTH, FLAGS), "bool"),
    *(Sample(op, (TRUTH, FLAGS)) for op in [ops.And(), ops.Or(), ops.Xor()]),
    Sample(ops.Not(), (FLAGS,)),
    *(Sample(op, extremes(d), d) for op in [*BITWISE, *SHIFTS] for d in WHOLE),
    *(Sample(ops.BitwiseNot(), extremes(d)[:1], d) for d in WHOLE),
    Sample(ops.BitwiseNot(), (integers(8, low=-8, high=8, dtype="int4"),), "int4"),
    Sample(ops.Select(), (TRUTH, normal(2, 3), normal(seed=1)), "broadcast"),
    Sample(ops.Select(), (FLAGS, FLAGS, ~FLAGS), "bool"),
    Sample(ops.Select(), (np.array(True), integers(3), integers(2, 3, seed=1)), "integers"),
    Sample(ops.SelectString(), (np.array([[True], [False]]), WORDS, WORDS[::-1])),
    Sample(ops.IsNan(), (SPECIAL,)),
    Sample(ops.IsNan(), (SPECIAL.astype(numpy_dtype("float8_e4m3fn")),), "float8"),
    Sample(ops.IsInf(), (SPECIAL,)),
    Sample(ops.IsInf(negative=False), (SPECIAL,), "positive"),
    Sample(ops.IsInf(positive=False), (SPECIAL.astype(np.float64),), "negative"),
    Sample(ops.EqualString(), (WORDS, np.array([["axon"], ["node"]], object))),
]
