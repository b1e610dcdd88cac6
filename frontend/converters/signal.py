# SPDX-License-Identifier: MIT
"""Fourier transforms and the mel scale; windows come from the standard's function bodies."""

from __future__ import annotations

import numpy as np

from ...ir import Array, Value, numpy_dtype, ops
from ..convert import Conversion, converter
from ..tensors import element_type


@converter("DFT")
def dft(c: Conversion) -> Value:
    """Emit the transform along an axis, an attribute before version 20 and then an operand."""
    rank = len(c.shape(0))
    if c.version < 20:
        axis = c.axis(c.attr("axis", 1), rank)
    else:
        axis = c.axis(-2 if c.optional(2) is None else _whole(c, 2), rank)
    inverse, onesided = bool(c.attr("inverse", 0)), bool(c.attr("onesided", 0))
    if c.optional(1) is not None:
        length = _whole(c, 1)
    else:
        size = c.shape(0)[axis]
        length = 2 * (size - 1) if inverse and onesided else size
    return c.emit(ops.Dft(axis, length, inverse, onesided), c.operand(0))


@converter("STFT")
def stft(c: Conversion) -> Value:
    """Emit the transforms of frames, whose length the window states if nothing else does."""
    step = _whole(c, 1)
    window = c.optional(2)
    if c.optional(3) is not None:
        length = _whole(c, 3)
    else:
        length = c.shape(0)[1] if window is None else c.shape(2)[0]
    if window is not None and c.shape(2) != (length,):
        raise c.error(f"the window has shape {list(c.shape(2))}, frame_length is {length}")
    op = ops.Stft(step, length, bool(c.attr("onesided", 1)))
    return c.emit(op, c.operand(0)) if window is None else c.emit(op, c.operand(0), window)


@converter("MelWeightMatrix")
def mel_weight_matrix(c: Conversion) -> Value:
    """Compute the matrix, all of whose operands are settings."""
    bins, length, rate = (_whole(c, k) for k in range(3))
    low, high = (_number(c, k) for k in (3, 4))
    if bins < 1 or length < 1 or rate < 1 or not 0 <= low <= high:
        raise c.error(
            f"needs positive num_mel_bins={bins}, dft_length={length}, sample_rate={rate} and "
            f"0 <= lower_edge_hertz={low} <= upper_edge_hertz={high}"
        )
    dtype = element_type(c.attr("output_datatype", 1))
    return c.emit.constant(_mel_weights(bins, length, rate, low, high).astype(numpy_dtype(dtype)))


def _number(c: Conversion, position: int) -> float:
    """Return an operand of one element as a number."""
    array = c.array(position)
    if array.size != 1:
        raise c.error(f"operand {position} must have one element, found shape {array.shape}")
    return float(array.ravel()[0])


def _whole(c: Conversion, position: int) -> int:
    return int(_number(c, position))


def _mel_weights(bins: int, length: int, rate: int, low: float, high: float) -> Array:
    """Return triangles over the bins of a half spectrum, between points equally far in mel."""
    first, last = (2595 * np.log10(1 + f / 700) for f in (low, high))
    # The standard divides by the number of points, not of intervals between them.
    mel = first + np.arange(bins + 2) * ((last - first) / (bins + 2))
    points = ((length + 1) * 700 * (10 ** (mel / 2595) - 1) // rate).astype(np.int64)
    position = np.arange(length // 2 + 1)[:, None]
    left, peak, right = points[:-2], points[1:-1], points[2:]
    rising = np.where(peak > left, (position - left) / np.maximum(peak - left, 1), 1)
    falling = (right - position) / np.maximum(right - peak, 1)
    weights = np.where(position <= peak, rising, falling)
    inside = (position >= left) & ((position < right) | (position == peak))
    return np.where(inside, weights, 0)
