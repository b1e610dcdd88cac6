# SPDX-License-Identifier: MIT
"""Optimizer steps over blocks: what they share, gradient descent, and steps scaled by norms."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from .arithmetic import Sign
from .block_op import BlockOp, Operand, Terms, dtype_of, sum_of_squares
from .elementary import Sqrt
from .terms import Term


@dataclass(frozen=True)
class Prepared(BlockOp):
    """Base of ops on gradients, which are made ready first.

    ``g' = scale g``, then clipped to ``[-clip, clip]``, then ``g' + l1 sign(x) + 2 l2 x``.

    Attributes:
        clip: largest absolute value of an element; 0 for no bound.
        regularised: whether operands ``l1`` and ``l2`` follow ``scale``: factors a block of the
            penalties ``l1 sum(|x|) + l2 sum(x**2)``.
    """

    clip: float = 0.0
    regularised: bool = False

    def gradient_operands(self) -> tuple[Operand, ...]:
        """Return the operands that :meth:`prepared` reads besides x and g."""
        penalties = (Operand("l1", 1), Operand("l2", 1)) if self.regularised else ()
        return (Operand("scale", 0), *penalties)

    def prepared(self, given: Terms) -> Term:
        """Emit the gradient made ready."""
        x = given["x"]
        g = given["g"] * given["scale"]
        if self.clip:
            g = g.clip(-self.clip, self.clip)
        if self.regularised:
            g = g + x.apply(Sign()) * given["l1"] + x * (given["l2"] * 2)
        return g


@dataclass(frozen=True)
class BlockStep(Prepared):
    """Base of optimizer steps.

    Operands: count () int64, the number of this update from 1; scale (); rate (b) float64;
    decay (b); where wanted l1, l2, floor (b); x, g and the states (b, n). Results: x, the
    states, and the sums of squares of g (b) in float64.

    With :attr:`decoupled`, ``x`` shrinks by ``rate decay x`` before the step, else ``decay x``
    joins the gradient. Finally ``x = max(x, floor)`` with :attr:`bounded`.

    Attributes:
        decoupled: whether the decay is apart from the gradient.
        bounded: whether an operand ``floor`` follows.

    References:
        Loshchilov and Hutter, Decoupled weight decay regularization, ICLR 2019.
    """

    decoupled: bool = False
    bounded: bool = False
    extra: ClassVar[tuple[str, ...]] = ()
    """Names of scalars that the step takes after ``count``, float64."""

    @property
    @abstractmethod
    def states(self) -> tuple[str, ...]:
        """Names of the states."""

    @abstractmethod
    def step(self, given: Terms, x: Term, g: Term) -> Terms:
        """Emit the new ``x`` and states.

        Args:
            given: all operands by name, ``count`` as float64.
            x: the parameter, decayed if its decay is decoupled.
            g: the gradient made ready, with the decay if it is not.
        """

    def operands(self) -> tuple[Operand, ...]:
        """Scalars, numbers per block, tensors."""
        return (
            Operand("count", 0, "int64"),
            *(Operand(name, 0, "float64") for name in self.extra),
            *self.gradient_operands(),
            Operand("rate", 1, "float64"),
            Operand("decay", 1),
            *([Operand("floor", 1)] if self.bounded else []),
            *(Operand(name, 2) for name in ("x", "g", *self.states)),
        )

    def results(self) -> tuple[str, ...]:
        """The parameter, the states, and squares of the gradient."""
        return ("x", *self.states, "squares")

    def compute(self, given: Terms) -> Terms:
        """Emit the step between what goes before and after it."""
        given = {**given, "count": given["count"].cast("float64")}
        x, g = given["x"], self.prepared(given)
        if self.decoupled:
            kept = (1 - given["rate"] * given["decay"].cast("float64")).cast(dtype_of(x))
            x = x * kept
        else:
            g = g + x * given["decay"]
        found = dict(self.step(given, x, g))
        if self.bounded:
            found["x"] = found["x"].maximum(given["floor"])
        return {**found, "squares": sum_of_squares(given["g"])}


@dataclass(frozen=True)
class Descent(BlockStep):
    """``x' = x - rate g``; with momentum ``v' = momentum v + (1 - dampening) g``.

    Then ``x' = x - rate v'``, or ``x - rate (g + momentum v')`` with :attr:`nesterov`. In the
    first update ``v' = g``. The state is v, none without momentum. As ``torch.optim.SGD``.

    References:
        Sutskever, Martens, Dahl, Hinton, On the importance of initialization and momentum in
        deep learning, ICML 2013.
    """

    name: ClassVar[str] = "descent"
    momentum: float = 0.0
    dampening: float = 0.0
    nesterov: bool = False

    @property
    def states(self) -> tuple[str, ...]:
        """The momentum, if there is one."""
        return ("momentum",) if self.momentum else ()

    def step(self, given: Terms, x: Term, g: Term) -> Terms:
        """Emit the formula."""
        rate = given["rate"].cast(dtype_of(x))
        if not self.momentum:
            return {"x": x - g * rate}
        v = given["momentum"] * self.momentum + _dampened(given["count"], g, self.dampening)
        direction = g + v * self.momentum if self.nesterov else v
        return {"x": x - direction * rate, "momentum": v}


def _dampened(count: Term, g: Term, dampening: float) -> Term:
    if not dampening:
        return g
    share = (count < 2).where(count.filled(1), 1 - dampening)
    return g * share.cast(dtype_of(g))


@dataclass(frozen=True)
class LarsStep(BlockStep):
    """``v' = momentum v + rate g'``, ``x' = x - v'``, where g' has the decay.

    Layer-wise adaptive rates: the rate of a block is to hold the trust ratio of its tensor,
    ``|x| / (|g| + decay |x|)``, which the caller finds by :class:`BlockNorms`.
    The state is v.

    References:
        You, Gitman, Ginsburg, Large batch training of convolutional networks,
        arXiv:1708.03888, 2017, algorithm 1.
    """

    name: ClassVar[str] = "lars_step"
    momentum: float = 0.9

    @property
    def states(self) -> tuple[str, ...]:
        """The momentum."""
        return ("momentum",)

    def step(self, given: Terms, x: Term, g: Term) -> Terms:
        """Emit the formula."""
        v = given["momentum"] * self.momentum + g * given["rate"].cast(dtype_of(x))
        return {"x": x - v, "momentum": v}


@dataclass(frozen=True)
class BlockNorms(Prepared):
    """Sums of squares of blocks in float64: of g as given, of g made ready, and of x.

    Operands: scale (), where wanted l1 and l2 (b), x (b, n), g (b, n). Results (b).
    """

    name: ClassVar[str] = "block_norms"

    def operands(self) -> tuple[Operand, ...]:
        """What makes gradients ready."""
        return (*self.gradient_operands(), Operand("x", 2), Operand("g", 2))

    def results(self) -> tuple[str, ...]:
        """Three sums."""
        return ("squares", "g_squares", "x_squares")

    def compute(self, given: Terms) -> Terms:
        """Emit the sums."""
        return {
            "squares": sum_of_squares(given["g"]),
            "g_squares": sum_of_squares(self.prepared(given)),
            "x_squares": sum_of_squares(given["x"]),
        }


@dataclass(frozen=True)
class BlockSquares(BlockOp):
    """Sums of squares of blocks in float64; operand g (b, n), result (b)."""

    name: ClassVar[str] = "block_squares"

    def operands(self) -> tuple[Operand, ...]:
        """One tensor."""
        return (Operand("g", 2),)

    def results(self) -> tuple[str, ...]:
        """One sum a block."""
        return ("squares",)

    def compute(self, given: Terms) -> Terms:
        """Emit the sums."""
        return {"squares": sum_of_squares(given["g"])}


def sqrt(x: Term) -> Term:
    """Return the square root."""
    return x.apply(Sqrt())


__all__ = ["BlockNorms", "BlockSquares", "BlockStep", "Descent", "LarsStep", "Prepared"]
