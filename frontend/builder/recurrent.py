# SPDX-License-Identifier: MIT
"""Recurrent layers: LSTM and GRU, in one direction or both."""

from __future__ import annotations

import math

from ...ir import ops
from ...ir.ops.recurrent import Recurrent
from .movement import concat
from .tensor import Layer, Tensor
from .weights import Uniform, around


def lstm(
    x: Tensor, units: int, *, bidirectional: bool = False, name: str | None = None
) -> tuple[Tensor, Tensor]:
    """Return the outputs of all steps (T, B, D * units) and the last ones (B, D * units).

    D is 2 if ``bidirectional``, else 1; the last output of the backward direction is that of
    the first step. Parameters of each direction, ``.backward`` for the second: ``weight``
    (4 units, I), ``recurrent`` (4 units, units) and ``bias`` (8 units), for the gates input,
    output, forget and cell in this order, as in ONNX.

    Args:
        x: features (T, B, I) of T steps and B sequences.
        units: size of the state.
        bidirectional: whether a second direction reads from the end.
        name: of the layer.

    Raises:
        LayerError: ``x`` has not three axes.

    References:
        Hochreiter and Schmidhuber, Long short-term memory, Neural Computation 1997.
    """
    return _recurrent(Layer.begin("lstm", name), ops.Lstm(), x, units, bidirectional)


def gru(
    x: Tensor, units: int, *, bidirectional: bool = False, name: str | None = None
) -> tuple[Tensor, Tensor]:
    """Return the outputs of all steps (T, B, D * units) and the last ones (B, D * units).

    As :func:`lstm`, with the gates update, reset and candidate; the reset gate scales the
    recurrent product, as in PyTorch and cuDNN.

    Args:
        x: features (T, B, I) of T steps and B sequences.
        units: size of the state.
        bidirectional: whether a second direction reads from the end.
        name: of the layer.

    Raises:
        LayerError: ``x`` has not three axes.

    References:
        Cho et al., Learning phrase representations using RNN encoder-decoder, EMNLP 2014.
    """
    op = ops.Gru(linear_before_reset=True)
    return _recurrent(Layer.begin("gru", name), op, x, units, bidirectional)


def _recurrent(
    layer: Layer, op: Recurrent, x: Tensor, units: int, bidirectional: bool
) -> tuple[Tensor, Tensor]:
    if x.rank != 3:
        raise layer.error(f"data must be (steps, batch, features), found {x.type}")
    forward, last = _direction(layer, op, x, units, "")
    if not bidirectional:
        return forward, last
    mirrored = layer.apply(ops.Reverse((0,)), x)
    backward, first = _direction(layer, op, mirrored, units, "backward.")
    backward = layer.apply(ops.Reverse((0,)), backward)
    return concat((forward, backward), 2), concat((last, first), 1)


def _direction(
    layer: Layer, op: Recurrent, x: Tensor, units: int, prefix: str
) -> tuple[Tensor, Tensor]:
    rows, spread = op.gates * units, math.sqrt(3 / units)
    initial, standard = around(0.0, spread), around(0.0, math.sqrt(1 / units))

    def parameter(role: str, shape: tuple[int, ...], first: Uniform = initial) -> Tensor:
        return layer.parameter(f"{prefix}{role}", shape, first, standard=standard)

    weight = parameter("weight", (rows, x.shape[2]))
    recurrent = parameter("recurrent", (rows, units))
    bias = parameter("bias", (2 * rows,), around(0.0, 0.1))
    zeros = layer.filled(0, (x.shape[1], units))
    y, last, *_ = layer.multi(op, x, weight, recurrent, bias, *[zeros] * op.states)
    return y, last
