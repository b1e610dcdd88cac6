# SPDX-License-Identifier: MIT
"""Statistics of feature maps slab by slab, and normalisation by them: each a pass over memory."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ..op import Composite, Op, Types, Values
from ..types import TensorType, Type
from .arithmetic import Add, Mul, Sub
from .elementary import Rsqrt
from .elementwise import result_type
from .normalization import channels
from .reduction import ReduceMean, ReduceSum
from .shape import BroadcastTo, Concat, Reshape, Transpose, expand_axes, slice_along

if TYPE_CHECKING:
    from ..emitter import Emitter
    from ..graph import Value

_POSITIONS = 64
"""Fewer positions do not make a slab: there would be as many sums as elements to add."""


@dataclass(frozen=True)
class SlabMoments(Composite):
    """Mean and sum of squared deviations of every channel of each sample, slab by slab.

    A slab is a few neighbouring indices of the first spatial axis (:func:`slabs_of`). Moments of
    slabs combine to those of the whole (:class:`PooledMoments`, :class:`NormaliseByMoments`);
    each is exact to rounding because it is centred on the slab's own mean.

    Shapes: x (N, C, D1, ...). Result: (N, slabs, 2, C).

    References:
        Chan, Golub, LeVeque, Updating formulae and a pairwise algorithm for computing sample
        variances, COMPSTAT 1982.
    """

    name: ClassVar[str] = "slab_moments"

    def infer(self, *inputs: Type) -> Types:
        """Return the moments' type."""
        (x,) = self.tensors(inputs, 1)
        _check_feature_map(self, x)
        return (TensorType(x.dtype, (x.dims[0], slabs_of(x.dims), 2, x.dims[1])),)

    def expand(self, emit: Emitter, *inputs: Value) -> Values:
        """Reduce each slab."""
        rows = _in_slabs(emit, inputs[0])
        mean = expand_axes(emit, emit(ReduceMean((3,)), rows), (3,))
        centred = emit(Sub(), rows, mean)
        squares = expand_axes(emit, emit(ReduceSum((3,)), emit(Mul(), centred, centred)), (3,))
        return (emit(Transpose((0, 2, 3, 1)), emit(Concat(3), mean, squares)),)


@dataclass(frozen=True)
class PooledMoments(Composite):
    """Mean and variance of every channel's group of channels, from moments of slabs.

    ``mean = E[mean_s]``, ``variance = (sum squares_s + n_s (mean_s - mean)**2) / n`` over the
    slabs and channels of a group, with ``batch`` over those of all samples.

    Shapes: moments (N, slabs, 2, C) as :class:`SlabMoments` gives them. Result: (N, 2, C), with
        ``batch`` (1, 2, C); channels of a group have equal numbers.

    Attributes:
        size: positions of a slab.
        groups: groups of channels; C for a batch or instance norm.
        batch: whether samples are taken together.
    """

    name: ClassVar[str] = "pooled_moments"
    size: int
    groups: int
    batch: bool = False

    def infer(self, *inputs: Type) -> Types:
        """Return the statistics' type."""
        (moments,) = self.tensors(inputs, 1)
        if moments.rank != 4 or moments.dims[2] != 2:
            raise self.error(f"expected moments (N, slabs, 2, C), found {moments}")
        if self.size < 1 or self.groups < 1 or moments.dims[3] % self.groups:
            raise self.error(f"size={self.size} and groups={self.groups} do not fit {moments}")
        samples = 1 if self.batch else moments.dims[0]
        return (TensorType(moments.dtype, (samples, 2, moments.dims[3])),)

    def expand(self, emit: Emitter, *inputs: Value) -> Values:
        """Combine the moments of slabs and channels, then repeat them for the channels."""
        (moments,) = inputs
        samples, slabs, _, channels = result_type(moments).dims
        members = channels // self.groups
        means, squares = (
            emit(
                Reshape((samples, slabs, self.groups, members)),
                slice_along(emit, moments, 2, k, k + 1),
            )
            for k in (0, 1)
        )
        axes = (0, 1, 3) if self.batch else (1, 3)
        mean = expand_axes(emit, emit(ReduceMean(axes), means), axes)
        off = emit(Sub(), means, mean)
        spread = emit(Mul(), emit(Mul(), off, off), emit.scalar_like(self.size, off))
        total = emit(ReduceMean(axes), emit(Add(), squares, spread))
        variance = emit(Mul(), total, emit.scalar_like(1 / self.size, total))
        kept = result_type(mean).dims[0]
        both = [
            emit(BroadcastTo((kept, 1, self.groups, members)), v)
            for v in (mean, expand_axes(emit, variance, axes))
        ]
        rows = [emit(Reshape((kept, 1, channels)), v) for v in both]
        return (emit(Concat(1), *rows),)


@dataclass(frozen=True)
class SlabSums(Composite):
    """Sums of every channel of each sample, slab by slab, of several tensors in one pass.

    Shapes: operands (N, C, D1, ...), all alike. Result: (N, slabs, operands, C), with slabs as
        :class:`SlabMoments` has them.
    """

    name: ClassVar[str] = "slab_sums"

    def infer(self, *inputs: Type) -> Types:
        """Return the sums' type."""
        types = self.tensors(inputs)
        if not types or len(set(types)) > 1:
            raise self.error(f"expected operands of one type, found {list(map(str, types))}")
        x = types[0]
        _check_feature_map(self, x)
        return (TensorType(x.dtype, (x.dims[0], slabs_of(x.dims), len(types), x.dims[1])),)

    def expand(self, emit: Emitter, *inputs: Value) -> Values:
        """Reduce each slab of each operand."""
        sums = [expand_axes(emit, emit(ReduceSum((3,)), _in_slabs(emit, x)), (3,)) for x in inputs]
        joined = emit(Concat(3), *sums) if len(sums) > 1 else sums[0]
        return (emit(Transpose((0, 2, 3, 1)), joined),)


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
    """Return how many slabs a tensor (N, C, D1, ...) has.

    All have as many lines along the first spatial axis, the fewest that make 64 positions; a
    tensor with one spatial axis is one slab.

    >>> slabs_of((1, 8, 12, 128)), slabs_of((1, 8, 12, 16)), slabs_of((1, 8, 100))
    (12, 3, 1)
    """
    lines, line = dims[2], math.prod(dims[3:])
    if len(dims) == 3 or not lines:
        return 1
    whole = (k for k in range(1, lines) if lines % k == 0 and k * line >= _POSITIONS)
    return lines // next(whole, lines)


def _in_slabs(emit: Emitter, x: Value) -> Value:
    """Emit ``x`` as (N, C, slabs, positions)."""
    dims = result_type(x).dims
    slabs = slabs_of(dims)
    return emit(Reshape((*dims[:2], slabs, math.prod(dims[2:]) // slabs)), x)


def _check_feature_map(op: Op, x: TensorType) -> None:
    if x.rank < 3 or not x.is_static:
        raise op.error(f"expected a static (N, C, D1, ...), found {x}")


__all__ = ["NormaliseByMoments", "PooledMoments", "SlabMoments", "SlabSums"]
