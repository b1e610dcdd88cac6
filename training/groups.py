# SPDX-License-Identifier: MIT
"""What differs between parameters: rates, decay, freezing, penalties and constraints."""

from __future__ import annotations

import difflib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from ..errors import InputError
from ..ir import Array
from ..ir.ops.arithmetic import Div
from ..ir.ops.elementary import Sqrt
from ..ir.ops.reduction import ReduceSum
from ..ir.ops.terms import Term
from .ranges import require, require_flags, require_not_negative, require_positive

_EPSILON = 1e-7
"""Added to norms that divide, as in Keras."""


# Penalties


@dataclass(frozen=True)
class L1L2:
    """The penalty ``l1 sum(|x|) + l2 sum(x**2)``, as in Keras.

    Its gradient, ``l1 sign(x) + 2 l2 x``, joins that of the loss after clipping. With SGD,
    ``l2`` is a weight decay of ``2 l2``; adaptive optimizers scale it as they do the gradient,
    which a decoupled decay avoids. The penalty itself is not part of the loss that is reported.

    Raises:
        InputError: a factor is negative.
    """

    l1: float = 0.0
    l2: float = 0.0

    def __post_init__(self) -> None:
        require_not_negative(type(self).__name__, l1=self.l1, l2=self.l2)


def L1(factor: float = 0.01) -> L1L2:  # noqa: N802 - called as in Keras
    """Return the penalty ``factor sum(|x|)``."""
    return L1L2(l1=factor)


def L2(factor: float = 0.01) -> L1L2:  # noqa: N802 - called as in Keras
    """Return the penalty ``factor sum(x**2)``."""
    return L1L2(l2=factor)


# Constraints


class Constraint:
    """What holds for a parameter after every update."""


class NormConstraint(Constraint, ABC):
    """Base of constraints of the norms of output units.

    A unit's weights are those that make one of its outputs: along all axes but the first of
    (channels, inputs, kernel...), but the last of a matrix (inputs, features), and the whole of
    a vector.
    """

    @abstractmethod
    def wanted(self, norm: Term) -> Term:
        """Emit the norm that takes the place of ``norm``."""

    def applied(self, x: Term) -> Term:
        """Emit ``x wanted(norm) / (norm + 1e-7)``."""
        axes = unit_axes(x.shape)
        kept = tuple(1 if k in axes else n for k, n in enumerate(x.shape))
        norm = (x * x).apply(ReduceSum(axes)).reshape(*kept).apply(Sqrt())
        return x * self.wanted(norm).apply(Div(), norm + _EPSILON)


@dataclass(frozen=True)
class MaxNorm(NormConstraint):
    """Norms of output units are at most ``limit``.

    Raises:
        InputError: the limit is not positive.
    """

    limit: float = 2.0

    def __post_init__(self) -> None:
        require_positive("MaxNorm", limit=self.limit)

    def wanted(self, norm: Term) -> Term:
        """Clip from above."""
        return norm.minimum(self.limit)


@dataclass(frozen=True)
class MinMaxNorm(NormConstraint):
    """Norms of output units go from ``least`` to ``limit``: ``rate`` of the way at once.

    Raises:
        InputError: bounds cross, or the rate is not from above 0 to 1.
    """

    least: float = 0.0
    limit: float = 1.0
    rate: float = 1.0

    def __post_init__(self) -> None:
        require_not_negative("MinMaxNorm", least=self.least, rate=self.rate)
        require_positive("MinMaxNorm", limit=self.limit)
        crossed = f"at most limit={self.limit!r}"
        require("MinMaxNorm", self.least <= self.limit, crossed, least=self.least)
        require("MinMaxNorm", 0 < self.rate <= 1, "above 0 and at most 1", rate=self.rate)

    def wanted(self, norm: Term) -> Term:
        """Clip from both sides."""
        clipped = norm.clip(self.least, self.limit)
        return clipped if self.rate == 1 else clipped * self.rate + norm * (1 - self.rate)


@dataclass(frozen=True)
class UnitNorm(NormConstraint):
    """Norms of output units are 1."""

    def wanted(self, norm: Term) -> Term:
        """Return 1."""
        return norm.filled(1)


@dataclass(frozen=True)
class NonNeg(Constraint):
    """No element is negative."""


def unit_axes(shape: Sequence[int]) -> tuple[int, ...]:
    """Return the axes along which the weights of an output unit lie.

    >>> unit_axes((64, 3, 7, 7)), unit_axes((512, 10)), unit_axes((64, 1, 1)), unit_axes((8,))
    ((1, 2, 3), (0,), (0, 1, 2), (0,))
    """
    large = [k for k, n in enumerate(shape) if n > 1]
    if len(large) < 2:
        return tuple(range(len(shape)))
    unit = len(shape) - 1 if len(shape) == 2 else 0
    return tuple(k for k in range(len(shape)) if k != unit)


# Groups


@dataclass(frozen=True)
class Group:
    """Parameters that are treated alike; a parameter is in the first group that names it.

    Attributes:
        names: of parameters, or patterns of them with ``*``, ``?`` and ``[...]``.
        learning_rate: factor of the learning rate.
        weight_decay: in place of the optimizer's, if given.
        frozen: whether they stay as they are.
        adapted: whether LARS and LAMB scale their rate by the trust ratio.
        regulariser: a penalty.
        constraint: what holds after every update.

    >>> Group("encoder.*", learning_rate=0.1)
    Group(names=('encoder.*',), learning_rate=0.1)

    Raises:
        InputError: an option is out of its range.
    """

    names: str | Iterable[str]
    learning_rate: float = 1.0
    weight_decay: float | None = field(default=None, kw_only=True)
    frozen: bool = field(default=False, kw_only=True)
    adapted: bool = field(default=True, kw_only=True)
    regulariser: L1L2 | None = field(default=None, kw_only=True)
    constraint: Constraint | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        names = (self.names,) if isinstance(self.names, str) else tuple(self.names)
        object.__setattr__(self, "names", names)
        require_not_negative("Group", learning_rate=self.learning_rate)
        if self.weight_decay is not None:
            require_not_negative("Group", weight_decay=self.weight_decay)
        require_flags(self)

    def __repr__(self) -> str:
        """Show what differs from the defaults."""
        given = [f"{k}={v!r}" for k, v in self.__dict__.items() if v != _DEFAULTS.get(k)]
        return f"Group({', '.join(given)})"

    def holds(self, name: str) -> bool:
        """Whether the group names a parameter."""
        return any(fnmatchcase(name, pattern) for pattern in self.names)


_DEFAULTS = {
    "learning_rate": 1.0,
    "weight_decay": None,
    "frozen": False,
    "adapted": True,
    "regulariser": None,
    "constraint": None,
}
_OTHERS = Group("*")


def vectors(parameters: Mapping[str, Array]) -> tuple[str, ...]:
    """Return the names of biases, scales and other parameters with at most one axis.

    ``Group(vectors(parameters), weight_decay=0.0)`` keeps decay to the weights that multiply.

    >>> import numpy as np
    >>> vectors({"w": np.zeros((3, 2)), "b": np.zeros((3, 1, 1)), "scale": np.zeros(3)})
    ('b', 'scale')
    """
    return tuple(k for k, a in parameters.items() if sum(n > 1 for n in a.shape) < 2)


def grouped(names: Sequence[str], groups: Sequence[Group]) -> dict[str, Group]:
    """Return the group of every parameter.

    Raises:
        InputError: a pattern of a group names none of them.
    """
    for group in groups:
        for pattern in group.names:
            if not any(fnmatchcase(name, pattern) for name in names):
                near = difflib.get_close_matches(pattern, names, 1)
                hint = f"; is it {near[0]!r}?" if near else f"; there are {', '.join(names[:8])}"
                raise InputError(f"Group: no parameter is called {pattern!r}{hint}")
    return {n: next((g for g in groups if g.holds(n)), _OTHERS) for n in names}


# Clipping


@dataclass(frozen=True)
class ClipValue:
    """Elements of gradients are clipped to ``[-limit, limit]``.

    Raises:
        InputError: the limit is not positive.
    """

    limit: float

    def __post_init__(self) -> None:
        require_positive("ClipValue", limit=self.limit)


@dataclass(frozen=True)
class ClipNorm:
    """Gradients are scaled by ``min(1, limit / (norm + 1e-6))``, norm being that of all together.

    As ``torch.nn.utils.clip_grad_norm_``.

    Raises:
        InputError: the limit is not positive.

    References:
        Pascanu, Mikolov, Bengio, On the difficulty of training recurrent neural networks,
        ICML 2013.
    """

    limit: float

    def __post_init__(self) -> None:
        require_positive("ClipNorm", limit=self.limit)

    def factor(self, norm: float) -> float:
        """Return what gradients of this norm are multiplied by."""
        return min(1.0, self.limit / (norm + 1e-6))


__all__ = [
    "L1",
    "L1L2",
    "L2",
    "ClipNorm",
    "ClipValue",
    "Constraint",
    "Group",
    "MaxNorm",
    "MinMaxNorm",
    "NonNeg",
    "NormConstraint",
    "UnitNorm",
    "grouped",
    "unit_axes",
    "vectors",
]
