# SPDX-License-Identifier: MIT
"""Windows that slide over spatial axes: the geometry that convolution and pooling share."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..op import Op
from ..types import Array

Ints = tuple[int, ...]


@dataclass(frozen=True)
class Sliding:
    """A window of elements that moves over padded, perhaps dilated data; all per spatial axis.

    Element ``k`` of the window at position ``p`` lies at ``p * strides + k * dilation - low``
    of the data whose elements are ``input_dilation`` apart.

    >>> s = Sliding((3,), strides=(2,), low=(1,), high=(1,), dilation=(1,), input_dilation=(1,))
    >>> s.positions((8,))
    (4,)
    """

    window: Ints
    strides: Ints
    low: Ints
    high: Ints
    dilation: Ints
    input_dilation: Ints

    def padded(self, size: Ints) -> Ints:
        """Return the size of dilated and padded data."""
        return tuple(
            max(span(n, i) + low + high, 0)
            for n, i, low, high in zip(size, self.input_dilation, self.low, self.high, strict=True)
        )

    def positions(self, size: Ints) -> Ints:
        """Return how many positions the window has over data of this size."""
        return tuple(
            max((n - span(k, d)) // s + 1, 0)
            for n, k, d, s in zip(
                self.padded(size), self.window, self.dilation, self.strides, strict=True
            )
        )

    def transposed(self, size: Ints) -> Sliding:
        """Return how a reversed window moves over the results to get back to data of ``size``.

        This is the geometry of gradients and of transposed convolution.
        """
        results = self.positions(size)
        reach = tuple((k - 1) * d for k, d in zip(self.window, self.dilation, strict=True))
        low = tuple(r - a for r, a in zip(reach, self.low, strict=True))
        high = tuple(
            span(n, i) + r - span(p, s) - a
            for n, i, r, p, s, a in zip(
                size, self.input_dilation, reach, results, self.strides, low, strict=True
            )
        )
        return Sliding(self.window, self.input_dilation, low, high, self.dilation, self.strides)

    @property
    def taps(self) -> Iterator[Ints]:
        """Every position inside the window, in row-major order."""
        return itertools.product(*map(range, self.window))


def span(count: int, step: int) -> int:
    """Return how many elements ``count`` elements cover that are ``step`` apart."""
    return (count - 1) * step + 1 if count else 0


def check_sliding(op: Op, sliding: Sliding, rank: int) -> None:
    """Raise unless every field has one entry for each of ``rank`` axes and steps are positive."""
    fields = {
        "window": sliding.window,
        "strides": sliding.strides,
        "low": sliding.low,
        "high": sliding.high,
        "dilation": sliding.dilation,
        "input_dilation": sliding.input_dilation,
    }
    for name, values in fields.items():
        if len(values) != rank:
            raise op.error(f"{name}={values} must have one entry for each of {rank} spatial axes")
        if name not in ("low", "high", "window") and min(values, default=1) < 1:
            raise op.error(f"{name}={values} must be positive")
    if min(sliding.window, default=1) < 0:
        raise op.error(f"window={sliding.window} must not be negative")


def padded(x: Array, sliding: Sliding, fill: object) -> Array:
    """Return data (N, C, spatial...) dilated and padded with ``fill``."""
    size = sliding.padded(x.shape[2:])
    result = np.full((*x.shape[:2], *size), fill, x.dtype)
    source, target = [slice(None)] * 2, [slice(None)] * 2
    for n, total, low, step in zip(
        x.shape[2:], size, sliding.low, sliding.input_dilation, strict=True
    ):
        first = max(-(low // step), 0)  # the first element that cropping leaves
        count = max(min(n - first, (total - 1 - low) // step + 1 - first), 0)
        start = first * step + low
        source.append(slice(first, first + count))
        target.append(slice(start, start + count * step, step) if count else slice(0, 0))
    result[tuple(target)] = x[tuple(source)]
    return result


def windows(x: Array, sliding: Sliding, fill: object) -> Iterator[tuple[Ints, Array]]:
    """Yield each window element and the data that it sees at all positions, (N, C, P...)."""
    data = padded(x, sliding, fill)
    positions = sliding.positions(x.shape[2:])
    for tap in sliding.taps:
        steps = zip(tap, sliding.dilation, positions, sliding.strides, strict=True)
        at = [
            slice(k * d, k * d + (p - 1) * s + 1, s) if p else slice(0, 0) for k, d, p, s in steps
        ]
        seen = (slice(None), slice(None), *at)
        yield tap, data[seen]
