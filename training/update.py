# SPDX-License-Identifier: MIT
"""The update of parameters by their gradients, in place, by compiled programs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..codegen.targets import parse_target
from ..compiler import build_canonical
from ..errors import InputError
from ..ir import Array, Emitter, TensorType, ops
from ..ir.ops.terms import Term
from ..runtime.buffers import aligned_empty
from ..runtime.executor import Executor
from ..runtime.team import Workers, thread_count
from .arena import Layout
from .block_program import BlockProgram, Run, column, scalar
from .groups import ClipNorm, ClipValue, Group, NormConstraint, grouped
from .optimizers import Optimizer
from .ranges import is_number, require_flags, require_fraction
from .steps import Settings, steps_of

Weights = Mapping[str, Array]


@dataclass(frozen=True)
class Average:
    """A running mean of the weights: ``e' = decay e + (1 - decay) x'`` after every update.

    Attributes:
        decay: what is kept.
        warm_up: whether update ``t`` keeps at most ``(1 + t) / (10 + t)``, so that the first
            weights are soon forgotten.

    Raises:
        InputError: the decay is not from 0 to below 1.

    References:
        Polyak and Juditsky, Acceleration of stochastic approximation by averaging, 1992.
    """

    decay: float = 0.999
    warm_up: bool = False

    def __post_init__(self) -> None:
        require_fraction("Average", decay=self.decay)
        require_flags(self)

    def kept(self, count: int) -> float:
        """Return what update number ``count`` keeps."""
        return min(self.decay, (1 + count) / (10 + count)) if self.warm_up else self.decay


@dataclass(frozen=True)
class Updated:
    """What is known of an update.

    Attributes:
        count: number of updates so far.
        norm: of the gradients of all parameters together, before clipping.
        applied: whether parameters changed: not if clipping found that ``norm`` is not finite.
    """

    count: int
    norm: float
    applied: bool = True

    @property
    def finite(self) -> bool:
        """Whether every element of every gradient was finite."""
        return math.isfinite(self.norm)


class Updater:
    """Parameters, their gradients and the states of an optimizer, in arenas of blocks.

    The arrays in :attr:`parameters` and :attr:`gradients` stay where they are, contiguous and
    aligned to 64 bytes, so that other programs can be bound to them. :meth:`step` runs one
    compiled program over all parameters in place; LARS and LAMB run two, and each constraint
    of norms one a tensor.

    Args:
        parameters: float32 arrays by name; they are copied.
        optimizer: makes the steps.
        groups: what differs between parameters; the first that names one counts.
        clip: bound of gradients.
        average: keeps a running mean of the weights, see :attr:`averages`.
        threads: as for a session, or the threads that other programs use, too.

    Attributes:
        parameters: by name, in the order given.
        gradients: of the parameters that are not frozen; :meth:`step` may use them up.
        averages: running means of those, empty without ``average``.
        count: updates so far.

    >>> import numpy as np
    >>> from ranvier.training.optimizers import SGD
    >>> updater = Updater({"w": np.array([1.0, 2.0], np.float32)}, SGD(0.5), threads=1)
    >>> updater.gradients["w"][:] = [1.0, -1.0]
    >>> updater.step().norm, updater.parameters["w"].tolist()
    (1.4142135623730951, [0.5, 2.5])

    Raises:
        InputError: a parameter is not float32, all are frozen, or a group names none.
    """

    def __init__(
        self,
        parameters: Weights,
        optimizer: Optimizer,
        *,
        groups: Sequence[Group] = (),
        clip: ClipValue | ClipNorm | None = None,
        average: Average | None = None,
        threads: int | Workers | None = None,
    ) -> None:
        _check(parameters)
        self.optimizer = optimizer
        self.count = 0
        self._workers = threads if isinstance(threads, Workers) else Workers(thread_count(threads))
        self._clip, self._average = clip, average
        self._groups = grouped(list(parameters), groups)
        learned = {k: a for k, a in parameters.items() if not self._groups[k].frozen}
        if not learned:
            raise InputError("Updater: every parameter is frozen; leave one to learn")
        self._layout = _layout(learned)
        frozen = _layout({k: a for k, a in parameters.items() if k not in learned})
        self._arena = self._layout.arena()
        views = {**self._layout.views(self._arena), **frozen.views(frozen.arena())}
        self.parameters: Weights = {k: views[k] for k in parameters}
        self._gradients = self._layout.arena()
        self.gradients: Weights = self._layout.views(self._gradients)
        self._sums: Array | None = None
        self._summed = 0
        self._make_programs()
        self._means = self._layout.arena() if average else self._arena
        self.averages: Weights = {} if average is None else self._layout.views(self._means)
        self.assign(parameters)

    def _make_programs(self) -> None:
        groups = [self._groups[name] for name in self._layout.shapes]
        bound = self._clip.limit if isinstance(self._clip, ClipValue) else 0.0
        settings = Settings(self.optimizer, self._layout, groups, bound)
        self._steps = steps_of(settings, self._arena, self._workers)
        self._squares = column(np.zeros(self._layout.blocks), "float64")
        self._keep, self._add = scalar(0, "float32"), scalar(0, "float32")
        self._runs: dict[tuple[object, ...], Run] = {}
        self._constraints = [
            _constrained(self.parameters[name], group.constraint, self._workers)
            for name, group in zip(self._layout.shapes, groups, strict=True)
            if isinstance(group.constraint, NormConstraint)
        ]

    # Updating

    def assign(self, weights: Weights) -> None:
        """Let parameters be ``weights``, and running means, too.

        Args:
            weights: arrays by name; parameters that are left out stay.

        Raises:
            InputError: there is no such parameter, or its shape or type is another.
        """
        for name, array in weights.items():
            _check_fits("parameter", name, array, self.parameters)
        for name, array in weights.items():
            np.copyto(self.parameters[name], array)
            if name in self.averages:
                np.copyto(self.averages[name], array)

    def accumulate(self) -> None:
        """Add the gradients to a sum; the next :meth:`step` follows the mean of the sum."""
        if self._sums is None:
            self._sums = self._layout.arena()
        if self._summed:
            self._blend(self._sums, self._gradients, 1.0, 1.0)
        else:
            np.copyto(self._sums, self._gradients)
        self._summed += 1

    def gradient_norm(self) -> float:
        """Return the norm of the gradients that the next step follows; not finite if one is."""
        arena, scale = self._next()
        return scale * math.sqrt(self._sum_of_squares(arena))

    def step(self, rate: float | None = None) -> Updated:
        """Update the parameters.

        Args:
            rate: the learning rate, by default the optimizer's.

        Raises:
            InputError: the rate is negative or not finite.
        """
        rate = self.optimizer.learning_rate if rate is None else rate
        if not is_number(rate) or rate < 0:
            raise InputError(f"step: rate={rate!r} must be a finite number of at least 0")
        arena, scale = self._next()
        if isinstance(self._clip, ClipNorm):
            norm = self.gradient_norm()
            if not math.isfinite(norm):
                self._summed = 0
                return Updated(self.count, norm, applied=False)
            self._apply(arena, rate, scale * self._clip.factor(norm))
            return Updated(self.count, norm)
        return Updated(self.count + 1, self._apply(arena, rate, scale))

    def _apply(self, arena: Array, rate: float, scale: float) -> float:
        self.count += 1
        self._summed = 0
        norm = self._steps.run(arena, self.count, rate, scale)
        for constrain in self._constraints:
            constrain()
        if self._average is not None:
            kept = self._average.kept(self.count)
            self._blend(self._means, self._arena, kept, 1 - kept)
        return norm

    def _next(self) -> tuple[Array, float]:
        """Return the arena of gradients of the next step, and what they are multiplied by."""
        if self._summed:
            assert self._sums is not None
            return self._sums, 1 / self._summed
        return self._gradients, 1.0

    # Programs that are made when they are met

    def _sum_of_squares(self, arena: Array) -> float:
        self._run_of(ops.BlockSquares(), g=arena, squares=self._squares)()
        return float(np.sum(self._squares))

    def _blend(self, y: Array, x: Array, keep: float, add: float) -> None:
        self._keep[...], self._add[...] = keep, add
        self._run_of(ops.Blend(), keep=self._keep, add=self._add, y=y, x=x)()

    def _run_of(self, op: ops.BlockOp, **arrays: Array) -> Run:
        """Return the run of an op over arrays that the updater keeps."""
        key = (op.name, *map(id, arrays.values()))
        if key not in self._runs:
            program = BlockProgram(op, self._layout.blocks, self._workers)
            self._runs[key] = program.bind(arrays)
        return self._runs[key]

    # State

    def state(self) -> dict[str, Array]:
        """Return copies of all that a step depends on besides parameters and gradients.

        By name: ``count``, ``STATE/PARAMETER``, ``average/PARAMETER``; between micro-batches
        also ``accumulated`` and ``sum/PARAMETER``.
        """
        found = {k: a.copy() for k, a in self._arrays().items()}
        found["count"] = np.array(self.count, np.int64)
        if self._summed:
            found["accumulated"] = np.array(self._summed, np.int64)
        return found

    def load(self, state: Weights) -> None:
        """Continue from a :meth:`state`.

        Raises:
            InputError: it is that of another optimizer or other parameters; nothing changes.
        """
        state = dict(state)
        count = _count(state.pop("count", None), "count")
        summed = _count(state.pop("accumulated", np.array(0)), "accumulated")
        if summed and self._sums is None:
            self._sums = self._layout.arena()
        arrays = self._arrays(summed)
        missing = sorted(arrays.keys() - state.keys())
        if missing:
            raise InputError(
                f"load: the state of the optimizer lacks {missing[0]!r}, which "
                f"{self.optimizer.name} has; it is of another optimizer or another model"
            )
        for name, array in state.items():
            _check_fits("state", name, array, arrays)
        for name, array in state.items():
            np.copyto(arrays[name], array)
        self.count, self._summed = count, summed

    def _arrays(self, summed: int | None = None) -> dict[str, Array]:
        """Return the arrays of the state by name."""
        arenas = dict(self._steps.states)
        if self._average is not None:
            arenas["average"] = self._means
        if self._sums is not None and (self._summed if summed is None else summed):
            arenas["sum"] = self._sums
        return {
            f"{kind}/{name}": array
            for kind, arena in arenas.items()
            for name, array in self._layout.views(arena).items()
        }


def _layout(parameters: Weights) -> Layout:
    return Layout({k: a.shape for k, a in parameters.items()})


def _check(parameters: Weights) -> None:
    for name, array in parameters.items():
        if array.dtype != np.float32:
            raise InputError(
                f"Updater: parameter {name!r} is {array.dtype}, expected float32; convert it"
            )
    if not parameters:
        raise InputError("Updater: there are no parameters")


def _check_fits(kind: str, name: str, array: Array, known: Weights) -> None:
    if name not in known:
        raise InputError(f"there is no {kind} {name!r}; there are {', '.join(list(known)[:8])}")
    expected = known[name]
    if array.shape != expected.shape or array.dtype != expected.dtype:
        raise InputError(
            f"{kind} {name!r} must be {expected.dtype}{list(expected.shape)}, found "
            f"{array.dtype}{list(array.shape)}"
        )


def _count(array: Array | None, name: str) -> int:
    if array is None or array.shape or array.dtype.kind not in "iu" or array < 0:
        raise InputError(
            f"load: {name!r} must be a whole number of at least 0, found "
            f"{'nothing' if array is None else array!r}"
        )
    return int(array)


def _constrained(x: Array, constraint: NormConstraint, workers: Workers) -> Run:
    """Return a run that makes a constraint hold for one tensor."""
    emit = Emitter()
    value = emit.argument(TensorType("float32", x.shape), "x")
    graph = emit.graph("constraint", [value], [constraint.applied(Term(emit, value)).value])
    built = build_canonical(graph, parse_target("cpu"))
    # Not in place: norms are read while what they are of is written.
    result = aligned_empty(x.shape, x.dtype)
    compute: Callable[[], object] = Executor(
        built.program, built.library, built.weights, workers
    ).bind([x], [result])

    def run() -> None:
        compute()
        np.copyto(x, result)

    return run


__all__ = ["Average", "Updated", "Updater"]
