# SPDX-License-Identifier: MIT
"""Samples of classification losses."""

from __future__ import annotations

import numpy as np

from ranvier.ir import ops
from samples import Sample

_RNG = np.random.default_rng(29)
SCORES = _RNG.standard_normal((3, 4, 2)).astype(np.float32)
LABELS = np.array([[0, 3], [2, 2], [1, 0]], np.int64)
WEIGHTS = np.array([0.5, 1.5, 1.0, 0.3], np.float32)
FLAT = (SCORES[:, :, 0], LABELS[:, 0].astype(np.int32))
OUTSIDE = np.array([[0, -1], [2, 9], [1, 0]], np.int64)

SAMPLES = [
    Sample(ops.NegativeLogLikelihood(), (SCORES, LABELS)),
    Sample(ops.NegativeLogLikelihood("none"), (SCORES, LABELS, WEIGHTS), "none"),
    Sample(ops.NegativeLogLikelihood("mean", 2), (SCORES, LABELS, WEIGHTS), "ignore"),
    Sample(ops.NegativeLogLikelihood("sum", -1), (SCORES, OUTSIDE), "outside"),
    Sample(ops.SoftmaxCrossEntropy(), FLAT),
    Sample(ops.SoftmaxCrossEntropy("sum", logarithms=True), (SCORES, LABELS), "logarithms"),
    Sample(ops.SoftmaxCrossEntropy("mean", 0), (SCORES, LABELS, WEIGHTS), "ignore"),
    Sample(ops.SoftmaxCrossEntropy(), ((100 * SCORES).astype(np.float16), LABELS), "half"),
]
