# SPDX-License-Identifier: MIT
"""Integers wrap around in compiled code, with operands and with constants."""

from __future__ import annotations

import numpy as np
import pytest

from agreement import Compiled
from ranvier.ir import Emitter, Op, TensorType, interpret, ops


@pytest.mark.parametrize("op", [ops.Add(), ops.Sub(), ops.Mul()], ids=lambda op: op.name)
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "uint32", "int64", "uint64"])
def test_constants_at_the_limits_of_a_type(op: Op, dtype: str, compiled: Compiled) -> None:
    limits = np.iinfo(dtype)
    emit = Emitter()
    x = emit.argument(TensorType(dtype, (5,)))
    numbers = (1, 2, limits.max, limits.max - 1, limits.min)
    constants = [emit.constant(n, dtype) for n in numbers]
    results = [emit(op, *pair) for c in constants for pair in ((x, c), (c, x))]
    graph = emit.graph("limits", [x], results)
    data = np.array([limits.min, 0, 1, limits.max - 1, limits.max], dtype)
    for actual, expected in zip(compiled(graph, [data]), interpret(graph, [data]), strict=True):
        np.testing.assert_array_equal(actual, expected)
