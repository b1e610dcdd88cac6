# SPDX-License-Identifier: MIT
"""Samples of the activation functions."""

from __future__ import annotations

import ml_dtypes
import numpy as np

from ranvier.ir import ops
from samples import Sample

# Kinks at 0 and at thresholds are kept away from, where differences see no gradient.
X = np.array([[-88.0, -3.5, -1.2], [-0.03, 0.04, 0.7], [1.6, 2.9, 90.0]], np.float32)
SMALL = np.linspace(-2.3, 2.45, 12, dtype=np.float32).reshape(2, 2, 3)
SPECIAL = np.array([np.nan, np.inf, -np.inf, -0.0, 6e-8, -6e4], np.float16)
HALF = SMALL.astype(np.float16)
BRAIN = SMALL.astype(ml_dtypes.bfloat16)

_SMOOTH = [
    ops.Celu(1.4),
    ops.Elu(0.8),
    ops.Gelu(),
    ops.Gelu("tanh"),
    ops.HardSigmoid(0.27, 0.4),
    ops.HardSwish(),
    ops.LeakyRelu(0.1),
    ops.Mish(),
    ops.Relu(),
    ops.Selu(),
    ops.Softplus(),
    ops.Softsign(),
    ops.Swish(),
    ops.Swish(1.7),
    ops.ThresholdedRelu(0.9),
]

SAMPLES = [
    *(Sample(op, (SMALL,), f"small{k}") for k, op in enumerate(_SMOOTH)),
    *(Sample(op, (X,), f"wide{k}") for k, op in enumerate(_SMOOTH)),
    *(Sample(op, (HALF,), f"half{k}") for k, op in enumerate(_SMOOTH)),
    Sample(ops.Gelu(), (BRAIN,), "bfloat16"),
    Sample(ops.Relu(), (BRAIN,), "bfloat16"),
    Sample(ops.Relu(), (SPECIAL[:5],), "special", gradient=None),
    Sample(ops.Relu(), (np.array([-3, 0, 5], np.int8),), "int8"),
    Sample(ops.Relu(), (np.zeros((0, 3), np.float32),), "empty"),
    Sample(ops.Softplus(), (SPECIAL[1:],), "special", gradient=None),
    Sample(ops.PRelu(), (SMALL, np.array([0.2, -0.3, 1.5], np.float32))),
    Sample(ops.PRelu(), (SMALL, np.array([[0.1], [0.4]], np.float32)), "channels"),
    Sample(ops.PRelu(), (np.array([-4, 3], np.int32), np.array([5], np.int32)), "int32"),
    Sample(ops.Shrink(0.5, 0.25), (SMALL,)),
    Sample(ops.Shrink(1.0, 2.0), (np.array([-4, -1, 0, 1, 4], np.int32),), "int32"),
]
