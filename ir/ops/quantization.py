# SPDX-License-Identifier: MIT
"""Linear quantisation, its inverse, and products of quantised tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ..op import Composite, Types, Values
from ..types import FLOATS, INTEGERS, TensorType, Type
from .arithmetic import Add, Div, Maximum, Minimum, Mul, Round, Sub
from .cast import Cast
from .convolution import Conv
from .elementwise import result_type
from .linear import MatMul
from .normalization import channels
from .reduction import limits
from .shape import BroadcastTo, Reshape, expand_axes, slice_along

if TYPE_CHECKING:
    from ..emitter import Emitter
    from ..graph import Value


@dataclass(frozen=True)
class Quantize(Composite):
    """``y = saturate(round(x / scale) + zero)``, ties to even; floats are not rounded first.

    Shapes: x; scale and the optional zero of shape (), of one number per index of ``axis``, or
        with ``block`` of the rank of x with one number per block along ``axis``.
    Gradient: none flows, because the result is piecewise constant. ONNX: QuantizeLinear-28.

    Attributes:
        dtype: element type of the result, an integer or a float of at most 8 bits.
        axis: the axis that scale and zero vary along.
        block: elements along ``axis`` that share a scale; 0 if one index has one scale.
        saturate: whether an 8-bit float out of range becomes the largest one.
        precision: element type of the division; empty for that of the scale.

    References:
        Jacob et al., Quantization and training of neural networks for efficient
        integer-arithmetic-only inference, CVPR 2018.
    """

    name: ClassVar[str] = "quantize"
    dtype: str
    axis: int = 1
    block: int = 0
    saturate: bool = True
    precision: str = ""

    def infer(self, *inputs: Type) -> Types:
        """Return the operand's shape with the quantised element type."""
        x = _checked(self, self.dtype, inputs)
        super().infer(*inputs)
        return (TensorType(self.dtype, x.shape),)

    def expand(self, emit: Emitter, *inputs: Value) -> Values:
        """Divide in the given precision, then round, shift and clamp in float32 or wider."""
        x, *parameters = inputs
        scale, *zero = (spread(emit, self, p, x) for p in parameters)
        precision = self.precision or result_type(scale).dtype
        quotient = emit(Div(), cast(emit, x, precision), cast(emit, scale, precision))
        quotient = cast(emit, quotient, _computed(precision))
        if self.dtype in INTEGERS:
            return (saturated(emit, emit(Round(), quotient), zero, self.dtype),)
        for z in zero:
            quotient = emit(Add(), quotient, cast(emit, z, result_type(quotient).dtype))
        return (emit(Cast(self.dtype, self.saturate), quotient),)


@dataclass(frozen=True)
class Dequantize(Composite):
    """``y = (x - zero) * scale``, computed in float32 or wider and rounded once.

    Shapes: as for :class:`Quantize`. ONNX: DequantizeLinear-28.

    Attributes:
        dtype: element type of the result; empty for that of the scale.
        axis: the axis that scale and zero vary along.
        block: elements along ``axis`` that share a scale; 0 if one index has one scale.
    """

    name: ClassVar[str] = "dequantize"
    dtype: str = ""
    axis: int = 1
    block: int = 0

    def expand(self, emit: Emitter, *inputs: Value) -> Values:
        """Shift and scale."""
        _checked(self, self.dtype or "float32", tuple(v.type for v in inputs))
        x, *parameters = inputs
        dtype = self.dtype or result_type(parameters[0]).dtype
        wide = _computed(dtype)
        scale, *zero = (cast(emit, spread(emit, self, p, x), wide) for p in parameters)
        shifted = cast(emit, x, wide)
        for z in zero:
            shifted = emit(Sub(), shifted, z)
        return (cast(emit, emit(Mul(), shifted, scale), dtype),)


@dataclass(frozen=True)
class QuantizedMatMul(Composite):
    """Product of quantised matrices, ``y = quantize(dequantize(a) @ dequantize(b))``.

    The sum is exact in int32; ``round(sum * (a_scale * b_scale / y_scale)) + y_zero`` saturates.
    ONNX: QLinearMatMul-21.

    Shapes: a (..., M, K), its scale and zero; b (..., K, N), its scale and zero; scale and zero
        of the result. Scales and zeros broadcast to their matrix; a vector for a has M elements.
    """

    name: ClassVar[str] = "quantized_mat_mul"

    def expand(self, emit: Emitter, *inputs: Value) -> Values:
        """Multiply in int32 and requantise."""
        if len(inputs) != 8:
            raise self.error(f"expected 8 operands, found {len(inputs)}")
        a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero = inputs
        a_scale, a_zero = (_per_row(emit, p) for p in (a_scale, a_zero))
        total = emit(MatMul(), _centred(emit, a, a_zero), _centred(emit, b, b_zero))
        factor = _factor(emit, a_scale, b_scale, y_scale)
        return (_requantised(emit, total, factor, y_zero),)


@dataclass(frozen=True)
class QuantizedConv(Composite):
    """Convolution of quantised data and weights, requantised like :class:`QuantizedMatMul`.

    Shapes: x (N, C, S...), its scale () and zero (); w (O, C / groups, K...), its scale and
        zero, () or (O); scale () and zero () of the result; optional bias (O), int32 in units
        of ``x_scale * w_scale``. ONNX: QLinearConv-10.

    Attributes:
        strides: step between windows, per spatial axis.
        low: real zeros (``x_zero``) before the first element.
        high: real zeros after the last element.
        dilation: distance between the elements of a window.
        groups: channels are split into this many independent convolutions.
    """

    name: ClassVar[str] = "quantized_conv"
    strides: tuple[int, ...]
    low: tuple[int, ...]
    high: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int = 1

    def expand(self, emit: Emitter, *inputs: Value) -> Values:
        """Convolve in int32, add the bias and requantise."""
        if len(inputs) not in (8, 9):
            raise self.error(f"expected 8 or 9 operands, found {len(inputs)}")
        x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero, *bias = inputs
        conv = Conv(
            self.strides, self.low, self.high, self.dilation, (1,) * len(self.strides), self.groups
        )
        if result_type(w_zero).rank == 1:
            w_zero = expand_axes(emit, w_zero, tuple(range(1, result_type(w).rank)))
        total = emit(conv, _centred(emit, x, x_zero), _centred(emit, w, w_zero))
        for b in bias:
            total = emit(Add(), total, channels(emit, b, total))
        if result_type(w_scale).rank == 1:
            w_scale = channels(emit, w_scale, total)
        return (_requantised(emit, total, _factor(emit, x_scale, w_scale, y_scale), y_zero),)


def saturated(emit: Emitter, whole: Value, zero: list[Value], dtype: str) -> Value:
    """Emit ``whole + zero`` of integral floats, clamped to the range of an integer type."""
    for z in zero:
        whole = emit(Add(), whole, cast(emit, z, result_type(whole).dtype))
    least, greatest = (emit.scalar_like(n, whole) for n in limits(dtype))
    return emit(Cast(dtype), emit(Maximum(), emit(Minimum(), whole, greatest), least))


def spread(emit: Emitter, op: Quantize | Dequantize, parameter: Value, x: Value) -> Value:
    """Emit a scale or zero point in a shape that broadcasts to ``x``."""
    type, sizes = result_type(parameter), result_type(x).dims
    if type.size == 1:
        return emit(Reshape(()), parameter) if type.rank else parameter
    axis = op.axis + len(sizes) if op.axis < 0 else op.axis
    if not 0 <= axis < len(sizes):
        raise op.error(f"axis {op.axis} does not exist in {x.type}")
    if not op.block:
        if type.dims != sizes[axis : axis + 1]:
            raise op.error(
                f"scale or zero {type} must be one number, or one per index of axis "
                f"{axis} of {x.type}"
            )
        return expand_axes(emit, parameter, tuple(k for k in range(len(sizes)) if k != axis))
    blocks = (*sizes[:axis], -(-sizes[axis] // op.block), *sizes[axis + 1 :])
    if type.dims != blocks:
        raise op.error(
            f"scale or zero {type} must have shape {list(blocks)}, one per block of "
            f"{op.block} along axis {axis} of {x.type}"
        )
    columns = expand_axes(emit, parameter, (axis + 1,))
    repeated = (*blocks[: axis + 1], op.block, *blocks[axis + 1 :])
    joined = (*blocks[:axis], blocks[axis] * op.block, *blocks[axis + 1 :])
    whole = emit(Reshape(joined), emit(BroadcastTo(repeated), columns))
    return slice_along(emit, whole, axis, 0, sizes[axis])


def cast(emit: Emitter, x: Value, dtype: str) -> Value:
    """Emit ``x`` in an element type, which it may have already."""
    return x if result_type(x).dtype == dtype else emit(Cast(dtype), x)


def _checked(op: Composite, dtype: str, inputs: Types) -> TensorType:
    types = op.tensors(inputs)
    if len(types) not in (2, 3):
        raise op.error(f"expected x, scale and perhaps zero, found {len(types)} operands")
    if len(types) == 3 and types[2].shape != types[1].shape:
        raise op.error(f"scale {types[1]} and zero {types[2]} must have one shape")
    if dtype not in FLOATS | INTEGERS:
        raise op.error(f"cannot quantise to or from {dtype!r}")
    return types[0]


def _computed(dtype: str) -> str:
    return "float64" if dtype == "float64" else "float32"


def _per_row(emit: Emitter, parameter: Value) -> Value:
    vector = result_type(parameter).rank == 1 and result_type(parameter).dims[0] > 1
    return expand_axes(emit, parameter, (1,)) if vector else parameter


def _centred(emit: Emitter, x: Value, zero: Value) -> Value:
    if result_type(zero).size == 1:
        zero = emit(Reshape(()), zero)
    return emit(Sub(), cast(emit, x, "int32"), cast(emit, zero, "int32"))


def _factor(emit: Emitter, x_scale: Value, w_scale: Value, y_scale: Value) -> Value:
    x_scale, w_scale, y_scale = (cast(emit, s, "float32") for s in (x_scale, w_scale, y_scale))
    return emit(Div(), emit(Mul(), x_scale, w_scale), y_scale)


def _requantised(emit: Emitter, total: Value, factor: Value, zero: Value) -> Value:
    if result_type(factor).size == 1:
        factor = emit(Reshape(()), factor)
    if result_type(zero).size == 1:
        zero = emit(Reshape(()), zero)
    scaled = emit(Mul(), cast(emit, total, "float32"), factor)
    return saturated(emit, emit(Round(), scaled), [zero], result_type(zero).dtype)


__all__ = ["Dequantize", "Quantize", "QuantizedConv", "QuantizedMatMul"]
