# SPDX-License-Identifier: MIT
"""Keys that find the specialisation for the arrays at hand."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .dtypes import Array, name_of_dtype


@dataclass(frozen=True)
class Key:
    """Types of all inputs, digests of the inputs whose values are compiled in, and the stage.

    Attributes:
        types: per input its type as text, such as ``float32[1, 3]``.
        values: per input the digest of its value, empty where any value will do.
        stage: which part of a data-dependent model; empty for the first.
    """

    types: tuple[str, ...]
    values: tuple[str, ...]
    stage: str = ""

    def __str__(self) -> str:
        marks = (f"{t} = {v[:8]}" if v else t for t, v in zip(self.types, self.values, strict=True))
        stage = f"stage {self.stage[:8]}: " if self.stage else ""
        return f"{stage}({', '.join(marks)})"


def key_of(arrays: Sequence[Any], bound: Collection[int] = (), stage: str = "") -> Key:
    """Return the key of concrete inputs.

    Args:
        arrays: one value per input: an array, a list of values, or ``None``.
        bound: numbers of the inputs whose values are compiled in.
        stage: the part of the model.

    >>> key_of([np.zeros((2, 3), np.float32)])
    Key(types=('float32[2, 3]',), values=('',), stage='')
    """
    values = tuple(digest_of(a) if k in bound else "" for k, a in enumerate(arrays))
    return Key(tuple(map(type_text, arrays)), values, stage)


def type_text(value: Any) -> str:
    """Return the concrete type of a value as text; of a list, the types of its elements.

    >>> type_text([np.zeros(2), None])
    'sequence<float64[2], none>'
    """
    if value is None:
        return "none"
    if isinstance(value, list):
        return f"sequence<{', '.join(map(type_text, value))}>"
    array: Array = value
    return f"{name_of_dtype(array.dtype)}[{', '.join(map(str, array.shape))}]"


def digest_of(value: Any) -> str:
    """Return the hexadecimal SHA-256 of a value's type and contents."""
    state = hashlib.sha256(type_text(value).encode())
    for array in value if isinstance(value, list) else [value]:
        if isinstance(array, list):
            state.update(digest_of(array).encode())
        elif array is not None:
            state.update(_contents(array))
    return state.hexdigest()


def _contents(array: Array) -> bytes:
    if array.dtype.kind in "OUST":
        return json.dumps(array.tolist(), default=str).encode()
    return np.ascontiguousarray(array).tobytes()
