# SPDX-License-Identifier: MIT
"""What the templates of convolutions share: the group they compute and its sizes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from ...ir.graph import Node
from ...ir.ops import Conv
from ...ir.ops.fused import Fused
from ...ir.types import Array
from ..values import dims
from ..views import ANY, Dims, Halo, Order, Request, View
from .base import Plan, VectorUnit, Written
from .emitter import KernelEmitter, emitting
from .epilogue import Anchored, anchored
from .phases import Axis, axes_of, halo_around

_MANY_CHANNELS = 4


@dataclass(frozen=True)
class Convolved:
    """A group around a convolution.

    Attributes:
        group: the convolution and what follows it.
        data: number of the operand that is convolved.
        weights: number of the operand that holds the weights.
        computed: whether weights are no constants.
    """

    group: Anchored
    data: int
    weights: int
    computed: bool

    @property
    def op(self) -> Conv:
        """The convolution."""
        assert isinstance(self.group.anchor.op, Conv)
        return self.group.anchor.op

    @cached_property
    def input_shape(self) -> Dims:
        """Shape (N, C, spatial...) of the data."""
        return dims(self.group.anchor.inputs[0])

    @cached_property
    def weight_shape(self) -> Dims:
        """Shape (O, C / groups, window...) of the weights."""
        return dims(self.group.anchor.inputs[1])

    @cached_property
    def output_shape(self) -> Dims:
        """Shape (N, O, spatial...) of the result."""
        return dims(self.group.anchor.output)

    @cached_property
    def axes(self) -> tuple[Axis, ...]:
        """How windows move along the spatial axes."""
        return axes_of(self.op, self.weight_shape[2:], self.output_shape[2:])

    @property
    def is_spread(self) -> bool:
        """Whether elements of the data lie apart: whether it is a transposed convolution."""
        return set(self.op.input_dilation) != {1}


def convolved(node: Node, arrays: Mapping[str, Array]) -> Convolved | None:
    """Return a group as a convolution of float32, if it is one."""
    assert isinstance(node.op, Fused)
    group = anchored(node.op.body, lambda n: isinstance(n.op, Conv))
    if group is None:
        return None
    inputs = node.op.body.inputs
    data, weights = (inputs.index(v) for v in group.anchor.inputs)
    if data == weights:
        return None
    return Convolved(group, data, weights, node.inputs[weights].name not in arrays)


@dataclass(frozen=True, eq=False)
class ConvolutionPlan(Plan):
    """Base of plans of convolutions: what they ask of their operands, and how they are built.

    Attributes:
        conv: the group.
        unit: the processor core.
    """

    conv: Convolved
    unit: VectorUnit

    @property
    def data_order(self) -> Order:
        """How data should lie: channels together where there are many."""
        return "channels_last" if self.conv.input_shape[1] >= _MANY_CHANNELS else "any"

    @cached_property
    def halo(self) -> Halo:
        """Zeros that windows reach around the data."""
        return halo_around(self.conv.axes, self.conv.input_shape)

    @property
    def operands(self) -> Sequence[Request]:
        """Data with zeros around it; whatever else as it lies."""
        requests = [ANY] * len(self.conv.group.body.inputs)
        requests[self.conv.data] = Request(self.data_order, self.halo)
        return requests

    @property
    def strided(self) -> frozenset[int]:
        """What only the epilogue reads."""
        return frozenset(self.conv.group.extra)

    def build(self, views: Sequence[View]) -> Written:
        """Write the kernel."""
        with emitting(self.unit.lanes, self.conv.group.dtypes) as (emission, emit):
            self.write(emit, views)
        return Written(emission.function)

    @abstractmethod
    def write(self, emit: KernelEmitter, views: Sequence[View]) -> None:
        """Write what the kernel does."""

    @property
    def result(self) -> Request:
        """Channels are stored as vectors."""
        return Request(self.conv.group.order)


__all__ = ["ConvolutionPlan", "Convolved", "convolved"]
