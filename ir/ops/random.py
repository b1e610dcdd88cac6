# SPDX-License-Identifier: MIT
"""Random numbers from counters: a key and a position give a number, on any machine the same."""

from __future__ import annotations

import math
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..op import Arrays, Composite, Kind, Op, Types, Values
from ..types import FLOATS, Array, TensorType, Type
from .arithmetic import Add, Div, Mul, Neg
from .cast import Cast
from .comparison import GreaterEqual, Less, Select, ShiftRight
from .elementary import Cos, Log1p, Sqrt
from .elementwise import result_type
from .reduction import ReduceSum
from .shape import Reshape, expand_axes, slice_along
from .softmax import Softmax
from .sorting import CumSum
from .widening import narrow, widen

if TYPE_CHECKING:
    from ..emitter import Emitter
    from ..graph import Value

KEY = TensorType("uint32", (4,))
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
ROUNDS = 10
BLOCK = 4
"""Words that are generated together."""


def key_of(seed: int, stream: int = 0, step: int = 0) -> Array:
    """Return the key of a generator: a 64-bit seed, the number of the user, that of the step.

    >>> key_of(7, stream=2)
    array([7, 0, 2, 0], dtype=uint32)
    """
    words = (seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF, stream & 0xFFFFFFFF, step & 0xFFFFFFFF)
    return np.array(words, np.uint32)


@dataclass(frozen=True)
class RandomBits(Op):
    """32 random bits per element, a function of the key and of the element's position alone.

    Element ``i`` (in row-major order) is word ``i mod 4`` of Philox4x32-10 with key
    ``key[0], key[1]`` and counter ``i div 4, 0, key[2], key[3]``. Thus streams do not overlap,
    no state is carried, and any part of an array can be computed alone.

    Shapes: the key is uint32[4], see :func:`key_of`. Gradient: none, for integers have none.

    Attributes:
        shape: sizes of the result, less than 2**34 elements.

    References:
        Salmon, Moraes, Dror, Shaw, Parallel random numbers: as easy as 1, 2, 3, SC 2011.
    """

    name: ClassVar[str] = "random_bits"
    kind: ClassVar[Kind] = Kind.OPAQUE
    shape: tuple[int, ...]

    def infer(self, *inputs: Type) -> Types:
        """Return uint32 of the given shape."""
        if self.tensors(inputs, 1) != (KEY,):
            raise self.error(f"the key must be {KEY}, found {inputs[0]}")
        if min(self.shape, default=0) < 0 or math.prod(self.shape) >= 2**34:
            raise self.error(f"shape {list(self.shape)} is negative or too large")
        return (TensorType("uint32", self.shape),)

    def evaluate(self, *inputs: Any) -> Arrays:
        """Generate block by block."""
        count = math.prod(self.shape)
        blocks = np.arange(-(-count // 4), dtype=np.uint64)
        words = philox(np.asarray(inputs[0]), blocks)
        return (words.reshape(-1)[:count].reshape(self.shape),)

    def flops(self, *inputs: Type) -> int:
        """Ten rounds of about ten operations for every four elements."""
        return 25 * math.prod(self.shape)


def philox(key: Array, blocks: Array) -> Array:
    """Return the four words of each block of Philox4x32-10.

    Shapes: the key (4,), or (..., 1, 4) for one key per row of blocks (..., B); the words
    (..., B, 4).

    >>> [hex(w) for w in philox(np.zeros(4, np.uint32), np.zeros(1, np.uint64))[0]]
    ['0x6627e8d5', '0xe169c58d', '0xbc57ac4c', '0x9b00dbd8']
    """
    low = np.uint64(0xFFFFFFFF)
    shift = np.uint64(32)
    left, right, z, w = (key[..., k].astype(np.uint64) for k in range(4))
    x, y = blocks & low, blocks >> shift
    x, y, z, w = np.broadcast_arrays(x, y, z, w)
    for _ in range(ROUNDS):
        first, second = np.uint64(MULTIPLIERS[0]) * x, np.uint64(MULTIPLIERS[1]) * z
        x, z = (second >> shift) ^ y ^ left, (first >> shift) ^ w ^ right
        y, w = second & low, first & low
        left, right = (left + np.uint64(WEYL[0])) & low, (right + np.uint64(WEYL[1])) & low
    return np.stack([x, y, z, w], axis=-1).astype(np.uint32)


@dataclass(frozen=True)
class RandomKey(Op):
    """The key of a random number generator, by default a fresh one in every run.

    Results: the key (uint32[4]), whose last word is 0. A host op: compiled code cannot ask the
    operating system for random bits. ONNX: what random operators begin with.

    Attributes:
        seed: a 64-bit number, or ``None`` for one from the operating system.
        stream: number of the user, so that users of one seed get different numbers.
    """

    name: ClassVar[str] = "random_key"
    kind: ClassVar[Kind] = Kind.HOST
    seed: int | None = None
    stream: int = 0

    @property
    def foldable(self) -> bool:
        """Whether every run has the same key."""
        return self.seed is not None

    def infer(self, *inputs: Type) -> Types:
        """Return the type of a key."""
        self.tensors(inputs, 0)
        return (KEY,)

    def evaluate(self, *inputs: Any) -> Arrays:
        """Make the key, or ask the operating system."""
        return (key_of(secrets.randbits(64) if self.seed is None else self.seed, self.stream),)


@dataclass(frozen=True)
class LegacyUniform(Op):
    """Uniform float64 numbers in [0, 1) exactly as ``numpy.random.RandomState(seed)`` gives them.

    For models whose results were recorded with NumPy's Mersenne twister, which is sequential
    and therefore a host op. ONNX: Dropout-13 in training mode with a seed.
    """

    name: ClassVar[str] = "legacy_uniform"
    kind: ClassVar[Kind] = Kind.HOST
    seed: int
    shape: tuple[int, ...]

    def infer(self, *inputs: Type) -> Types:
        """Return float64 of the given shape."""
        self.tensors(inputs, 0)
        return (TensorType("float64", self.shape),)

    def evaluate(self, *inputs: Any) -> Arrays:
        """Generate with NumPy."""
        return (np.asarray(np.random.RandomState(self.seed).uniform(0.0, 1.0, self.shape)),)


@dataclass(frozen=True)
class RandomUniform(Composite):
    """Uniform numbers in [low, high), a function of the key (uint32[4]).

    float64 numbers have 53 random bits, others 24, rounded to their type.
    Gradient: none, for the key has none. ONNX: RandomUniform-22.
    """

    name: ClassVar[str] = "random_uniform"
    shape: tuple[int, ...]
    low: float = 0.0
    high: float = 1.0
    dtype: str = "float32"

    def expand(self, emit: Emitter, *inputs: Value) -> Values:
        """Scale the bits."""
        unit = unit_interval(emit, self, inputs[0], self.shape, self.dtype)
        span = emit(Mul(), unit, emit.scalar_like(self.high - self.low, unit))
        return (as_type(emit, emit(Add(), span, emit.scalar_like(self.low, unit)), self.dtype),)


@dataclass(frozen=True)
class RandomNormal(Composite):
    """Normal numbers of a mean and a standard deviation, a function of the key (uint32[4]).

    ``mean + scale * sqrt(-2 log(1 - u)) * cos(2 pi v)`` for uniform ``u`` and ``v``.
    ONNX: RandomNormal-22.

    References:
        Box and Muller, A note on the generation of random normal deviates, 1958.
    """

    name: ClassVar[str] = "random_normal"
    shape: tuple[int, ...]
    mean: float = 0.0
    scale: float = 1.0
    dtype: str = "float32"

    def expand(self, emit: Emitter, *inputs: Value) -> Values:
        """Transform pairs of uniform numbers."""
        pairs = unit_interval(emit, self, inputs[0], (2, *self.shape), self.dtype)
        u, v = (emit(Reshape(self.shape), slice_along(emit, pairs, 0, k, k + 1)) for k in range(2))
        radius, angle = polar(emit, u, v, self.scale)
        if self.scale < 0:
            radius = emit(Neg(), radius)
        normal = emit(Mul(), radius, emit(Cos(), angle))
        return (
            as_type(emit, emit(Add(), normal, emit.scalar_like(self.mean, normal)), self.dtype),
        )


@dataclass(frozen=True)
class Dropout(Composite):
    """``y = x / (1 - ratio)`` where a uniform number is at least ``ratio``, else 0.

    Shapes: x, the uniform numbers in its shape (of any float type), the ratio (). Results: y
        and the mask (bool) of what is kept. With a ratio of 1 all is 0.
    Gradient: ``dx = dy / (1 - ratio)`` where the mask holds. ONNX: Dropout-22 in training mode.

    References:
        Srivastava et al., Dropout, JMLR 2014.
    """

    name: ClassVar[str] = "dropout"

    def expand(self, emit: Emitter, *inputs: Value) -> Values:
        """Compare, scale and select."""
        x, uniform, ratio = inputs
        kept = emit(GreaterEqual(), uniform, as_type(emit, ratio, result_type(uniform).dtype))
        wide = widen(emit, x)
        share = emit(Add(), emit.scalar_like(1, wide), emit(Neg(), _like(emit, ratio, wide)))
        scaled = emit(Div(), wide, share)
        y = emit(Select(), kept, scaled, emit.scalar_like(0, wide))
        return narrow(emit, y, x), kept


@dataclass(frozen=True)
class DropoutSite(Composite):
    """``y = x``: where training drops elements, which the pass ``use-dropout`` makes it do.

    Gradient: ``dx = dy``. ONNX: Dropout-22 outside of training mode.

    Attributes:
        ratio: share of the elements that training drops, from 0 to below 1.
    """

    name: ClassVar[str] = "dropout_site"
    ratio: float

    def expand(self, emit: Emitter, *inputs: Value) -> Values:
        """Emit a copy."""
        (type,) = self.tensors(tuple(v.type for v in inputs), 1)
        if not 0 <= self.ratio < 1:
            raise self.error(f"ratio={self.ratio} must be from 0 to below 1")
        return (emit(Reshape(type.dims), inputs[0]),)


@dataclass(frozen=True)
class Multinomial(Composite):
    """Draws class numbers with probability ``softmax(x)``.

    The class is the number of cumulated probabilities that a uniform number has passed.

    Shapes: x (B, C), unnormalised log probabilities; the key (uint32[4]). Result: int64
        (B, count). Gradient: none, for the result is integers. ONNX: Multinomial-22.
    """

    name: ClassVar[str] = "multinomial"
    count: int = 1

    def expand(self, emit: Emitter, *inputs: Value) -> Values:
        """Compare uniform numbers with the cumulated probabilities."""
        x, key = inputs
        type = result_type(x)
        if type.rank != 2 or type.dtype not in FLOATS or type.dims[1] < 1:
            raise self.error(f"needs floats of shape (B, C), found {type}")
        wide = widen(emit, x)
        cumulated = emit(CumSum(1), emit(Softmax(1), wide))
        # All but the last: the sum of rounded numbers may stay below 1.
        bounds = slice_along(emit, cumulated, 1, 0, type.dims[1] - 1)
        dtype = result_type(wide).dtype
        drawn = unit_interval(emit, self, key, (type.dims[0], self.count), dtype)
        passed = emit(Less(), expand_axes(emit, bounds, (1,)), expand_axes(emit, drawn, (2,)))
        return (emit(ReduceSum((2,)), emit(Cast("int64"), passed)),)


def unit_interval(emit: Emitter, op: Op, key: Value, shape: tuple[int, ...], dtype: str) -> Value:
    """Emit uniform numbers in [0, 1) of float64, or of float32 for any narrower float."""
    check_float(op, dtype)
    if dtype != "float64":
        return single_from(emit, emit(RandomBits(shape), key))
    words = emit(RandomBits((2, *shape)), key)
    high, low = (emit(Reshape(shape), slice_along(emit, words, 0, k, k + 1)) for k in range(2))
    return double_from(emit, high, low)


def check_float(op: Op, dtype: str) -> None:
    """Raise unless random numbers can have this element type."""
    if dtype not in FLOATS:
        raise op.error(f"random numbers must be floats, found {dtype!r}")


def single_from(emit: Emitter, bits: Value) -> Value:
    """Emit float32 numbers in [0, 1) of 24 random bits each."""
    return _scaled(emit, bits, 8, "float32", 2.0**-24)


def double_from(emit: Emitter, high: Value, low: Value) -> Value:
    """Emit float64 numbers in [0, 1) of 53 random bits each."""
    upper = _scaled(emit, high, 5, "float64", 2.0**-27)
    return emit(Add(), upper, _scaled(emit, low, 6, "float64", 2.0**-53))


def polar(emit: Emitter, u: Value, v: Value, scale: float) -> tuple[Value, Value]:
    """Emit radius ``|scale| sqrt(-2 log(1 - u))`` and angle ``2 pi v``.

    Both coordinates of that point are normal, and independent, if ``u`` and ``v`` are uniform.
    """
    angle = emit(Mul(), v, emit.scalar_like(2 * math.pi, v))
    logarithm = emit(Log1p(), emit(Neg(), u))
    radius = emit(Sqrt(), emit(Mul(), logarithm, emit.scalar_like(-2 * scale**2, u)))
    return radius, angle


def _scaled(emit: Emitter, bits: Value, drop: int, dtype: str, unit: float) -> Value:
    kept = emit(ShiftRight(), bits, emit.scalar_like(drop, bits))
    number = emit(Cast(dtype), kept)
    return emit(Mul(), number, emit.scalar_like(unit, number))


def as_type(emit: Emitter, x: Value, dtype: str) -> Value:
    """Emit ``x`` in another element type, or return it if that is its own."""
    return x if result_type(x).dtype == dtype else emit(Cast(dtype), x)


def _like(emit: Emitter, x: Value, like: Value) -> Value:
    return as_type(emit, x, result_type(like).dtype)


__all__ = [
    "Dropout",
    "DropoutSite",
    "LegacyUniform",
    "Multinomial",
    "RandomBits",
    "RandomKey",
    "RandomNormal",
    "RandomUniform",
    "key_of",
]
