# SPDX-License-Identifier: MIT
"""LSTM, GRU and RNN: directions, layouts and defaults around layers of one direction."""

from __future__ import annotations

from dataclasses import dataclass

from ...ir import Value, ops
from ...ir.ops.elementwise import result_type
from ...ir.ops.recurrent import CURVES, Recurrent
from ...ir.ops.shape import expand_axes, filled, slice_along
from ..convert import Conversion, converter

_DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}
_NAMES = {name.lower(): name for name in CURVES}


@dataclass(frozen=True)
class _Layer:
    """The operands that all directions share.

    Attributes:
        x: features (steps, batch, features).
        states: initial states (directions, batch, units), ``None`` for zeros.
        lengths: lengths of the sequences, ``None`` if all are whole.
        peephole: peephole weights (directions, 3 units) if there are any.
    """

    x: Value
    states: tuple[Value | None, ...]
    lengths: Value | None
    peephole: Value | None


@converter("LSTM")
def lstm(c: Conversion) -> list[Value]:
    """Emit one layer per direction with hidden and cell state."""
    states = _by_direction(c, c.optional(5)), _by_direction(c, c.optional(6))
    layer = _Layer(_by_steps(c), states, c.optional(4), c.optional(7))
    return _layers(c, layer)


@converter("GRU", "RNN")
def gru(c: Conversion) -> list[Value]:
    """Emit one layer per direction with a hidden state."""
    layer = _Layer(_by_steps(c), (_by_direction(c, c.optional(5)),), c.optional(4), None)
    return _layers(c, layer)


def _layers(c: Conversion, layer: _Layer) -> list[Value]:
    name = c.attr("direction", "forward")
    if name not in _DIRECTIONS:
        raise c.error(f"direction must be one of {', '.join(_DIRECTIONS)}, found {name!r}")
    backwards = _DIRECTIONS[name]
    if c.shape(1)[0] != len(backwards):
        raise c.error(f"direction {name!r} needs {len(backwards)} weights, found {c.shape(1)[0]}")
    if layer.lengths is not None:
        steps = result_type(layer.x).dims[0]
        inside = c.emit(ops.InRange(0, steps + 1), layer.lengths)
        c.check(inside, f"sequence_lens must be from 0 to {steps}")
    results = [_direction(c, layer, k, back) for k, back in enumerate(backwards)]
    y, *final = (
        _stacked(c, parts, 0 if k else 1) for k, parts in enumerate(zip(*results, strict=True))
    )
    if not c.attr("layout", 0):
        return [y, *final]
    swap = ops.Transpose((1, 0, 2))
    return [c.emit(ops.Transpose((2, 0, 1, 3)), y), *(c.emit(swap, v) for v in final)]


def _stacked(c: Conversion, parts: tuple[Value, ...], axis: int) -> Value:
    columns = [expand_axes(c.emit, v, (axis,)) for v in parts]
    return columns[0] if len(columns) == 1 else c.emit(ops.Concat(axis), *columns)


def _direction(c: Conversion, layer: _Layer, k: int, backwards: bool) -> tuple[Value, ...]:
    """Emit one direction: y (steps, batch, units) and the final states (batch, units)."""
    x = _turned(c, layer.x, layer.lengths) if backwards else layer.x
    w, r = _row(c, c.operand(1), k), _row(c, c.operand(2), k)
    (rows, units), batch = result_type(r).dims, result_type(x).dims[1]
    dtype = c.dtype(0)
    bias = c.optional(3)
    b = filled(c.emit, 0, dtype, (2 * rows,)) if bias is None else _row(c, bias, k)
    operands = [x, w, r, b]
    zeros = filled(c.emit, 0, dtype, (batch, units))
    operands += [zeros if state is None else _row(c, state, k) for state in layer.states]
    if layer.peephole is not None:
        operands.append(_row(c, layer.peephole, k))
    if layer.lengths is not None:
        operands.append(layer.lengths)
    y, *final = c.emit.multi(_op(c, layer, k), *operands)
    return (_turned(c, y, layer.lengths) if backwards else y, *final)


def _op(c: Conversion, layer: _Layer, k: int) -> Recurrent:
    kinds: dict[str, type[Recurrent]] = {"LSTM": ops.Lstm, "GRU": ops.Gru, "RNN": ops.Rnn}
    kind = kinds[c.type]
    names, alpha, beta = _curves(c, kind.activations, k)
    clip, masked = c.attr("clip", 0.0), layer.lengths is not None
    common = (names, alpha, beta, clip, masked)
    if kind is ops.Lstm:
        coupled = bool(c.attr("input_forget", 0))
        return ops.Lstm(*common, layer.peephole is not None, coupled)
    if kind is ops.Gru:
        return ops.Gru(*common, bool(c.attr("linear_before_reset", 0)))
    return ops.Rnn(*common)


def _curves(
    c: Conversion, defaults: tuple[str, ...], k: int
) -> tuple[tuple[str, ...], tuple[float, ...], tuple[float, ...]]:
    """Return the activation functions of direction ``k`` with their parameters.

    ``activation_alpha`` and ``activation_beta`` list parameters only of those functions (of
    all directions) that have such a parameter, in order.
    """
    stated = c.attr("activations") or defaults * c.shape(1)[0]
    unknown = [name for name in stated if name.lower() not in _NAMES]
    if unknown or len(stated) != len(defaults) * c.shape(1)[0]:
        raise c.error(f"activations {stated} must be {len(defaults)} per direction of {[*CURVES]}")
    names = [_NAMES[name.lower()] for name in stated]
    alphas, betas = _floats(c, "activation_alpha"), _floats(c, "activation_beta")
    parameters = [
        (
            alphas.pop(0) if alphas and name in _WITH_ALPHA else CURVES[name][0],
            betas.pop(0) if betas and name in _WITH_BETA else CURVES[name][1],
        )
        for name in names
    ]
    part = slice(k * len(defaults), (k + 1) * len(defaults))
    alpha, beta = zip(*parameters[part], strict=True)
    return tuple(names[part]), alpha, beta


_WITH_BETA = {"Affine", "HardSigmoid", "ScaledTanh"}
_WITH_ALPHA = {*_WITH_BETA, "Elu", "LeakyRelu", "ThresholdedRelu"}


def _floats(c: Conversion, name: str) -> list[float]:
    return [*(c.attr(name) or ())]


def _row(c: Conversion, x: Value, k: int) -> Value:
    """Emit the ``k``-th entry of the leading axis."""
    row = slice_along(c.emit, x, 0, k, k + 1)
    return c.emit(ops.Reshape(result_type(x).dims[1:]), row)


def _by_steps(c: Conversion) -> Value:
    """Return the features as (steps, batch, features)."""
    return c.emit(ops.Transpose((1, 0, 2)), c.operand(0)) if c.attr("layout", 0) else c.operand(0)


def _by_direction(c: Conversion, state: Value | None) -> Value | None:
    """Return an initial state as (directions, batch, units)."""
    if state is None or not c.attr("layout", 0):
        return state
    return c.emit(ops.Transpose((1, 0, 2)), state)


def _turned(c: Conversion, x: Value, lengths: Value | None) -> Value:
    """Emit the steps in reverse; those beyond a sequence's length stay where they are."""
    if lengths is None:
        return c.emit(ops.Reverse((0,)), x)
    steps, batch, size = result_type(x).dims
    length = c.emit(ops.Cast("int64"), lengths)
    step = c.emit(ops.Iota("int64", (steps, batch), 0))
    one = c.emit.constant(1, "int64")
    mirrored = c.emit(ops.Sub(), c.emit(ops.Sub(), length, one), step)
    inside = c.emit(ops.Less(), step, length)
    positions = c.emit(ops.Select(), inside, mirrored, step)
    spread = c.emit(ops.BroadcastTo((steps, batch, size)), expand_axes(c.emit, positions, (2,)))
    return c.emit(ops.GatherElements(0), x, spread)
