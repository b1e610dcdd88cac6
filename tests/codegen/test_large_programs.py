# SPDX-License-Identifier: MIT
"""Programs of many inputs and outputs: a step of training has one per parameter and gradient."""

from __future__ import annotations

import numpy as np

from agreement import Compiled
from ranvier.ir import Emitter, TensorType, ops


def test_hundreds_of_inputs_and_outputs(compiled: Compiled) -> None:
    emit = Emitter()
    inputs = [emit.argument(TensorType("float32", (4,))) for _ in range(400)]
    outputs = [emit(ops.Relu(), x) for x in inputs]
    given = list(np.random.default_rng(0).standard_normal((400, 4)).astype(np.float32))
    found = compiled(emit.graph("large", inputs, outputs), given)
    np.testing.assert_array_equal(found, np.maximum(given, 0))
