# SPDX-License-Identifier: MIT
"""Equality of ops to the bit."""

from __future__ import annotations

import struct
from collections.abc import Hashable
from typing import Any

from ..ir import ArrayAttribute, Graph, Op, print_graph


def op_key(op: Op) -> Hashable:
    """Return a key that is equal for ops of the same class with identical attributes.

    Unlike equality of ops, which goes by Python's: 0.0 and -0.0 differ here, so do 1, 1.0
    and True, and NaN equals itself.
    """
    return type(op), tuple(map(_attribute_key, op.attributes().values()))


def _attribute_key(value: Any) -> Hashable:
    if isinstance(value, tuple):
        return tuple(map(_attribute_key, value))
    if isinstance(value, float):
        return "float", struct.pack("<d", value)
    if isinstance(value, Graph):
        return print_graph(value)
    if isinstance(value, ArrayAttribute):
        return value
    return type(value), value
