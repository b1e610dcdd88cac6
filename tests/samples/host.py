# SPDX-License-Identifier: MIT
"""Samples of the ops whose result shape depends on the data."""

from __future__ import annotations

import ml_dtypes
import numpy as np

from arrays import integers, normal
from ranvier.ir import ops
from samples import Sample

X = integers(3, 4, low=0, high=2).astype(np.float32)
ROWS = np.array([[1, 2], [0, 3], [1, 2]], np.float32)
WORDS = np.array(["node", "axon", "node"], object)
BOXES = np.array(
    [[[0.0, 0.0, 1.0, 1.0], [0.0, 1.1, 1.0, 0.1], [0.0, 10.0, 1.0, 11.0], [2.0, 2.0, 2.0, 2.0]]],
    np.float32,
)
SCORES = np.array([[[0.9, 0.75, 0.6, 0.9], [0.1, 0.8, 0.3, -1.0]]], np.float32)


def _limits(most: int, iou: float, score: float) -> tuple[np.ndarray, ...]:
    return np.array([most]), np.array([iou], np.float32), np.array([score], np.float32)


SAMPLES = [
    Sample(ops.NonZero(), (X,)),
    Sample(ops.NonZero(), (np.array(True),), "scalar"),
    Sample(ops.NonZero(), (normal(2, 2).astype(ml_dtypes.bfloat16),), "bfloat16"),
    Sample(ops.Unique(), (ROWS,), gradient=False),
    Sample(ops.Unique(sorted=False), (ROWS,), "unsorted", gradient=False),
    Sample(ops.Unique(0), (ROWS,), "rows", gradient=False),
    Sample(ops.Unique(1, sorted=False), (ROWS,), "columns", gradient=False),
    Sample(ops.Unique(), (WORDS,), "words"),
    Sample(ops.Compress(), (X, np.array([True, False, True])), gradient=False),
    Sample(ops.Compress(1), (X, np.array([False, True, True])), "axis", gradient=False),
    Sample(ops.Range(), (np.array(2), np.array(9), np.array(3))),
    Sample(ops.Range(), (np.array(9), np.array(2), np.array(-3)), "down"),
    Sample(ops.Range(), (np.array(9), np.array(2), np.array(3)), "nothing"),
    Sample(ops.Range(), tuple(np.array([0, 1, 0.3], np.float32)), "float32", gradient=False),
    Sample(ops.NonMaxSuppression(), (BOXES, SCORES, *_limits(3, 0.5, 0.2))),
    Sample(ops.NonMaxSuppression(), (BOXES, SCORES, *_limits(1, 0.5, 0.2)), "one"),
    Sample(ops.NonMaxSuppression(), (BOXES, SCORES, *_limits(0, 0.5, 0.2)), "none"),
    Sample(
        ops.NonMaxSuppression(center_point_box=True),
        (BOXES, SCORES, *_limits(4, 0.1, -np.inf)),
        "centres",
    ),
]
