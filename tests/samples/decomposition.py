# SPDX-License-Identifier: MIT
"""Samples of determinant and inverse."""

from __future__ import annotations

import numpy as np

from arrays import normal
from ranvier.ir import ops
from samples import Sample

X = normal(2, 3, 3) + 2 * np.eye(3, dtype=np.float32)
SWAPPED = np.array([[0.0, 2.0], [3.0, 1.0]])

SAMPLES = [
    Sample(ops.Det(), (X,), rtol=1e-4),
    Sample(ops.Det(), (SWAPPED,), "pivot"),
    Sample(ops.Det(), (np.ones((3, 3)),), "singular", gradient=None),
    Sample(ops.Det(), (np.zeros((2, 0, 0)),), "empty"),
    Sample(ops.Inverse(), (X,), rtol=1e-4),
    Sample(ops.Inverse(), (SWAPPED,), "pivot"),
    Sample(ops.Inverse(), (np.zeros((2, 0, 0)),), "empty"),
]
