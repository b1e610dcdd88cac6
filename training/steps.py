# SPDX-License-Identifier: MIT
"""An optimizer's step over an arena: its compiled programs and all that they read and write."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..ir import Array, ops
from ..runtime.team import Workers
from .arena import Layout
from .block_program import BlockProgram, Run, column, scalar
from .groups import Group, NonNeg
from .optimizers import LAMB, LARS, LayerWise, Optimizer


@dataclass(frozen=True)
class Settings:
    """What is the same in every step.

    Attributes:
        optimizer: makes the steps.
        layout: of the arena.
        groups: one per tensor, in the order of the layout.
        clip: largest absolute value of elements of gradients; 0 for no bound.
    """

    optimizer: Optimizer
    layout: Layout
    groups: Sequence[Group]
    clip: float = 0.0

    @property
    def decays(self) -> Array:
        """Weight decay of each tensor."""
        own = (g.weight_decay for g in self.groups)
        default = self.optimizer.weight_decay
        return np.array([default if d is None else d for d in own], np.float64)

    @property
    def options(self) -> dict[str, Any]:
        """Attributes of ops on gradients."""
        regularised = any(g.regulariser is not None for g in self.groups)
        return {"clip": self.clip, "regularised": regularised}

    @property
    def bounded(self) -> bool:
        """Whether a tensor has a lower bound."""
        return any(isinstance(g.constraint, NonNeg) for g in self.groups)

    def columns(self) -> dict[str, Array]:
        """Return the operands of one number a block, by name."""
        penalties = [g.regulariser for g in self.groups]
        numbers = {
            "rate": ([0.0 for _ in self.groups], "float64"),
            "decay": (self.decays, "float32"),
            "l1": ([p.l1 if p else 0.0 for p in penalties], "float32"),
            "l2": ([p.l2 if p else 0.0 for p in penalties], "float32"),
            "floor": (
                [0.0 if isinstance(g.constraint, NonNeg) else -math.inf for g in self.groups],
                "float32",
            ),
        }
        return {k: column(self.layout.spread(np.asarray(n)), d) for k, (n, d) in numbers.items()}


class Steps:
    """The steps of an optimizer.

    Args:
        settings: what is the same in every step.
        parameters: the arena.
        workers: threads.
        target: what to compile for.

    Attributes:
        states: arenas of the states by name.
    """

    def __init__(
        self, settings: Settings, parameters: Array, workers: Workers, target: str = "cpu"
    ) -> None:
        self.settings = settings
        self.layout = settings.layout
        optimizer = settings.optimizer
        self.states = {k: self.layout.arena(optimizer.initial(k)) for k in optimizer.states}
        self.arrays: dict[str, Array] = {
            **settings.columns(),
            **self.states,
            "x": parameters,
            "count": scalar(0, "int64"),
            "scale": scalar(1, "float32"),
            **{name: scalar(0, "float64") for name in optimizer.scalars(1)},
        }
        self._factors = np.array([g.learning_rate for g in settings.groups], np.float64)
        self._programs = [BlockProgram(o, self.layout.blocks, workers, target) for o in self._ops()]
        for program in self._programs:
            for name in program.op.results():
                if name.endswith("squares"):
                    self.arrays.setdefault(name, column(np.zeros(self.layout.blocks), "float64"))
        self._runs: dict[int, list[Run]] = {}

    def run(self, gradients: Array, count: int, rate: float, scale: float) -> float:
        """Make update number ``count``.

        Args:
            gradients: an arena; it may be used up.
            count: number of this update, from 1.
            rate: the learning rate.
            scale: what gradients are multiplied by.

        Returns:
            The norm of the scaled gradients.
        """
        self.arrays["count"][...] = count
        self.arrays["scale"][...] = scale
        for name, number in self.settings.optimizer.scalars(count).items():
            self.arrays[name][...] = number
        self._step(self._bound(gradients), rate)
        return scale * math.sqrt(float(np.sum(self.arrays["squares"])))

    def _ops(self) -> list[ops.BlockOp]:
        settings = self.settings
        return [settings.optimizer.op(**settings.options, bounded=settings.bounded)]

    def _step(self, runs: Sequence[Run], rate: float) -> None:
        self._set_rates(rate * self._factors)
        runs[0]()

    def _set_rates(self, rates: Array) -> None:
        np.copyto(self.arrays["rate"], self.layout.spread(rates))

    def _bound(self, gradients: Array) -> list[Run]:
        key = gradients.ctypes.data
        if key not in self._runs:
            self._runs[key] = self._bind({**self.arrays, "g": gradients})
        return self._runs[key]

    def _bind(self, arrays: Mapping[str, Array]) -> list[Run]:
        return [program.bind(arrays) for program in self._programs]


class LayerWiseSteps(Steps):
    """Steps of LARS and LAMB: norms of tensors first, then the step by their rates."""

    def _ops(self) -> list[ops.BlockOp]:
        settings = self.settings
        if isinstance(settings.optimizer, LAMB):
            return [
                settings.optimizer.op(**settings.options),
                ops.Descent(bounded=settings.bounded),
            ]
        norms = ops.BlockNorms(**settings.options)
        return [norms, *super()._ops()]

    def _bind(self, arrays: Mapping[str, Array]) -> list[Run]:
        if isinstance(self.settings.optimizer, LARS):
            return super()._bind(arrays)
        # The direction has scale and decay already; its own step must not sum squares again.
        plain = {
            "scale": scalar(1, "float32"),
            "decay": column(np.zeros(self.layout.blocks), "float32"),
            "squares": column(np.zeros(self.layout.blocks), "float64"),
        }
        first, second = self._programs
        return [first.bind(arrays), second.bind({**arrays, **plain})]

    def _step(self, runs: Sequence[Run], rate: float) -> None:
        runs[0]()
        self._set_rates(rate * self._factors * self._trust())
        runs[1]()

    def _trust(self) -> Array:
        optimizer = self.settings.optimizer
        assert isinstance(optimizer, LayerWise)
        x, g = (
            np.sqrt(self.layout.gathered(self.arrays[name])) for name in ("x_squares", "g_squares")
        )
        ratios = optimizer.trust(x, g, self.settings.decays)
        return np.where([group.adapted for group in self.settings.groups], ratios, 1.0)


def steps_of(settings: Settings, parameters: Array, workers: Workers, target: str = "cpu") -> Steps:
    """Return the steps of an optimizer over an arena of parameters."""
    kind = LayerWiseSteps if isinstance(settings.optimizer, LayerWise) else Steps
    return kind(settings, parameters, workers, target)


__all__ = ["LayerWiseSteps", "Settings", "Steps", "steps_of"]
