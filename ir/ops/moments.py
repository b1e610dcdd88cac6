# SPDX-License-Identifier: MIT
"""Normalisation by a sample's own statistics in two steps, each a pass over memory."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ..op import Composite, Types, Values
from ..types import TensorType, Type
from .arithmetic import Add, Mul, Sub
from .elementary import Rsqrt
from .elementwise import result_type
from .normalization import channels
from .reduction import ReduceMean, ReduceSum
from .shape import Concat, Reshape, Transpose, expand_axes, slice_along

if TYPE_CHECKING:
    from ..emitter import Emitter
    from ..graph import Value


@dataclass(frozen=True)
class SlabMoments(Composite):
    """Mean and sum of squared deviations of every channel of each sample, slab by slab.

    A slab is one index of the first spatial axis, or all where there is but one spatial axis.
    Moments of slabs combine to those of the whole (:class:`NormaliseByMoments`); each is
    exact to rounding because it is centred on the slab's own mean.

    Shapes: x (N, C, D1, ...). Result: (N, slabs, 2, C).

    References:
        Chan, Golub, LeVeque, Updating formulae and a pairwise algorithm for computing sample
        variances, COMPSTAT 1982.
    """

    name: ClassVar[str] = "slab_moments"

    def infer(self, *inputs: Type) -> Types:
        """Return the moments' type."""
        (x,) = self.tensors(inputs, 1)
        if x.rank < 3 or not x.is_static:
            raise self.error(f"expected a static (N, C, D1, ...), found {x}")
        return (TensorType(x.dtype, (x.dims[0], slabs_of(x.dims), 2, x.dims[1])),)

    def expand(self, emit: Emitter, *inputs: Value) -> Values:
        """Reduce each slab."""
        (x,) = inputs
        dims = result_type(x).dims
        slabs = slabs_of(dims)
        rows = emit(Reshape((*dims[:2], slabs, math.prod(dims[2:]) // slabs)), x)
        mean = expand_axes(emit, emit(ReduceMean((3,)), rows), (3,))
        centred = emit(Sub(), rows, mean)
        squares = expand_axes(emit, emit(ReduceSum((3,)), emit(Mul(), centred, centred)), (3,))
        return (emit(Transpose((0, 2, 3, 1)), emit(Concat(3), mean, squares)),)


@dataclass(frozen=True)
class NormaliseByMoments(Composite):
    """``y = (x - mean) / sqrt(variance + epsilon) * scale + bias`` by given moments.

    Mean and variance of each sample's groups of neighbouring channels are combined from those
    of slabs: ``mean = E[mean_s]``, ``variance = (sum squares_s + n_s (mean_s - mean)**2) / n``.

    Shapes: x (N, C, D1, ...), moments as :class:`SlabMoments` gives them, scale and bias (C).

    Attributes:
        groups: groups of channels; C for an instance norm.
        epsilon: added to the variance.
    """

    name: ClassVar[str] = "normalise_by_moments"
    groups: int = 1
    epsilon: float = 1e-5

    def infer(self, *inputs: Type) -> Types:
        """Return the type of ``x``."""
        x, moments, scale, bias = self.tensors(inputs, 4)
        channels = x.dims[1]
        expected = SlabMoments().infer(x)[0]
        if moments != expected or self.groups < 1 or channels % self.groups:
            raise self.error(f"{moments} are not the moments of {x}, or groups do not divide them")
        if {scale, bias} != {TensorType(x.dtype, (channels,))}:
            raise self.error(f"expected a scale and bias per channel, found {scale} and {bias}")
        return (x,)

    def expand(self, emit: Emitter, *inputs: Value) -> Values:
        """Combine the moments of a group's slabs and channels, then normalise."""
        x, moments, scale, bias = inputs
        dims = result_type(x).dims
        means, squares = (self._grouped(emit, moments, k, dims) for k in (0, 1))
        count = math.prod(dims[2:]) // slabs_of(dims)
        mean = emit(ReduceMean((2,)), means)
        off = emit(Sub(), means, expand_axes(emit, mean, (2,)))
        spread = emit(Mul(), emit(Mul(), off, off), emit.scalar_like(count, off))
        total = emit(ReduceMean((2,)), emit(Add(), squares, spread))
        variance = emit(Mul(), total, emit.scalar_like(1 / count, total))
        inverse = emit(Rsqrt(), emit(Add(), variance, emit.scalar_like(self.epsilon, variance)))
        rows = (dims[0], self.groups, dims[1] // self.groups, *dims[2:])
        axes = tuple(range(2, len(rows)))
        centred = emit(Sub(), emit(Reshape(rows), x), expand_axes(emit, mean, axes))
        normal = emit(Mul(), centred, expand_axes(emit, inverse, axes))
        scaled = emit(Mul(), emit(Reshape(dims), normal), channels(emit, scale, x))
        return (emit(Add(), scaled, channels(emit, bias, x)),)

    def _grouped(self, emit: Emitter, moments: Value, number: int, dims: tuple[int, ...]) -> Value:
        """Emit one of the moments as (N, groups, slabs and channels of the group)."""
        one = emit(Transpose((0, 3, 1, 2)), slice_along(emit, moments, 2, number, number + 1))
        members = dims[1] // self.groups * slabs_of(dims)
        return emit(Reshape((dims[0], self.groups, members)), one)


def slabs_of(dims: tuple[int, ...]) -> int:
    """Return how many slabs a tensor (N, C, D1, ...) has."""
    return dims[2] if len(dims) > 3 else 1


__all__ = ["NormaliseByMoments", "SlabMoments"]
