# SPDX-License-Identifier: MIT
"""One step of an optimizer for one parameter: Adam, Adagrad, momentum."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ..op import Composite, Values
from ..types import FLOATS
from .arithmetic import Add, Div, Maximum, Mul, Pow, Sub
from .cast import Cast
from .comparison import Greater, Select
from .elementary import Sqrt
from .elementwise import result_type
from .widening import narrow, widen

if TYPE_CHECKING:
    from ..emitter import Emitter
    from ..graph import Value


class Update(Composite):
    """Base of optimizer steps.

    Shapes: learning rate (), a float; count of updates so far (), an integer; the parameter,
        its gradient, and the optimizer's states, all of one type. Results: the new parameter
        and states. Narrow floats are computed in float32 and rounded once.
    """

    states: ClassVar[int]

    def expand(self, emit: Emitter, *inputs: Value) -> Values:
        """Emit :meth:`step` in the parameter's type, or in float32 if that is narrower."""
        types = self.tensors(tuple(v.type for v in inputs), 4 + self.states)
        if any(t != types[2] for t in types[3:]) or types[2].dtype not in FLOATS:
            raise self.error(f"parameter, gradient and states must have one float type: {types}")
        if types[0].rank or types[1].rank:
            raise self.error(f"rate and count must be scalars, found {types[0]} and {types[1]}")
        rate, count, *tensors = inputs
        wide = [widen(emit, v) for v in tensors]
        results = self.step(emit, rate, emit(Cast("float64"), count), tuple(wide))
        return tuple(narrow(emit, v, inputs[2]) for v in results)

    @abstractmethod
    def step(self, emit: Emitter, rate: Value, count: Value, tensors: Values) -> Values:
        """Emit the new parameter and states.

        Args:
            emit: the emitter.
            rate: learning rate, as given.
            count: updates so far, as float64.
            tensors: parameter, gradient, states.
        """


@dataclass(frozen=True)
class Adam(Update):
    """``x' = x - r sqrt(1 - beta**t) / (1 - alpha**t) * v' / (sqrt(h') + epsilon)``.

    ``g' = g + decay x``, ``v' = alpha v + (1 - alpha) g'``, ``h' = beta h + (1 - beta) g'**2``.
    Without correction while ``t`` is 0. Finally ``x'`` is scaled by ``1 - decay_after``.
    The states are v and h. ONNX: ai.onnx.preview.training Adam-1.

    References:
        Kingma and Ba, Adam: a method for stochastic optimization, ICLR 2015.
    """

    name: ClassVar[str] = "adam"
    states: ClassVar[int] = 2
    alpha: float = 0.9
    beta: float = 0.999
    epsilon: float = 1e-6
    decay: float = 0.0
    decay_after: float = 0.0

    def step(self, emit: Emitter, rate: Value, count: Value, tensors: Values) -> Values:
        """Update both averages and move along their quotient."""
        x, g, v, h = tensors
        g = _decayed(emit, g, x, self.decay)
        v = _sum(emit, v, self.alpha, g, 1 - self.alpha)
        h = _sum(emit, h, self.beta, emit(Mul(), g, g), 1 - self.beta)
        root = emit(Add(), emit(Sqrt(), h), emit.scalar_like(self.epsilon, h))
        scale = _cast(emit, self._rate(emit, rate, count), x)
        x = emit(Sub(), x, emit(Mul(), scale, emit(Div(), v, root)))
        return _scaled(emit, x, 1 - self.decay_after), v, h

    def _rate(self, emit: Emitter, rate: Value, count: Value) -> Value:
        """Emit the corrected rate in float64: in float32, ``1 - beta**t`` loses most digits."""
        one, zero = emit.scalar_like(1, count), emit.scalar_like(0, count)
        rate = _cast(emit, rate, count)
        updates = emit(Maximum(), count, one)  # the branch not taken must be finite too
        first, second = (
            emit(Sub(), one, emit(Pow(), emit.scalar_like(base, count), updates))
            for base in (self.alpha, self.beta)
        )
        corrected = emit(Div(), emit(Mul(), rate, emit(Sqrt(), second)), first)
        return emit(Select(), emit(Greater(), count, zero), corrected, rate)


@dataclass(frozen=True)
class Adagrad(Update):
    """``h' = h + g'**2``, ``x' = x - r / (1 + t rate_decay) * g' / (sqrt(h') + epsilon)``.

    ``g' = g + decay x``. The state is h. ONNX: ai.onnx.preview.training Adagrad-1.

    References:
        Duchi, Hazan, Singer, Adaptive subgradient methods, JMLR 2011.
    """

    name: ClassVar[str] = "adagrad"
    states: ClassVar[int] = 1
    rate_decay: float = 0.0
    epsilon: float = 1e-6
    decay: float = 0.0

    def step(self, emit: Emitter, rate: Value, count: Value, tensors: Values) -> Values:
        """Add the square of the gradient and move along the scaled gradient."""
        x, g, h = tensors
        slowed = emit(Add(), _scaled(emit, count, self.rate_decay), emit.scalar_like(1, count))
        scale = _cast(emit, emit(Div(), _cast(emit, rate, count), slowed), x)
        g = _decayed(emit, g, x, self.decay)
        h = emit(Add(), h, emit(Mul(), g, g))
        root = emit(Add(), emit(Sqrt(), h), emit.scalar_like(self.epsilon, h))
        return emit(Sub(), x, emit(Div(), emit(Mul(), scale, g), root)), h


@dataclass(frozen=True)
class Momentum(Update):
    """``v' = alpha v + beta g'``, ``x' = x - r v'`` (``nesterov``: ``x - r (g' + alpha v')``).

    ``g' = g + decay x``; ``beta`` counts as 1 while ``t`` is 0. The state is v.
    ONNX: ai.onnx.preview.training Momentum-1.

    References:
        Sutskever, Martens, Dahl, Hinton, On the importance of initialization and momentum in
        deep learning, ICML 2013.
    """

    name: ClassVar[str] = "momentum"
    states: ClassVar[int] = 1
    alpha: float = 0.9
    beta: float = 1.0
    decay: float = 0.0
    nesterov: bool = False

    def step(self, emit: Emitter, rate: Value, count: Value, tensors: Values) -> Values:
        """Update the momentum and move along it."""
        x, g, v = tensors
        g = _decayed(emit, g, x, self.decay)
        started = emit(Greater(), count, emit.scalar_like(0, count))
        beta = emit(Select(), started, emit.scalar_like(self.beta, x), emit.scalar_like(1, x))
        v = emit(Add(), _scaled(emit, v, self.alpha), emit(Mul(), beta, g))
        direction = emit(Add(), g, _scaled(emit, v, self.alpha)) if self.nesterov else v
        return emit(Sub(), x, emit(Mul(), _cast(emit, rate, x), direction)), v


def _scaled(emit: Emitter, x: Value, factor: float) -> Value:
    return x if factor == 1 else emit(Mul(), x, emit.scalar_like(factor, x))


def _sum(emit: Emitter, x: Value, a: float, y: Value, b: float) -> Value:
    return emit(Add(), _scaled(emit, x, a), _scaled(emit, y, b))


def _decayed(emit: Emitter, g: Value, x: Value, decay: float) -> Value:
    return emit(Add(), g, _scaled(emit, x, decay)) if decay else g


def _cast(emit: Emitter, x: Value, like: Value) -> Value:
    dtype = result_type(like).dtype
    return x if result_type(x).dtype == dtype else emit(Cast(dtype), x)


__all__ = ["Adagrad", "Adam", "Momentum"]
