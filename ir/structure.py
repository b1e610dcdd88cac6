# SPDX-License-Identifier: MIT
"""Sequences and optionals as flat lists of tensors, the only thing that programs deal in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np

from .types import Array, TensorType, type_of

Structure: TypeAlias = "TensorType | tuple[Structure, ...] | None"
"""A tensor, a sequence by its members, or an optional that holds nothing."""


def structure_of(value: Any) -> Structure:
    """Return the structure of a run-time value: an array, a list of values, or ``None``.

    >>> structure_of([np.zeros(2, np.float32), None])
    (TensorType(dtype='float32', shape=(2,)), None)
    """
    if value is None:
        return None
    if isinstance(value, list | tuple):
        return tuple(structure_of(item) for item in value)
    type = type_of(value)
    assert isinstance(type, TensorType)
    return type


def leaves(structure: Structure, name: str) -> Iterator[tuple[str, TensorType]]:
    """Yield the tensors of a structure, with names made from that of the whole.

    >>> pair = (TensorType("bool", ()), TensorType("bool", (1,)))
    >>> [name for name, _ in leaves(pair, "x")]
    ['x[0]', 'x[1]']
    """
    if isinstance(structure, TensorType):
        yield name, structure
    elif structure is not None:
        for k, item in enumerate(structure):
            yield from leaves(item, f"{name}[{k}]")


def flatten(value: Any) -> Iterator[Array]:
    """Yield the arrays of a run-time value in the order of :func:`leaves`."""
    if isinstance(value, list | tuple):
        for item in value:
            yield from flatten(item)
    elif value is not None:
        yield np.asarray(value)


def unflatten(structure: Structure, arrays: Iterator[Any]) -> Any:
    """Return the value of this structure whose tensors are the next of ``arrays``.

    >>> unflatten((None, TensorType("bool", ())), iter([True]))
    [None, True]
    """
    if structure is None:
        return None
    if isinstance(structure, TensorType):
        return next(arrays)
    return [unflatten(item, arrays) for item in structure]


def structures_of(values: Sequence[Any]) -> tuple[Structure, ...]:
    """Return the structure of each value."""
    return tuple(structure_of(value) for value in values)
