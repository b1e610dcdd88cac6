# SPDX-License-Identifier: MIT
"""Convolution in any number of spatial dimensions, transposed and deformable convolution."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..op import Arrays, Composite, Cotangents, Kind, Op, Types, Values
from ..types import FLOATS, Array, TensorType, Type, numpy_dtype
from .elementwise import result_type
from .linear import aligned, cast_like, product_dtype
from .reduction import in_64_bits
from .shape import Reshape, Reverse, Transpose
from .sliding import Sliding, check_sliding, windows

if TYPE_CHECKING:
    from ..emitter import Emitter
    from ..graph import Value


@dataclass(frozen=True)
class Conv(Op):
    """Convolution (correlation) of data with weights; zeros surround the data.

    ``z[n, o, p] = sum_{c, k} x'[n, c, p * strides + k * dilation] * w[o, c, k]``, where
    ``x'`` is ``x`` with ``input_dilation - 1`` zeros between elements, then ``low`` and
    ``high`` zeros around them; a negative number crops. The ``c`` of output channel ``o`` are
    the input channels of its group. Floats narrower than float32 are added up in float32 and
    rounded once; integers wrap around.

    Shapes: x (N, C, S...), w (O, C / groups, K...), result (N, O, P...).
    Gradient: a convolution of ``dz`` with reversed weights, its ``input_dilation`` and
    ``strides`` exchanged, and a :class:`ConvWeightGradient`. ONNX: Conv-22, ConvInteger-10
    (with ``accumulate``); the bias is an Add.

    Attributes:
        strides: step between windows, per spatial axis.
        low: zeros before the first element.
        high: zeros after the last element.
        dilation: distance between the elements of a window.
        input_dilation: distance between the elements of the data.
        groups: channels are split into this many independent convolutions.
        accumulate: element type of the result if it is not that of both operands.
    """

    name: ClassVar[str] = "conv"
    kind: ClassVar[Kind] = Kind.REDUCTION
    strides: tuple[int, ...]
    low: tuple[int, ...]
    high: tuple[int, ...]
    dilation: tuple[int, ...]
    input_dilation: tuple[int, ...]
    groups: int = 1
    accumulate: str | None = None

    def sliding(self, window: tuple[int, ...]) -> Sliding:
        """How windows of this size move over the data."""
        return Sliding(
            window, self.strides, self.low, self.high, self.dilation, self.input_dilation
        )

    def infer(self, *inputs: Type) -> Types:
        """Return the type of the result."""
        x, w = self.tensors(inputs, 2)
        dtype = product_dtype(self, x, w, self.accumulate)
        if x.rank < 3 or w.rank != x.rank:
            raise self.error(
                f"data must be (N, C, spatial...) and weights (O, C / groups, spatial...), "
                f"found {x} and {w}"
            )
        check_groups(self, x.dims[1], w.dims[0], w.dims[1], self.groups)
        sliding = self.sliding(w.dims[2:])
        check_sliding(self, sliding, x.rank - 2)
        return (TensorType(dtype, (x.dims[0], w.dims[0], *sliding.positions(x.dims[2:]))),)

    def evaluate(self, *inputs: Any) -> Arrays:
        """Add up one matrix product per weight position, in 64 bits, and round once."""
        x, w = inputs
        dtype = numpy_dtype(self.accumulate) if self.accumulate else x.dtype
        data, weights = aligned(in_64_bits(x), in_64_bits(w))
        weights = weights.reshape(self.groups, w.shape[0] // self.groups, *w.shape[1:])
        sliding = self.sliding(w.shape[2:])
        positions = sliding.positions(x.shape[2:])
        count = math.prod(positions)
        total = np.zeros((x.shape[0], *weights.shape[:2], count), data.dtype)
        for tap, seen in windows(data, sliding, 0):
            columns = seen.reshape(x.shape[0], self.groups, w.shape[1], count)
            total += np.matmul(weights[(slice(None),) * 3 + tap], columns)
        return (total.reshape(x.shape[0], w.shape[0], *positions).astype(dtype),)

    def vjp(
        self, emit: Emitter, inputs: Values, outputs: Values, cotangents: Cotangents
    ) -> Cotangents:
        """Return the gradients for data and weights."""
        (dz,) = cotangents
        x, w = inputs
        if dz is None or result_type(x).dtype not in FLOATS:
            return (None, None)
        dx = self.data_gradient(emit, result_type(x), cast_like(emit, w, dz), dz)
        gradient = ConvWeightGradient(
            result_type(w).dims[2:],
            self.strides,
            self.low,
            self.high,
            self.dilation,
            self.input_dilation,
            self.groups,
        )
        dw = emit(gradient, cast_like(emit, x, dz), dz)
        return cast_like(emit, dx, x), cast_like(emit, dw, w)

    def data_gradient(self, emit: Emitter, x: TensorType, w: Value, dz: Value) -> Value:
        """Emit the gradient for data of type ``x``: a convolution of that for the result."""
        back = self.sliding(result_type(w).dims[2:]).transposed(x.dims[2:])
        conv = Conv(
            back.strides, back.low, back.high, back.dilation, back.input_dilation, self.groups
        )
        return emit(conv, dz, transpose_weights(emit, w, self.groups))

    def flops(self, *inputs: Type) -> int:
        """Two operations per product with an element that is not a zero between elements."""
        _, w = self.tensors(inputs, 2)
        (z,) = self.infer(*inputs)
        assert isinstance(z, TensorType)
        return 2 * z.size * math.prod(w.dims[1:]) // math.prod(self.input_dilation)


@dataclass(frozen=True)
class ConvWeightGradient(Op):
    """The gradient of a convolution for its weights.

    ``dw[o, c, k] = sum_{n, p} x'[n, c, p * strides + k * dilation] * dz[n, o, p]``, where
    ``x'`` and the ``c`` of output channel ``o`` are those of :class:`Conv`. It is linear in both
    operands. Floats narrower than float32 are added up in float32 and rounded once.

    Shapes: x (N, C, S...), dz (N, O, P...), result (O, C / groups, K...).
    Gradient: for ``x`` that of the convolution with the cotangent as weights, for ``dz`` that
    convolution itself.

    Attributes:
        window: the spatial sizes K of the weights.
        strides: of the convolution, like all that follow.
        low: zeros before the first element.
        high: zeros after the last element.
        dilation: distance between the elements of a window.
        input_dilation: distance between the elements of the data.
        groups: channels are split into this many independent convolutions.
    """

    name: ClassVar[str] = "conv_weight_gradient"
    kind: ClassVar[Kind] = Kind.REDUCTION
    window: tuple[int, ...]
    strides: tuple[int, ...]
    low: tuple[int, ...]
    high: tuple[int, ...]
    dilation: tuple[int, ...]
    input_dilation: tuple[int, ...]
    groups: int = 1

    @property
    def convolution(self) -> Conv:
        """The convolution whose gradient this is."""
        return Conv(
            self.strides, self.low, self.high, self.dilation, self.input_dilation, self.groups
        )

    @property
    def sliding(self) -> Sliding:
        """How windows move over the data."""
        return self.convolution.sliding(self.window)

    def infer(self, *inputs: Type) -> Types:
        """Return the type of the weights."""
        x, dz = self.tensors(inputs, 2)
        dtype = product_dtype(self, x, dz, None)
        if x.rank < 3 or dz.rank != x.rank:
            raise self.error(
                f"data must be (N, C, spatial...) and the gradient (N, O, positions...), "
                f"found {x} and {dz}"
            )
        check_sliding(self, self.sliding, x.rank - 2)
        expected = (x.dims[0], *self.sliding.positions(x.dims[2:]))
        if (dz.dims[0], *dz.dims[2:]) != expected:
            raise self.error(
                f"the gradient has batch and positions {(dz.dims[0], *dz.dims[2:])}, windows "
                f"of {self.window} over {x} have {expected}"
            )
        channels, outputs = x.dims[1], dz.dims[1]
        check_groups(self, channels, outputs, channels // max(self.groups, 1), self.groups)
        return (TensorType(dtype, (outputs, channels // self.groups, *self.window)),)

    def evaluate(self, *inputs: Any) -> Arrays:
        """Add up one matrix product per weight position, in 64 bits, and round once."""
        x, dz = inputs
        batch, outputs = dz.shape[:2]
        channels = x.shape[1] // self.groups
        count = math.prod(dz.shape[2:])
        rows = in_64_bits(dz).reshape(batch, self.groups, outputs // self.groups, count)
        total: Array = np.zeros((*rows.shape[1:3], channels, *self.window), rows.dtype)
        for tap, seen in windows(in_64_bits(x), self.sliding, 0):
            columns = seen.reshape(batch, self.groups, channels, count).swapaxes(2, 3)
            total[(slice(None),) * 3 + tap] = np.matmul(rows, columns).sum(axis=0)
        return (total.reshape(outputs, channels, *self.window).astype(x.dtype),)

    def vjp(
        self, emit: Emitter, inputs: Values, outputs: Values, cotangents: Cotangents
    ) -> Cotangents:
        """Return the gradients for data and for the gradient of the result."""
        (dw,) = cotangents
        x, dz = inputs
        if dw is None or result_type(x).dtype not in FLOATS:
            return (None, None)
        conv = self.convolution
        return conv.data_gradient(emit, result_type(x), dw, dz), emit(conv, x, dw)

    def flops(self, *inputs: Type) -> int:
        """As many as the convolution has."""
        x, _ = self.tensors(inputs, 2)
        return self.convolution.flops(x, *self.infer(*inputs))


def check_groups(op: Op, channels: int, outputs: int, per_group: int, groups: int) -> None:
    """Raise unless the channel counts of data and weights fit the number of groups."""
    if groups < 1 or outputs % groups:
        raise op.error(f"{outputs} output channels do not split into groups={groups}")
    if per_group * groups != channels:
        raise op.error(
            f"weights have {per_group} input channels per group, data has {channels} in "
            f"groups={groups}"
        )


def transpose_weights(emit: Emitter, w: Value, groups: int) -> Value:
    """Emit weights (O, C / groups, K...) as (C, O / groups, K...) with the window reversed."""
    shape = result_type(w).dims
    outputs, per_group, window = shape[0] // groups, shape[1], shape[2:]
    if groups > 1:
        split = emit(Reshape((groups, outputs, per_group, *window)), w)
        order = (0, 2, 1, *range(3, len(shape) + 1))
        merged = (groups * per_group, outputs, *window)
        swapped = emit(Reshape(merged), emit(Transpose(order), split))
    else:
        swapped = emit(Transpose((1, 0, *range(2, len(shape)))), w)
    return emit(Reverse(tuple(range(2, len(shape)))), swapped)


@dataclass(frozen=True)
class ConvTranspose(Composite):
    """The transpose of a convolution: every element of ``x`` adds a scaled window of weights.

    ``z[n, o, p * strides + k * dilation - low] += x[n, c, p] * w[c, o, k]``, a Conv with
    ``input_dilation`` and reversed weights.

    Shapes: x (N, C, S...), w (C, O / groups, K...), result (N, O, P...) with
    ``P = (S - 1) * strides + (K - 1) * dilation + 1 - low - high``. ONNX: ConvTranspose-22;
    its output padding is subtracted from ``high``.

    Attributes:
        strides: distance between the windows of neighbouring elements.
        low: elements cut off before, per spatial axis; a negative number adds zeros.
        high: elements cut off after.
        dilation: distance between the elements of a window.
        groups: channels are split into this many independent convolutions.
    """

    name: ClassVar[str] = "conv_transpose"
    strides: tuple[int, ...]
    low: tuple[int, ...]
    high: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int = 1

    def expand(self, emit: Emitter, *inputs: Value) -> Values:
        """Emit the convolution."""
        types = self.tensors(tuple(v.type for v in inputs), 2)
        x, w = types
        spatial = x.rank - 2
        if spatial < 1 or w.rank != x.rank or w.dims[0] != x.dims[1]:
            raise self.error(
                f"data must be (N, C, spatial...) and weights (C, O / groups, spatial...), "
                f"found {x} and {w}"
            )
        if x.dims[1] % self.groups:
            raise self.error(f"{x.dims[1]} channels do not split into groups={self.groups}")
        reach = tuple((k - 1) * d for k, d in zip(w.dims[2:], self.dilation, strict=True))
        conv = Conv(
            (1,) * spatial,
            tuple(r - a for r, a in zip(reach, self.low, strict=True)),
            tuple(r - a for r, a in zip(reach, self.high, strict=True)),
            self.dilation,
            self.strides,
            self.groups,
        )
        return (emit(conv, inputs[0], transpose_weights(emit, inputs[1], self.groups)),)


__all__ = ["Conv", "ConvTranspose", "ConvWeightGradient"]
