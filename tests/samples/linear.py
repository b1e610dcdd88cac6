# SPDX-License-Identifier: MIT
"""Samples of matrix products."""

from __future__ import annotations

import numpy as np

from ranvier.ir import numpy_dtype, ops
from samples import Sample

_rng = np.random.default_rng(11)


def _floats(*shape: int) -> np.ndarray:
    return _rng.standard_normal(shape).astype(np.float32)


def _ints(dtype: str, *shape: int) -> np.ndarray:
    info = np.iinfo(dtype)
    return _rng.integers(info.min, info.max, shape, dtype, endpoint=True)


SAMPLES = [
    Sample(ops.MatMul(), (_floats(3, 5), _floats(5, 4))),
    Sample(ops.MatMul(), (_floats(2, 1, 3, 5), _floats(4, 5, 2)), "broadcast"),
    Sample(ops.MatMul(), (_floats(2, 3, 5), _floats(5, 4)), "one-matrix"),
    Sample(ops.MatMul(), (_floats(3, 0), _floats(0, 2)), "empty-sum"),
    Sample(ops.MatMul(), (_floats(0, 3), _floats(3, 2)), "no-rows"),
    Sample(ops.MatMul(), (_floats(33, 70), _floats(70, 41)), "odd-sizes", atol=1e-5),
    Sample(
        ops.MatMul(),
        (_floats(3, 40).astype(np.float16), _floats(40, 4).astype(np.float16)),
        "float16",
        rtol=2e-3,
        atol=2e-3,
    ),
    Sample(
        ops.MatMul(),
        (
            _floats(3, 8).astype(numpy_dtype("bfloat16")),
            _floats(8, 4).astype(numpy_dtype("bfloat16")),
        ),
        "bfloat16",
        rtol=1e-2,
        atol=1e-2,
    ),
    Sample(
        ops.MatMul("float32"),
        (_floats(3, 8).astype(np.float16), _floats(8, 4).astype(np.float16)),
        "float16-into-float32",
    ),
    Sample(ops.MatMul(), (_ints("int32", 3, 5), _ints("int32", 5, 2)), "int32-wraps"),
    Sample(ops.MatMul("int32"), (_ints("uint8", 3, 9), _ints("int8", 9, 4)), "uint8-by-int8"),
    Sample(ops.MatMul(), (_ints("uint64", 2, 3), _ints("uint64", 3, 2)), "uint64"),
    Sample(ops.Einsum("bij,bjk->bik"), (_floats(2, 3, 4), _floats(2, 4, 5)), "batch"),
    Sample(ops.Einsum("ij,jk"), (_floats(3, 4), _floats(4, 2)), "implicit"),
    Sample(ops.Einsum("...ij, ...kj -> ...ik"), (_floats(2, 3, 4), _floats(1, 5, 4)), "ellipsis"),
    Sample(ops.Einsum("...ii->...i"), (_floats(2, 3, 3),), "diagonal"),
    Sample(ops.Einsum("ii"), (_floats(4, 4),), "trace"),
    Sample(ops.Einsum("iji->j"), (_floats(3, 2, 3),), "repeated"),
    Sample(ops.Einsum("i,j->ij"), (_floats(3), _floats(2)), "outer"),
    Sample(ops.Einsum("i,i"), (_floats(5), _floats(5)), "inner"),
    Sample(ops.Einsum("ij,j,jkl->lik"), (_floats(2, 3), _floats(3), _floats(3, 2, 4)), "three"),
    Sample(ops.Einsum("ijk,l->ki"), (_floats(2, 3, 4), _floats(5)), "summed-alone"),
    Sample(ops.Einsum("ij->ji"), (_ints("int64", 2, 3),), "integers"),
    Sample(ops.Einsum("ij,jk->ik"), (_floats(2, 1), _floats(3, 4)), "size-1"),
]
