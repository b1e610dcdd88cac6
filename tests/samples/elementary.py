# SPDX-License-Identifier: MIT
"""Samples of elementary functions within their domains."""

from __future__ import annotations

import numpy as np

from arrays import normal, uniform
from ranvier.ir import numpy_dtype, ops
from samples import Sample

EVERYWHERE = [ops.Exp(), ops.Expm1(), ops.Sin(), ops.Cos(), ops.Tan(), ops.Atan(), ops.Sinh()]
EVERYWHERE += [ops.Cosh(), ops.Tanh(), ops.Asinh(), ops.Erf(), ops.Sigmoid()]
POSITIVE = [ops.Log(), ops.Log1p(), ops.Sqrt(), ops.Rsqrt()]
WITHIN_ONE = [ops.Asin(), ops.Acos(), ops.Atanh()]
DOMAINS = [
    *((op, normal(2, 3)) for op in EVERYWHERE),
    *((op, uniform(2, 3, low=0.1, high=4)) for op in POSITIVE),
    *((op, uniform(2, 3, low=-0.9, high=0.9)) for op in WITHIN_ONE),
    (ops.Acosh(), uniform(2, 3, low=1.1, high=4)),
]

SAMPLES = [
    *(Sample(op, (x,), "float32") for op, x in DOMAINS),
    *(Sample(op, (x.astype(np.float64),), "float64", 1e-13, 1e-15) for op, x in DOMAINS),
    *(Sample(ops.Exp(), (normal(4).astype(numpy_dtype(d)),), d) for d in ["float16", "bfloat16"]),
]
