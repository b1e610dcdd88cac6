# SPDX-License-Identifier: MIT
"""Fourier transforms of whole arrays and of overlapping frames, in float64 throughout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ..op import Composite, Values
from ..types import FLOATS, Array
from .arithmetic import Add, Mul
from .cast import Cast
from .elementwise import result_type
from .gather import Gather
from .linear import MatMul
from .shape import Concat, Pad, Reshape, Reverse, Transpose, expand_axes, slice_along

if TYPE_CHECKING:
    from ..emitter import Emitter
    from ..graph import Value

DIRECT = 64
"""Lengths up to this are one product with the matrix of the transform."""

CHIRP = 128
"""Prime factors above this are transformed by convolution with a chirp."""


@dataclass(frozen=True)
class Dft(Composite):
    """``y[k] = sum_n x[n] e**(-2 pi i k n / N)`` along one axis, or the inverse, divided by N.

    Computed in float64 and rounded once: short lengths by a matrix product, products of small
    primes by splitting (Cooley and Tukey), large primes by a chirp (Bluestein).

    Shapes: x (..., C), where C is 1 for real numbers and 2 for real and imaginary parts.
        Result: (..., 2) with ``length`` numbers along ``axis``; if ``onesided``, the first
        ``length // 2 + 1`` of them; if also ``inverse``, x is such a half of a spectrum and
        the result is real (..., 1).
    ONNX: DFT-20.

    Attributes:
        axis: the axis to transform, not the last one.
        length: N; x is cropped or continued by zeros to it.
        inverse: the inverse transform.
        onesided: half of the spectrum of a real signal, as result or as operand.

    References:
        Cooley and Tukey, An algorithm for the machine calculation of complex Fourier series,
        1965. Bluestein, A linear filtering approach to the computation of the DFT, 1970.
    """

    name: ClassVar[str] = "dft"
    axis: int
    length: int
    inverse: bool = False
    onesided: bool = False

    def expand(self, emit: Emitter, *inputs: Value) -> Values:
        """Bring the axis to the end, fit it to the length, transform, put it back."""
        (x,) = inputs
        type = result_type(x)
        if not 0 <= self.axis < type.rank - 1 or type.dims[-1] not in (1, 2):
            raise self.error(f"cannot transform axis {self.axis} of {type}")
        if self.length < 1 or type.dtype not in FLOATS:
            raise self.error(f"needs floats and a length of at least 1, found {self.length}")
        order = (*(k for k in range(type.rank - 1) if k != self.axis), self.axis, type.rank - 1)
        wide = x if type.dtype == "float64" else emit(Cast("float64"), x)
        moved = emit(Transpose(order), wide)
        y = self._rows(emit, _complex(emit, moved))
        y = emit(Transpose(tuple(np.argsort(order).tolist())), y)
        return (y if type.dtype == "float64" else emit(Cast(type.dtype), y),)

    def _rows(self, emit: Emitter, x: Value) -> Value:
        """Transform the second last axis of complex rows."""
        half = self.length // 2 + 1
        last = result_type(x).rank - 1
        x = _fitted(emit, x, half if self.inverse and self.onesided else self.length)
        if self.inverse and self.onesided:
            x = self._mirrored(emit, x)
        (*rows, count, two) = result_type(x).dims
        flat = emit(Reshape((int(np.prod(rows)), count, two)), x)
        y = emit(Reshape((*rows, count, two)), transform(emit, flat, 1 if self.inverse else -1))
        if self.inverse:
            y = emit(Mul(), y, emit.scalar_like(1 / self.length, y))
        if not self.onesided:
            return y
        if self.inverse:
            return slice_along(emit, y, last, 0, 1)
        return slice_along(emit, y, last - 1, 0, half)

    def _mirrored(self, emit: Emitter, x: Value) -> Value:
        """Complete a half spectrum by the conjugates of its inner part in reverse."""
        axis = result_type(x).rank - 2
        inner = slice_along(emit, x, axis, 1, self.length - self.length // 2)
        conjugate = emit(Mul(), inner, emit.constant([1.0, -1.0], "float64"))
        return emit(Concat(axis), x, emit(Reverse((axis,)), conjugate))


@dataclass(frozen=True)
class Stft(Composite):
    """Fourier transforms of frames of a signal, each multiplied by a window.

    Shapes: signal (B, L, C) with C as for :class:`Dft`; optional window (``length``).
        Result: (B, F, K, 2) with ``F = (L - length) // step + 1`` frames and K the length, or
        ``length // 2 + 1`` if ``onesided``. ONNX: STFT-17.
    """

    name: ClassVar[str] = "stft"
    step: int
    length: int
    onesided: bool = True

    def expand(self, emit: Emitter, *inputs: Value) -> Values:
        """Gather the frames, multiply, transform."""
        signal, *window = inputs
        type = result_type(signal)
        if type.rank != 3 or not 1 <= self.length <= type.dims[1] or self.step < 1:
            raise self.error(
                f"cannot cut frames of {self.length} with step {self.step} from {type}, "
                "which must be (batch, length, 1 or 2)"
            )
        count = (type.dims[1] - self.length) // self.step + 1
        starts = self.step * np.arange(count)
        frames = emit(Gather(1), signal, emit.constant(starts[:, None] + np.arange(self.length)))
        frames = frames if type.dtype == "float64" else emit(Cast("float64"), frames)
        for w in window:
            column = expand_axes(emit, w, (1,))
            frames = emit(Mul(), frames, emit(Cast("float64"), column))
        y = emit(Dft(2, self.length, onesided=self.onesided), frames)
        return (y if type.dtype == "float64" else emit(Cast(type.dtype), y),)


def transform(emit: Emitter, x: Value, sign: int) -> Value:
    """Emit ``sum_n x[r, n] e**(sign 2 pi i k n / N)`` of complex float64 rows (R, N, 2)."""
    rows, size, _ = result_type(x).dims
    factor = _factor(size)
    if size <= DIRECT or (factor == size and size <= CHIRP):
        matrix = emit.constant(_matrix(size, sign))
        product = emit(MatMul(), emit(Reshape((rows, 2 * size)), x), matrix)
        return emit(Reshape((rows, size, 2)), product)
    if factor == size:
        return _chirp(emit, x, sign)
    return _split(emit, x, sign, factor)


def _split(emit: Emitter, x: Value, sign: int, count: int) -> Value:
    """Transform ``count`` interleaved parts and combine them."""
    rows, size, _ = result_type(x).dims
    part = size // count
    # n = part * n1 + n2 and k = k1 + count * k2: first over n1, then over n2.
    columns = emit(Transpose((0, 2, 1, 3)), emit(Reshape((rows, count, part, 2)), x))
    inner = transform(emit, emit(Reshape((rows * part, count, 2)), columns), sign)
    inner = emit(Reshape((rows, part, count, 2)), inner)
    inner = _times(emit, inner, _roots(np.outer(np.arange(part), np.arange(count)), size, sign))
    outer = emit(Transpose((0, 2, 1, 3)), inner)
    outer = transform(emit, emit(Reshape((rows * count, part, 2)), outer), sign)
    outer = emit(Transpose((0, 2, 1, 3)), emit(Reshape((rows, count, part, 2)), outer))
    return emit(Reshape((rows, size, 2)), outer)


def _chirp(emit: Emitter, x: Value, sign: int) -> Value:
    """Transform a prime length: ``2 k n = k**2 + n**2 - (k - n)**2`` makes it a convolution."""
    _, size, _ = result_type(x).dims
    padded = 1 << (2 * size - 2).bit_length()
    chirp = _roots(np.arange(size) ** 2, 2 * size, sign)
    response = np.zeros(padded, np.complex128)
    response[:size] = chirp.conj()
    response[padded - size + 1 :] = chirp.conj()[:0:-1]
    spectrum = np.fft.fft(response) / padded
    extended = emit(Pad((0, 0, 0), (0, padded - size, 0)), _times(emit, x, chirp))
    product = _times(emit, transform(emit, extended, -1), spectrum)
    convolved = slice_along(emit, transform(emit, product, 1), 1, 0, size)
    return _times(emit, convolved, chirp)


def _times(emit: Emitter, x: Value, factor: Array) -> Value:
    """Emit complex ``x`` times a complex constant that broadcasts to it."""
    real = emit.constant(factor.real[..., None].copy())
    turned = emit.constant(np.stack([-factor.imag, factor.imag], -1))
    swapped = emit(Reverse((result_type(x).rank - 1,)), x)
    return emit(Add(), emit(Mul(), x, real), emit(Mul(), swapped, turned))


def _complex(emit: Emitter, x: Value) -> Value:
    """Emit real numbers (..., 1) as complex ones (..., 2)."""
    type = result_type(x)
    if type.dims[-1] == 2:
        return x
    return emit(Pad((0,) * type.rank, (*(0 for _ in type.dims[1:]), 1)), x)


def _fitted(emit: Emitter, x: Value, size: int) -> Value:
    """Emit ``x`` cropped or continued by zeros to a size of the second last axis."""
    type = result_type(x)
    axis, missing = type.rank - 2, size - type.dims[-2]
    if missing <= 0:
        return slice_along(emit, x, axis, 0, size)
    high = tuple(missing if k == axis else 0 for k in range(type.rank))
    return emit(Pad((0,) * type.rank, high), x)


def _factor(size: int) -> int:
    """Return a divisor: the largest up to ``DIRECT``, or the number itself if it is prime.

    >>> _factor(96), _factor(127), _factor(2 * 127)
    (48, 127, 2)
    """
    return next((d for d in range(min(DIRECT, size // 2), 1, -1) if size % d == 0), size)


def _roots(exponents: Array, size: int, sign: int) -> Array:
    """Return ``e**(sign 2 pi i m / N)``, with ``m`` reduced first so that no digits are lost."""
    return np.exp(sign * 2j * np.pi * (exponents % size) / size)


def _matrix(size: int, sign: int) -> Array:
    """Return the transform of interleaved real and imaginary parts as a matrix (2 N, 2 N)."""
    roots = _roots(np.outer(np.arange(size), np.arange(size)), size, sign)
    blocks = np.array([[roots.real, roots.imag], [-roots.imag, roots.real]])
    return np.ascontiguousarray(blocks.transpose(2, 0, 3, 1).reshape(2 * size, 2 * size))


__all__ = ["Dft", "Stft"]
