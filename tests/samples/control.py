# SPDX-License-Identifier: MIT
"""Samples of control flow."""

from __future__ import annotations

import numpy as np

from ranvier.ir import Emitter, Graph, TensorType, ops
from samples import Sample

X = np.random.default_rng(5).standard_normal((3, 2)).astype(np.float32)
H = np.array([0.4, -0.7], np.float32)
W = np.array([0.9, -1.1], np.float32)
ROW = TensorType("float32", (2,))
WHOLE = TensorType("int64", ())


def _step() -> Graph:
    """Return ``h, n -> h * w + x, n + n`` with ``e**(h * w)`` as output of the step."""
    emit = Emitter()
    h, n = emit.argument(ROW, "h"), emit.argument(WHOLE, "n")
    x, w = emit.argument(ROW, "x"), emit.argument(ROW, "w")
    product = emit(ops.Mul(), h, w)
    results = emit(ops.Add(), product, x), emit(ops.Add(), n, n), emit(ops.Exp(), product)
    return emit.graph("step", [h, n, x, w], results)


def _counter() -> Graph:
    """Return a body without operands that come from outside: counts and doubles."""
    emit = Emitter()
    h = emit.argument(ROW, "h")
    return emit.graph("double", [h], [emit(ops.Add(), h, h), h])


def _product() -> Graph:
    emit = Emitter()
    x, w = emit.argument(ROW, "x"), emit.argument(ROW, "w")
    return emit.graph("product", [x, w], [emit(ops.Mul(), x, w)])


def _power() -> Graph:
    emit = Emitter()
    x, w = emit.argument(ROW, "x"), emit.argument(ROW, "w")
    return emit.graph("power", [x, w], [emit(ops.Exp(), x)])


def _search() -> Graph:
    """Return ``n -> n + step`` that goes on while ``n + step < 9``."""
    emit = Emitter()
    first, n, step = (emit.argument(WHOLE, name) for name in ("iteration", "n", "step"))
    total = emit(ops.Add(), n, step)
    more = emit(ops.Less(), total, emit.constant(9, "int64"))
    return emit.graph("search", [first, n, step], [more, total])


COUNT = np.array(3, np.int64)
TRUE, FALSE = np.array(True), np.array(False)

SAMPLES = [
    Sample(ops.Scan(_step(), 3, 2, 1), (H, COUNT, X, W)),
    Sample(ops.Scan(_step(), 0, 2, 1), (H, COUNT, X[:0], W), "never"),
    Sample(ops.Scan(_counter(), 4, 1, 0), (H,), "no-slices"),
    Sample(ops.Branch(_product(), _power()), (TRUE, H, W), "then"),
    Sample(ops.Branch(_product(), _power()), (FALSE, H, W), "else"),
    Sample(ops.WhileLoop(_search()), (TRUE, COUNT, np.array(2, np.int64))),
    Sample(ops.WhileLoop(_search(), 2), (TRUE, COUNT, np.array(1, np.int64)), "at-most"),
    Sample(ops.WhileLoop(_search()), (FALSE, COUNT, COUNT), "never"),
]
