# SPDX-License-Identifier: MIT
"""Random numbers per sample: each row has a key of its own, whatever batch it is part of."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..op import Arrays, Composite, Kind, Op, Types, Values
from ..types import TensorType, Type
from .arithmetic import Add, Mul
from .comparison import Less
from .elementary import Cos, Log, Sqrt
from .elementwise import result_type
from .random import BLOCK, as_type, check_float, double_from, philox, polar, single_from
from .shape import Reshape, slice_along
from .terms import Term

if TYPE_CHECKING:
    from ..emitter import Emitter
    from ..graph import Value


@dataclass(frozen=True)
class RowBits(Op):
    """32 random bits per element, those of row ``n`` a function of key ``n`` alone.

    Element ``i`` of row ``n`` (in row-major order) is word ``i mod 4`` of Philox4x32-10 with
    key ``k[0], k[1]`` and counter ``i div 4, stream, k[2], k[3]`` for ``k = keys[n]``. Row ``n``
    of stream 0 is thus what RandomBits gives for key ``n``, and a sample gets the same numbers
    in any batch, at any place in it, and on any rank.

    Shapes: keys uint32 (N, 4), result uint32 (N, shape...). Gradient: none, for integers have
    none.

    Attributes:
        shape: sizes of a row, less than 2**34 elements.
        stream: number of the user, less than 2**32: two users of the same keys get numbers
            that do not overlap.

    References:
        Salmon, Moraes, Dror, Shaw, Parallel random numbers: as easy as 1, 2, 3, SC 2011.
    """

    name: ClassVar[str] = "row_bits"
    kind: ClassVar[Kind] = Kind.OPAQUE
    shape: tuple[int, ...]
    stream: int = 0

    def infer(self, *inputs: Type) -> Types:
        """Return uint32 with a row per key."""
        (keys,) = self.tensors(inputs, 1)
        if keys.dtype != "uint32" or keys.rank != 2 or keys.shape[1] != 4:
            raise self.error(f"keys must be uint32[N, 4], found {keys}")
        if min(self.shape, default=0) < 0 or math.prod(self.shape) >= 2**34:
            raise self.error(f"shape {list(self.shape)} is negative or too large")
        if not 0 <= self.stream < 2**32:
            raise self.error(f"stream={self.stream} must be from 0 to below 2**32")
        return (TensorType("uint32", (keys.shape[0], *self.shape)),)

    def evaluate(self, *inputs: Any) -> Arrays:
        """Generate block by block for all rows at once."""
        keys, count = np.asarray(inputs[0]), math.prod(self.shape)
        first = np.uint64(self.stream) << np.uint64(32)
        blocks = first + np.arange(-(-count // 4), dtype=np.uint64)
        words = philox(keys[:, None, :], blocks[None])
        rows = words.reshape(len(keys), 4 * len(blocks))
        return (rows[:, :count].reshape(len(keys), *self.shape),)

    def flops(self, *inputs: Type) -> int:
        """Ten rounds of about ten operations for every four elements."""
        (bits,) = self.infer(*inputs)
        assert isinstance(bits, TensorType)
        return 25 * bits.size


@dataclass(frozen=True)
class RowUniform(Composite):
    """Uniform numbers in [low, high), those of row ``n`` a function of key ``n`` alone.

    float64 numbers have 53 random bits, others 24, rounded to their type.

    Shapes: keys uint32 (N, 4), result (N, shape...). Gradient: none, for keys have none.

    Attributes:
        shape: sizes of a row.
        low: the smallest number.
        high: the bound above.
        stream: number of the user, see RowBits.
        dtype: element type of the result, a float.
    """

    name: ClassVar[str] = "row_uniform"
    shape: tuple[int, ...]
    low: float = 0.0
    high: float = 1.0
    stream: int = 0
    dtype: str = "float32"

    def expand(self, emit: Emitter, *inputs: Value) -> Values:
        """Scale the bits."""
        unit = unit_rows(emit, self, inputs[0], self.shape, self.stream, self.dtype)
        span = emit(Mul(), unit, emit.scalar_like(self.high - self.low, unit))
        return (as_type(emit, emit(Add(), span, emit.scalar_like(self.low, unit)), self.dtype),)


@dataclass(frozen=True)
class RowNormal(Composite):
    """Normal numbers of mean 0 and deviation 1, those of row ``n`` a function of key ``n`` alone.

    The number that a normal one stays below with probability ``u``, for uniform ``u``; float64
    numbers are ``sqrt(-2 log(1 - u)) cos(2 pi v)``, of two uniform ones each.

    Shapes: keys uint32 (N, 4), result (N, shape...). Gradient: none, for keys have none.

    Attributes:
        shape: sizes of a row.
        stream: number of the user, see RowBits.
        dtype: element type of the result, a float.

    References:
        Giles, Approximating the erfinv function, GPU Computing Gems, 2011. Box and Muller, A
        note on the generation of random normal deviates, 1958.
    """

    name: ClassVar[str] = "row_normal"
    shape: tuple[int, ...]
    stream: int = 0
    dtype: str = "float32"

    def expand(self, emit: Emitter, *inputs: Value) -> Values:
        """Transform uniform numbers."""
        (keys,) = inputs
        if self.dtype != "float64":
            unit = unit_rows(emit, self, keys, self.shape, self.stream, self.dtype)
            return (as_type(emit, normal_quantile(Term(emit, unit)).value, self.dtype),)
        pairs = unit_rows(emit, self, keys, (2, *self.shape), self.stream, self.dtype)
        rows = (result_type(pairs).dims[0], *self.shape)
        u, v = (emit(Reshape(rows), slice_along(emit, pairs, 1, k, k + 1)) for k in range(2))
        radius, angle = polar(emit, u, v, 1.0)
        return (emit(Mul(), radius, emit(Cos(), angle)),)


@dataclass(frozen=True)
class RowBernoulli(Composite):
    """True with a probability, in row ``n`` as key ``n`` says: a uniform number is below it.

    Shapes: keys uint32 (N, 4), the probability () or of a shape that broadcasts to the
        result, which is bool (N, shape...). Gradient: none, for truth values have none.

    Attributes:
        shape: sizes of a row.
        stream: number of the user, see RowBits.
    """

    name: ClassVar[str] = "row_bernoulli"
    shape: tuple[int, ...]
    stream: int = 0

    def expand(self, emit: Emitter, *inputs: Value) -> Values:
        """Compare uniform numbers with the probability."""
        keys, probability = inputs
        dtype = "float64" if result_type(probability).dtype == "float64" else "float32"
        unit = unit_rows(emit, self, keys, self.shape, self.stream, dtype)
        true = emit(Less(), unit, as_type(emit, probability, dtype))
        if true.type != TensorType("bool", result_type(unit).shape):
            raise self.error(f"probabilities {probability.type} do not fit {list(self.shape)}")
        return (true,)


_CENTRAL = (
    2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087,
    -0.00125372503, -0.00417768164, 0.246640727, 1.50140941,
)  # fmt: skip
_TAIL = (
    -0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773,
    -0.0076224613, 0.00943887047, 1.00167406, 2.83297682,
)  # fmt: skip


def normal_quantile(unit: Term) -> Term:
    """Emit what a normal number stays below with probability ``unit``, in single precision.

    ``sqrt(2) erfinv(2 u - 1)`` by polynomials in ``w = -log(4 u (1 - u))`` and in its root,
    where ``u`` lies half a step above the uniform number, of 24 bits: never 0 or 1.
    """
    x = 2 * unit - (1 - 2.0**-24)
    w = -((1 - x) * (1 + x)).apply(Log())
    central = _polynomial(_CENTRAL, w - 2.5)
    tail = _polynomial(_TAIL, w.apply(Sqrt()) - 3)
    return (w < 5).where(central, tail) * x * math.sqrt(2)


def _polynomial(coefficients: tuple[float, ...], x: Term) -> Term:
    total = x * coefficients[0] + coefficients[1]
    for coefficient in coefficients[2:]:
        total = total * x + coefficient
    return total


def unit_rows(
    emit: Emitter, op: Op, keys: Value, shape: tuple[int, ...], stream: int, dtype: str
) -> Value:
    """Emit uniform numbers in [0, 1) of float64, or of float32 for any narrower float."""
    check_float(op, dtype)
    count = math.prod(shape)
    if dtype != "float64":
        unit = single_from(emit, _words(emit, keys, count, stream))
    else:
        words = _words(emit, keys, 2 * count, stream)
        halves = (slice_along(emit, words, 1, k * count, (k + 1) * count) for k in range(2))
        unit = double_from(emit, *halves)
    return emit(Reshape((result_type(unit).dims[0], *shape)), unit)


def _words(emit: Emitter, keys: Value, count: int, stream: int) -> Value:
    """Emit random bits (N, count), as RowBits gives them, in whole blocks if there are many.

    Blocks are generated four words at a time; words in any other shape each alone.
    """
    if count <= BLOCK:
        return emit(RowBits((count,), stream), keys)
    blocks = -(-count // BLOCK)
    bits = emit(RowBits((blocks, BLOCK), stream), keys)
    rows = emit(Reshape((result_type(bits).dims[0], blocks * BLOCK)), bits)
    return slice_along(emit, rows, 1, 0, count)


__all__ = ["RowBernoulli", "RowBits", "RowNormal", "RowUniform"]
