# SPDX-License-Identifier: MIT
"""Minimal filtering: m outputs of a filter of three taps by m + 2 products instead of 3 m.

A filter of three taps and a signal of m + 2 samples are polynomials; their product is found from
its values at m + 2 points, one of them infinity: ``y = A ((G w) * (B d))``.

References:
    Winograd, Arithmetic Complexity of Computations, 1980; Lavin and Gray, CVPR 2016.
"""

from __future__ import annotations

import math

import numpy as np

from ..ir.types import Array

TAPS = 3

ROOTS: dict[int, tuple[float, ...]] = {2: (1.0,), 4: (0.625, 1.5)}
"""For each m the points besides 0 and infinity: these and their negatives.

The usual points 1 and 2 for m = 4 double the rounding error; all constants that follow from
these here are exact in float32.
"""


def samples(m: int) -> int:
    """Return how many samples, and so products, ``m`` outputs take."""
    return m + TAPS - 1


def _points(m: int) -> list[float]:
    return [0.0, *(s * r for r in ROOTS[m] for s in (1.0, -1.0))]


def filter_matrix(m: int) -> Array:
    """Return G, float64 (m + 2, 3), which takes a filter to its values at the points.

    >>> filter_matrix(2)[1].tolist()
    [0.5, 0.5, 0.5]
    """
    points = _points(m)
    rows = []
    for p in points:
        scale = math.prod(p - q for q in points if q != p)
        rows.append([p**k / scale for k in range(TAPS)])
    return np.array([*rows, [0.0, 0.0, 1.0]])


def signal_matrix(m: int) -> Array:
    """Return B, float64 (m + 2, m + 2), which takes samples to values at the points.

    >>> signal_matrix(2)[1].tolist()
    [0.0, 1.0, 1.0, 0.0]
    """
    points = _points(m)
    rows = [[*np.poly([q for q in points if q != p])[::-1], 0.0] for p in points]
    return np.array([*rows, np.poly(points)[::-1]])


def output_matrix(m: int) -> Array:
    """Return A, float64 (m, m + 2), which takes products to outputs.

    >>> output_matrix(2).tolist()
    [[1.0, 1.0, 1.0, 0.0], [0.0, 1.0, -1.0, 1.0]]
    """
    columns = [[p**k for k in range(m)] for p in _points(m)]
    rows = [list(row) for row in zip(*columns, strict=True)]
    return np.array([[*row, float(k == m - 1)] for k, row in enumerate(rows)])


def filter_transform(m: int) -> Array:
    """Return G for filters of 3x3 taps, float64 ((m + 2)**2, 9)."""
    g = filter_matrix(m)
    return np.kron(g, g)
