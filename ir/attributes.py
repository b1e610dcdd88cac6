# SPDX-License-Identifier: MIT
"""Arrays as attribute values: hashable, comparable, immutable."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .types import Array, dtype_name


@dataclass(frozen=True, eq=False)
class ArrayAttribute:
    """An array held by an op's field; equal when type, shape and bytes are.

    >>> ArrayAttribute(np.zeros(2)) == ArrayAttribute(np.zeros(2))
    True
    """

    array: Array

    def _key(self) -> tuple[str, tuple[int, ...], object]:
        a = self.array
        data = tuple(a.ravel().tolist()) if a.dtype == object else np.ascontiguousarray(a).tobytes()
        return dtype_name(a.dtype), a.shape, data

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ArrayAttribute) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __str__(self) -> str:
        return f"{dtype_name(self.array.dtype)}{list(self.array.shape)}"
