# SPDX-License-Identifier: MIT
"""Arrays for tests: the same ones on every run."""

from __future__ import annotations

from typing import Any

import numpy as np

from ranvier.ir import (
    Array,
    Graph,
    OptionalType,
    SequenceType,
    TensorType,
    Type,
    numpy_dtype,
)
from ranvier.ir.types import FLOATS


def normal(*shape: int, seed: int = 0, dtype: str = "float32") -> Array:
    """Return normally distributed numbers."""
    return np.random.default_rng(seed).standard_normal(shape).astype(numpy_dtype(dtype))


def uniform(
    *shape: int, low: float = 0.0, high: float = 1.0, seed: int = 0, dtype: str = "float32"
) -> Array:
    """Return numbers between ``low`` and ``high``."""
    return np.random.default_rng(seed).uniform(low, high, shape).astype(numpy_dtype(dtype))


def integers(
    *shape: int, low: int = -5, high: int = 6, seed: int = 0, dtype: str = "int64"
) -> Array:
    """Return whole numbers from ``low`` to ``high - 1``."""
    return np.random.default_rng(seed).integers(low, high, shape).astype(numpy_dtype(dtype))


def distinct(*shape: int, seed: int = 0, dtype: str = "float32") -> Array:
    """Return numbers that all differ, in random order: no ties for maxima and sorting."""
    size = int(np.prod(shape))
    order = np.random.default_rng(seed).permutation(size)
    return ((order - size / 2 + 0.25) / 4).reshape(shape).astype(numpy_dtype(dtype))


def inputs_for(graph: Graph, seed: int = 0) -> list[Any]:
    """Return random inputs that ``graph`` accepts; a named dimension is 2, 3 or 4 long.

    Integers are 0 or 1, so that they are valid as indices nearly everywhere.
    """
    rng = np.random.default_rng(seed)
    sizes: dict[str, int] = {}
    return [_random(value.type, rng, sizes) for value in graph.inputs]


def _random(type: Type, rng: np.random.Generator, sizes: dict[str, int]) -> Any:
    if isinstance(type, SequenceType):
        return [_random(type.element, rng, sizes) for _ in range(2)]
    if isinstance(type, OptionalType):
        return _random(type.element, rng, sizes)
    if not isinstance(type, TensorType):
        raise TypeError(f"no random value of type {type}")
    shape = [
        sizes.setdefault(d, int(rng.integers(2, 5))) if isinstance(d, str) else d
        for d in type.shape
    ]
    if type.dtype == "string":
        return rng.choice(np.array(["sinus", "node", "axon"], object), shape)
    if type.dtype in FLOATS or type.dtype.startswith("complex"):
        return np.asarray(rng.standard_normal(shape), numpy_dtype(type.dtype))
    return np.asarray(rng.integers(0, 2, shape)).astype(numpy_dtype(type.dtype))
