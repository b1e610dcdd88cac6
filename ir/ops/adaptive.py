# SPDX-License-Identifier: MIT
"""Optimizer steps over blocks that scale each number by what its gradients were like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .arithmetic import Pow
from .block_op import Operand, Terms, dtype_of, sum_of_squares
from .optimizer import BlockStep, sqrt
from .terms import Term


@dataclass(frozen=True)
class AdamStep(BlockStep):
    """``x' = x - rate / (1 - b1**t) m' / (sqrt(s') / sqrt(1 - b2**t) + epsilon)``.

    ``m' = m + (1 - b1)(g - m)``, ``s' = b2 s + (1 - b2) g**2``; with :attr:`amsgrad` the root
    is of the largest s' so far. States: m, s and that. Bias corrections are in float64.
    As ``torch.optim.Adam``, and ``AdamW`` with decoupled decay.

    References:
        Kingma and Ba, Adam: a method for stochastic optimization, ICLR 2015. Reddi, Kale,
        Kumar, On the convergence of Adam and beyond, ICLR 2018 (AMSGrad).
    """

    name: ClassVar[str] = "adam_step"
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    amsgrad: bool = False

    @property
    def states(self) -> tuple[str, ...]:
        """Mean, mean square and its largest value."""
        return ("mean", "square", "largest") if self.amsgrad else ("mean", "square")

    def step(self, given: Terms, x: Term, g: Term) -> Terms:
        """Emit the formula."""
        found = {"mean": lerp(given["mean"], g, 1 - self.beta1)}
        found["square"] = squares(given["square"], g, self.beta2)
        root = found["square"]
        if self.amsgrad:
            root = found["largest"] = given["largest"].maximum(root)
        count, dtype = given["count"], dtype_of(x)
        rate = (given["rate"] / unbias(count, self.beta1)).cast(dtype)
        share = (1 / sqrt_of_unbias(count, self.beta2)).cast(dtype)
        return {**found, "x": x - found["mean"] * rate / (sqrt(root) * share + self.epsilon)}


@dataclass(frozen=True)
class LambDirection(BlockStep):
    """``g = m' / (1 - b1**t) / (sqrt(s' / (1 - b2**t)) + epsilon) + decay x``, m' and s' as Adam.

    The first half of LAMB; the second is :class:`~ranvier.ir.ops.Descent` along g by
    ``rate |x| / |g|`` with the norms of whole tensors. Results: g, m, s, and the sums of squares
    of g as given, of x and of the new g.

    References:
        You et al., Large batch optimization for deep learning: training BERT in 76 minutes,
        ICLR 2020, algorithm 2.
    """

    name: ClassVar[str] = "lamb_direction"
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-6

    @property
    def states(self) -> tuple[str, ...]:
        """Mean and mean square."""
        return ("mean", "square")

    def operands(self) -> tuple[Operand, ...]:
        """Those of a step without the rate."""
        return tuple(o for o in super().operands() if o.name not in ("rate", "floor"))

    def results(self) -> tuple[str, ...]:
        """The direction, the states and three sums."""
        return ("g", *self.states, "squares", "x_squares", "g_squares")

    def compute(self, given: Terms) -> Terms:
        """Emit the direction."""
        given = {**given, "count": given["count"].cast("float64")}
        x, dtype = given["x"], dtype_of(given["x"])
        found = dict(self.step(given, x, self.prepared(given)))
        first = (1 / unbias(given["count"], self.beta1)).cast(dtype)
        second = (1 / sqrt_of_unbias(given["count"], self.beta2)).cast(dtype)
        root = sqrt(found["square"]) * second + self.epsilon
        direction = found["mean"] * first / root + x * given["decay"]
        return {
            **found,
            "g": direction,
            "squares": sum_of_squares(given["g"]),
            "x_squares": sum_of_squares(x),
            "g_squares": sum_of_squares(direction),
        }

    def step(self, given: Terms, x: Term, g: Term) -> Terms:
        """Emit the new states."""
        return {
            "mean": lerp(given["mean"], g, 1 - self.beta1),
            "square": squares(given["square"], g, self.beta2),
        }


@dataclass(frozen=True)
class NAdamStep(BlockStep):
    """Adam with Nesterov's momentum.

    ``u(t) = b1 (1 - 0.96**(t psi) / 2)``, and ``product`` is that of ``u(1) .. u(t)``;
    ``x' = x - (rate (1 - u(t)) / (1 - product) g + rate u(t+1) / (1 - product u(t+1)) m') /
    (sqrt(s' / (1 - b2**t)) + epsilon)``, m' and s' as Adam. As ``torch.optim.NAdam``.

    References:
        Dozat, Incorporating Nesterov momentum into Adam, ICLR workshop 2016.
    """

    name: ClassVar[str] = "nadam_step"
    extra: ClassVar[tuple[str, ...]] = ("product",)
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    momentum_decay: float = 4e-3

    @property
    def states(self) -> tuple[str, ...]:
        """Mean and mean square."""
        return ("mean", "square")

    def step(self, given: Terms, x: Term, g: Term) -> Terms:
        """Emit the formula."""
        mean = lerp(given["mean"], g, 1 - self.beta1)
        square = squares(given["square"], g, self.beta2)
        count, product, rate, dtype = given["count"], given["product"], given["rate"], dtype_of(x)
        now, then = (self._momentum(count + k) for k in (0, 1))
        of_gradient = (rate * ((1 - now) / (1 - product))).cast(dtype)
        of_mean = (rate * (then / (1 - product * then))).cast(dtype)
        share = (1 / sqrt_of_unbias(count, self.beta2)).cast(dtype)
        moved = (g * of_gradient + mean * of_mean) / (sqrt(square) * share + self.epsilon)
        return {"x": x - moved, "mean": mean, "square": square}

    def _momentum(self, count: Term) -> Term:
        decayed = power(0.96, count * self.momentum_decay)
        return (1 - decayed * 0.5) * self.beta1


@dataclass(frozen=True)
class AdamaxStep(BlockStep):
    """``x' = x - rate / (1 - b1**t) m' / s'``.

    ``m' = m + (1 - b1)(g - m)``, ``s' = max(b2 s, |g| + epsilon)``. States: m, s.
    As ``torch.optim.Adamax``.

    References:
        Kingma and Ba, Adam: a method for stochastic optimization, ICLR 2015, algorithm 2.
    """

    name: ClassVar[str] = "adamax_step"
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    @property
    def states(self) -> tuple[str, ...]:
        """Mean and largest gradient."""
        return ("mean", "largest")

    def step(self, given: Terms, x: Term, g: Term) -> Terms:
        """Emit the formula."""
        mean = lerp(given["mean"], g, 1 - self.beta1)
        largest = (given["largest"] * self.beta2).maximum(abs(g) + self.epsilon)
        rate = (given["rate"] / unbias(given["count"], self.beta1)).cast(dtype_of(x))
        return {"x": x - mean * rate / largest, "mean": mean, "largest": largest}


@dataclass(frozen=True)
class RmsPropStep(BlockStep):
    """``x' = x - rate v'``, ``v' = momentum v + g / (sqrt(s') + epsilon)``.

    ``s' = alpha s + (1 - alpha) g**2``; with :attr:`centered` the root is of ``s' - m'**2``,
    where ``m' = m + (1 - alpha)(g - m)``; rounding below zero counts as zero.
    States: s, then v with momentum and m if centered. As ``torch.optim.RMSprop``.

    References:
        Tieleman and Hinton, Lecture 6.5, Coursera, 2012. Graves, Generating sequences with
        recurrent neural networks, arXiv:1308.0850, 2013 (centered).
    """

    name: ClassVar[str] = "rmsprop_step"
    alpha: float = 0.99
    epsilon: float = 1e-8
    momentum: float = 0.0
    centered: bool = False

    @property
    def states(self) -> tuple[str, ...]:
        """Mean square, momentum, mean."""
        more = (("momentum", bool(self.momentum)), ("mean", self.centered))
        return ("square", *(name for name, wanted in more if wanted))

    def step(self, given: Terms, x: Term, g: Term) -> Terms:
        """Emit the formula."""
        found = {"square": squares(given["square"], g, self.alpha)}
        variance = found["square"]
        if self.centered:
            mean = found["mean"] = lerp(given["mean"], g, 1 - self.alpha)
            variance = (variance - mean * mean).maximum(0)
        v = g / (sqrt(variance) + self.epsilon)
        if self.momentum:
            v = found["momentum"] = given["momentum"] * self.momentum + v
        return {**found, "x": x - v * given["rate"].cast(dtype_of(x))}


@dataclass(frozen=True)
class AdagradStep(BlockStep):
    """``s' = s + g**2``, ``x' = x - rate / (1 + (t - 1) rate_decay) g / (sqrt(s') + epsilon)``.

    The state is s. As ``torch.optim.Adagrad``.

    References:
        Duchi, Hazan, Singer, Adaptive subgradient methods, JMLR 2011.
    """

    name: ClassVar[str] = "adagrad_step"
    rate_decay: float = 0.0
    epsilon: float = 1e-10

    @property
    def states(self) -> tuple[str, ...]:
        """Sum of squares."""
        return ("square",)

    def step(self, given: Terms, x: Term, g: Term) -> Terms:
        """Emit the formula."""
        slowed = (given["count"] - 1) * self.rate_decay + 1
        rate = (given["rate"] / slowed).cast(dtype_of(x))
        square = given["square"] + g * g
        return {"x": x - g * rate / (sqrt(square) + self.epsilon), "square": square}


@dataclass(frozen=True)
class AdadeltaStep(BlockStep):
    """``d = sqrt(a + epsilon) / sqrt(s' + epsilon) g``, ``x' = x - rate d``.

    ``s' = rho s + (1 - rho) g**2``, ``a' = rho a + (1 - rho) d**2``. States: s, a.
    As ``torch.optim.Adadelta``.

    References:
        Zeiler, ADADELTA: an adaptive learning rate method, arXiv:1212.5701, 2012.
    """

    name: ClassVar[str] = "adadelta_step"
    rho: float = 0.9
    epsilon: float = 1e-6

    @property
    def states(self) -> tuple[str, ...]:
        """Mean squares of gradients and of steps."""
        return ("square", "moved")

    def step(self, given: Terms, x: Term, g: Term) -> Terms:
        """Emit the formula."""
        square = squares(given["square"], g, self.rho)
        d = sqrt(given["moved"] + self.epsilon) / sqrt(square + self.epsilon) * g
        moved = squares(given["moved"], d, self.rho)
        return {"x": x - d * given["rate"].cast(dtype_of(x)), "square": square, "moved": moved}


def lerp(a: Term, b: Term, share: float) -> Term:
    """Return ``a + share (b - a)``."""
    return a + (b - a) * share


def squares(s: Term, g: Term, kept: float) -> Term:
    """Return the running mean of squares."""
    return s * kept + g * g * (1 - kept)


def power(base: float, exponent: Term) -> Term:
    """Return ``base ** exponent``."""
    return exponent.filled(base).apply(Pow(), exponent)


def unbias(count: Term, beta: float) -> Term:
    """Return ``1 - beta**t``, how much of a running mean that began at 0 is there."""
    return 1 - power(beta, count)


def sqrt_of_unbias(count: Term, beta: float) -> Term:
    """Return the root of the same."""
    return sqrt(unbias(count, beta))


__all__ = [
    "AdadeltaStep",
    "AdagradStep",
    "AdamStep",
    "AdamaxStep",
    "LambDirection",
    "NAdamStep",
    "RmsPropStep",
]
