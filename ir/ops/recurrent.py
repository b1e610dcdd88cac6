# SPDX-License-Identifier: MIT
"""Recurrent layers of one direction: LSTM, GRU and the simple cell, as scans over the steps."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ..emitter import Emitter
from ..op import Values
from ..types import TensorType
from . import activation
from .arithmetic import Add, Maximum, Minimum, Mul, Sub
from .comparison import Less, Select
from .control import Scan
from .elementary import Sigmoid, Tanh
from .elementwise import result_type
from .linear import MatMul, swap_last
from .shape import Concat, Iota, Reshape, expand_axes, slice_along
from .widening import Widened

if TYPE_CHECKING:
    from ..graph import Graph, Value

CURVES = {
    "Affine": (1.0, 0.0),
    "Elu": (1.0, 0.0),
    "HardSigmoid": (0.2, 0.5),
    "LeakyRelu": (0.01, 0.0),
    "Relu": (0.0, 0.0),
    "ScaledTanh": (1.0, 1.0),
    "Sigmoid": (0.0, 0.0),
    "Softplus": (0.0, 0.0),
    "Softsign": (0.0, 0.0),
    "Tanh": (0.0, 0.0),
    "ThresholdedRelu": (1.0, 0.0),
}
"""The activation functions that cells may have, with the defaults of alpha and beta."""


@dataclass(frozen=True)
class Recurrent(Widened):
    """Base of recurrent layers.

    Shapes: for T steps, B sequences, I features, H units and G gates: x (T, B, I), w (G H, I),
        r (G H, H), b (2 G H), the biases of w and then of r, initial states (B, H) each; if
        ``masked``, the lengths (B) of the sequences. Results: the outputs of all steps
        (T, B, H), which are 0 beyond a sequence's length, and the final states (B, H).

    Attributes:
        activations: names from :data:`CURVES`.
        alpha: one parameter per activation function; empty for the defaults.
        beta: a second parameter per activation function; empty for the defaults.
        clip: bound of the activation functions' operands; 0 for none.
        masked: whether the last operand holds the lengths.
    """

    gates: ClassVar[int]
    states: ClassVar[int] = 1
    activations: tuple[str, ...] = ()
    alpha: tuple[float, ...] = ()
    beta: tuple[float, ...] = ()
    clip: float = 0.0
    masked: bool = False

    def formula(self, emit: Emitter, *inputs: Value) -> Values:
        """Multiply all steps' features by w at once, then scan."""
        x, w, r, b = inputs[:4]
        units = self._checked(inputs)
        steps, batch, _ = result_type(x).dims
        rows = emit(Reshape((steps * batch, result_type(x).dims[2])), x)
        rows = emit(MatMul(), rows, swap_last(emit, w))
        rows = emit(Add(), rows, self.bias(emit, b, units))
        slices = [emit(Reshape((steps, batch, self.gates * units)), rows)]
        states, rest = inputs[4 : 4 + self.states], inputs[4 + self.states :]
        captured = self.captured(emit, swap_last(emit, r), b, rest)
        if self.masked:
            slices.append(emit(Iota("int64", (steps,), 0)))
            captured.append(_column(emit, rest[-1]))
        operands = (*states, *slices, *captured)
        body = self._body(operands, len(slices))
        *final, y = emit.multi(Scan(body, steps, self.states, len(slices)), *operands)
        return (y, *final)

    def bias(self, emit: Emitter, b: Value, units: int) -> Value:
        """Emit what is added to the product with w: both biases."""
        half = self.gates * units
        return emit(
            Add(), slice_along(emit, b, 0, 0, half), slice_along(emit, b, 0, half, 2 * half)
        )

    def captured(self, emit: Emitter, r: Value, b: Value, rest: Values) -> list[Value]:
        """Emit what every step reads, from r transposed (H, G H), b and the operands at the end."""
        return [r]

    @abstractmethod
    def cell(self, emit: Emitter, states: Values, gates: Value, captured: Values) -> Values:
        """Emit one step: the new states, the output first.

        Args:
            emit: the emitter of the loop's body.
            states: output and further states of the step before (B, H).
            gates: the step's row of ``x w^T + b`` (B, G H).
            captured: what :meth:`captured` returned.
        """

    def curve(self, emit: Emitter, k: int, x: Value) -> Value:
        """Emit the ``k``-th activation function of the clipped operand."""
        name = self.activations[k]
        alpha, beta = CURVES[name]
        alpha = self.alpha[k] if self.alpha else alpha
        beta = self.beta[k] if self.beta else beta
        if self.clip:
            high, low = emit.scalar_like(self.clip, x), emit.scalar_like(-self.clip, x)
            x = emit(Maximum(), emit(Minimum(), x, high), low)
        return _CURVES[name](emit, x, alpha, beta)

    def _checked(self, inputs: Values) -> int:
        """Return the number of units after checking ranks and attributes."""
        ranks = [result_type(v).rank for v in inputs[:4]]
        unknown = [a for a in self.activations if a not in CURVES]
        if unknown:
            raise self.error(f"unknown activation {unknown[0]!r}; known: {', '.join(CURVES)}")
        if len(inputs) < 4 + self.states or ranks != [3, 2, 2, 1]:
            raise self.error(f"x, w, r and b need 3, 2, 2 and 1 axes, found ranks {ranks}")
        units = result_type(inputs[2]).dims[1]
        sizes = [result_type(v).dims[0] for v in inputs[1:4]]
        wanted = [self.gates * units, self.gates * units, 2 * self.gates * units]
        if sizes != wanted:
            raise self.error(f"w, r and b must start with {wanted} rows, found {sizes}")
        return units

    def _body(self, operands: Values, slices: int) -> Graph:
        """Return one step as a graph: states, slices, captured -> states, output."""
        emit = Emitter()
        arguments = []
        for k, v in enumerate(operands):
            type = result_type(v)
            scanned = self.states <= k < self.states + slices
            shape = type.dims[1:] if scanned else type.dims
            arguments.append(emit.argument(TensorType(type.dtype, shape)))
        states = tuple(arguments[: self.states])
        gates, *step = arguments[self.states : self.states + slices]
        captured = tuple(arguments[self.states + slices :])
        new = self.cell(emit, states, gates, captured)
        y = new[0]
        if self.masked:
            alive = emit(Less(), step[0], captured[-1])
            new = tuple(emit(Select(), alive, n, s) for n, s in zip(new, states, strict=True))
            y = emit(Select(), alive, y, emit.scalar_like(0, y))
        return emit.graph("step", arguments, (*new, y))


@dataclass(frozen=True)
class Rnn(Recurrent):
    """Simple cell, ``h' = f(x w^T + h r^T + b)``. ONNX: RNN-22.

    References:
        Elman, Finding structure in time, Cognitive Science 1990.
    """

    name: ClassVar[str] = "rnn"
    gates: ClassVar[int] = 1
    activations: tuple[str, ...] = ("Tanh",)

    def cell(self, emit: Emitter, states: Values, gates: Value, captured: Values) -> Values:
        """Add the recurrent product and apply the activation function."""
        product = emit(MatMul(), states[0], captured[0])
        return (self.curve(emit, 0, emit(Add(), gates, product)),)


@dataclass(frozen=True)
class Gru(Recurrent):
    """Gated recurrent unit with update gate z, reset gate r and candidate n, in this order.

    ``z, r = f(x w^T + h r^T + b)``, ``h' = (1 - z) n + z h``, and
    ``n = g(x w^T + (r h) r^T + b)`` or, with ``linear_before_reset``,
    ``n = g(x w^T + b_w + r (h r^T + b_r))``. ONNX: GRU-22.

    References:
        Cho et al., Learning phrase representations using RNN encoder-decoder, EMNLP 2014.
    """

    name: ClassVar[str] = "gru"
    gates: ClassVar[int] = 3
    activations: tuple[str, ...] = ("Sigmoid", "Tanh")
    linear_before_reset: bool = False

    def bias(self, emit: Emitter, b: Value, units: int) -> Value:
        """Emit both biases; the candidate's recurrent one only if it is not behind the reset."""
        if not self.linear_before_reset:
            return super().bias(emit, b, units)
        both = super().bias(emit, b, units)
        candidate = slice_along(emit, b, 0, 2 * units, 3 * units)
        return emit(Concat(0), slice_along(emit, both, 0, 0, 2 * units), candidate)

    def captured(self, emit: Emitter, r: Value, b: Value, rest: Values) -> list[Value]:
        """Emit both parts of r, and the candidate's bias where the reset gate scales it."""
        units = result_type(r).dims[0]
        parts = [slice_along(emit, r, 1, start, stop) for start, stop in _cuts(units)]
        bias = slice_along(emit, b, 0, 5 * units, 6 * units)
        return [*parts, bias] if self.linear_before_reset else parts

    def cell(self, emit: Emitter, states: Values, gates: Value, captured: Values) -> Values:
        """Emit the gates, the candidate and their blend."""
        h, left, right = states[0], *captured[:2]
        units = result_type(h).dims[1]
        x_gates, x_candidate = (slice_along(emit, gates, 1, a, b) for a, b in _cuts(units))
        zr = self.curve(emit, 0, emit(Add(), x_gates, emit(MatMul(), h, left)))
        z, reset = (slice_along(emit, zr, 1, k * units, (k + 1) * units) for k in (0, 1))
        if self.linear_before_reset:
            product = emit(Add(), emit(MatMul(), h, right), captured[2])
            product = emit(Mul(), reset, product)
        else:
            product = emit(MatMul(), emit(Mul(), reset, h), right)
        candidate = self.curve(emit, 1, emit(Add(), x_candidate, product))
        rest = emit(Mul(), emit(Sub(), emit.scalar_like(1, z), z), candidate)
        return (emit(Add(), rest, emit(Mul(), z, h)),)


@dataclass(frozen=True)
class Lstm(Recurrent):
    """Long short-term memory with input, output, forget and cell gates, in this order.

    ``i, f = f(x w^T + h r^T + p c + b)``, ``c' = f c + i g(x w^T + h r^T + b)``,
    ``o = f(x w^T + h r^T + p c' + b)``, ``h' = o h(c')``. The states are h and c.
    With ``peephole`` an operand p (3 H) for i, o and f follows the initial states.
    ONNX: LSTM-22.

    Attributes:
        peephole: whether the gates see the cell state.
        coupled: whether the forget gate is ``1 - i``.

    References:
        Hochreiter and Schmidhuber, Long short-term memory, Neural Computation 1997.
        Gers and Schmidhuber, Recurrent nets that time and count, IJCNN 2000.
    """

    name: ClassVar[str] = "lstm"
    gates: ClassVar[int] = 4
    states: ClassVar[int] = 2
    activations: tuple[str, ...] = ("Sigmoid", "Tanh", "Tanh")
    peephole: bool = False
    coupled: bool = False

    def captured(self, emit: Emitter, r: Value, b: Value, rest: Values) -> list[Value]:
        """Return r and the peephole weights."""
        return [r, rest[0]] if self.peephole else [r]

    def cell(self, emit: Emitter, states: Values, gates: Value, captured: Values) -> Values:
        """Emit the gates, the cell state and the output."""
        h, c = states
        units = result_type(h).dims[1]
        total = emit(Add(), gates, emit(MatMul(), h, captured[0]))
        i, o, f, g = (slice_along(emit, total, 1, k * units, (k + 1) * units) for k in range(4))
        i = self.curve(emit, 0, self._peep(emit, i, c, captured, 0))
        if self.coupled:
            f = emit(Sub(), emit.scalar_like(1, i), i)
        else:
            f = self.curve(emit, 0, self._peep(emit, f, c, captured, 2))
        g = self.curve(emit, 1, g)
        c = emit(Add(), emit(Mul(), f, c), emit(Mul(), i, g))
        o = self.curve(emit, 0, self._peep(emit, o, c, captured, 1))
        return emit(Mul(), o, self.curve(emit, 2, c)), c

    def _peep(self, emit: Emitter, gate: Value, c: Value, captured: Values, k: int) -> Value:
        if not self.peephole:
            return gate
        units = result_type(c).dims[1]
        weight = slice_along(emit, captured[1], 0, k * units, (k + 1) * units)
        return emit(Add(), gate, emit(Mul(), c, weight))


def _cuts(units: int) -> tuple[tuple[int, int], tuple[int, int]]:
    return (0, 2 * units), (2 * units, 3 * units)


def _column(emit: Emitter, lengths: Value) -> Value:
    from .cast import Cast

    return expand_axes(emit, emit(Cast("int64"), lengths), (1,))


def _affine(emit: Emitter, x: Value, alpha: float, beta: float) -> Value:
    scaled = emit(Mul(), x, emit.scalar_like(alpha, x))
    return emit(Add(), scaled, emit.scalar_like(beta, x))


def _scaled_tanh(emit: Emitter, x: Value, alpha: float, beta: float) -> Value:
    inner = emit(Tanh(), emit(Mul(), x, emit.scalar_like(beta, x)))
    return emit(Mul(), inner, emit.scalar_like(alpha, x))


_CURVES: dict[str, Callable[[Emitter, Value, float, float], Value]] = {
    "Affine": _affine,
    "Elu": lambda emit, x, alpha, _: emit(activation.Elu(alpha), x),
    "HardSigmoid": lambda emit, x, alpha, beta: emit(activation.HardSigmoid(alpha, beta), x),
    "LeakyRelu": lambda emit, x, alpha, _: emit(activation.LeakyRelu(alpha), x),
    "Relu": lambda emit, x, *_: emit(activation.Relu(), x),
    "ScaledTanh": _scaled_tanh,
    "Sigmoid": lambda emit, x, *_: emit(Sigmoid(), x),
    "Softplus": lambda emit, x, *_: emit(activation.Softplus(), x),
    "Softsign": lambda emit, x, *_: emit(activation.Softsign(), x),
    "Tanh": lambda emit, x, *_: emit(Tanh(), x),
    "ThresholdedRelu": lambda emit, x, alpha, _: emit(activation.ThresholdedRelu(alpha), x),
}

__all__ = ["Gru", "Lstm", "Rnn"]
