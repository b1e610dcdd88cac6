# SPDX-License-Identifier: MIT
"""Computes results again where they are needed late, instead of keeping them all the time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from ..errors import PassError
from ..ir import Emitter, Graph, Node, TensorType, Value
from ..ir.ops.fused import Fused
from .plan_memory import aligned
from .purity import is_pure
from .registry import graph_pass

LEVELS = ("full", "mid", "low")
_CHEAP = 8
"""Operations per byte up to which a kernel waits for memory: most of its work is free."""
_FLOPS, _BYTES = 40e9, 10e9
"""Per second and core, roughly; only the ratio between kernels counts."""
_MORE = 0.5
"""Share of the work that is repeated at most where no budget is given."""
_TRIES = 8
"""Candidates that are tried at a peak before it is taken for the least."""


@graph_pass("rematerialise")
def rematerialise(graph: Graph, *, level: str = "full", budget: int | None = None) -> Graph:
    """Compute results again where that lowers the most memory that is needed at one time.

    At the step with the highest need, the result that frees most bytes per second of
    computing it again is dropped after its last use before and computed again for the next
    one; from what is there then, if need be through other results that are gone by then. This
    is repeated until the need is within the budget, or nothing lowers it.

    Args:
        graph: of kernels, in the order in which they run.
        level: ``full`` keeps every result; ``mid`` computes again what takes little more
            than reading and writing memory; ``low`` computes anything again.
        budget: bytes of intermediate results that will do, whatever that takes; by default as
            few as possible for at most half as much work again.

    Raises:
        PassError: there is no such level.

    References:
        Chen, Xu, Zhang, Guestrin, Training deep nets with sublinear memory cost,
        arXiv:1604.06174, 2016. Kirisame et al., Dynamic tensor rematerialization, ICLR 2021.
    """
    if level not in LEVELS:
        raise PassError(f"rematerialise: level must be one of {', '.join(LEVELS)}, found {level!r}")
    if level == "full":
        return graph
    schedule = Schedule(graph, graph.nodes)
    emit = Emitter.continuing(graph)
    most = math.inf if budget is not None else schedule.total_seconds * (1 + _MORE)
    while schedule.peak > (budget or 0):
        better = _improved(schedule, emit, level)
        if better is None or better.total_seconds > most:
            break
        schedule = better
    if schedule.nodes is graph.nodes:
        return graph
    return replace(graph, nodes=tuple(schedule.nodes))


def memory_peak(graph: Graph) -> int:
    """Return the most bytes of intermediate results that are needed at one step."""
    return Schedule(graph, graph.nodes).peak


@dataclass(frozen=True)
class Schedule:
    """Nodes in the order in which they run, and what memory they need when.

    Attributes:
        graph: whose inputs, parameters and outputs have memory of their own.
        nodes: in order.
        costs: of ops that were asked for.
    """

    graph: Graph
    nodes: Sequence[Node]
    costs: dict[int, tuple[int, int]] = field(default_factory=dict)

    def cost(self, step: int) -> tuple[int, int]:
        """Operations of a step, and bytes that it reads and writes."""
        node = self.nodes[step]
        key = id(node.op)  # ops live as long as the graph, and a copy of a node has its op
        if key not in self.costs:
            types = [v.type for v in (*node.inputs, *node.outputs)]
            nbytes = sum(t.nbytes for t in types if isinstance(t, TensorType))
            self.costs[key] = node.op.flops(*(v.type for v in node.inputs)), nbytes
        return self.costs[key]

    def seconds(self, step: int) -> float:
        """What a step takes, roughly."""
        flops, nbytes = self.cost(step)
        return max(flops / _FLOPS, nbytes / _BYTES)

    def is_repeatable(self, step: int, level: str) -> bool:
        """Whether a step may run twice: it draws no numbers, and is cheap where that is asked."""
        op = self.nodes[step].op
        if not isinstance(op, Fused) or not is_pure(op):
            return False
        flops, nbytes = self.cost(step)
        return level == "low" or flops <= _CHEAP * nbytes

    @cached_property
    def total_seconds(self) -> float:
        """What all steps take, roughly."""
        return sum(map(self.seconds, range(len(self.nodes))))

    @cached_property
    def made(self) -> Mapping[Value, int]:
        """The step that computes each value."""
        return {v: k for k, node in enumerate(self.nodes) for v in node.outputs}

    @cached_property
    def read(self) -> Mapping[Value, list[int]]:
        """The steps that read each value, in order."""
        found: dict[Value, list[int]] = {}
        for k, node in enumerate(self.nodes):
            for value in dict.fromkeys(node.inputs):
                found.setdefault(value, []).append(k)
        return found

    @cached_property
    def live(self) -> Sequence[int]:
        """Bytes that are needed at each step."""
        changes = [0] * (len(self.nodes) + 1)
        for value, first in self.made.items():
            changes[first] += self.nbytes(value)
            changes[self.last(value) + 1] -= self.nbytes(value)
        found, total = [], 0
        for change in changes[:-1]:
            total += change
            found.append(total)
        return found

    @cached_property
    def _outputs(self) -> frozenset[Value]:
        return frozenset(self.graph.outputs)

    @property
    def peak(self) -> int:
        """The most bytes needed at one step."""
        return max(self.live, default=0)

    def last(self, value: Value) -> int:
        """The last step that computes or reads a value."""
        return max(self.made[value], *self.read.get(value, ()), 0)

    def nbytes(self, value: Value) -> int:
        """Bytes of a value in the memory for intermediate results; none for outputs."""
        if value in self._outputs or not isinstance(value.type, TensorType):
            return 0
        return aligned(value.type.nbytes)

    def is_there(self, value: Value, step: int) -> bool:
        """Whether a value may be read at a step without living longer for it."""
        if value not in self.made:
            return True  # an input or a parameter
        return self.made[value] < step and (value in self._outputs or self.last(value) >= step)


@dataclass(frozen=True)
class Candidate:
    """A value that may be computed again after a step of high need.

    Attributes:
        value: what is dropped.
        point: the step before which it is computed again.
        again: the steps that are repeated for it, in order.
        freed: bytes at the step of high need.
        seconds: what it costs.
    """

    value: Value
    point: int
    again: tuple[int, ...]
    freed: int
    seconds: float


def _improved(schedule: Schedule, emit: Emitter, level: str) -> Schedule | None:
    """Return a schedule with less need at the first highest step; ``None`` if there is none."""
    top = schedule.live.index(schedule.peak)
    found = sorted(_candidates(schedule, top, level), key=lambda c: -c.freed / (c.seconds + 1e-7))
    for candidate in found[:_TRIES]:
        changed = _applied(schedule, emit, candidate)
        if (changed.peak, changed.live.count(changed.peak)) < (
            schedule.peak,
            schedule.live.count(schedule.peak),
        ):
            return changed
    return None


def _candidates(schedule: Schedule, top: int, level: str) -> Iterator[Candidate]:
    """Yield what is kept over the step ``top`` without being read there."""
    for value, first in schedule.made.items():
        reads = schedule.read.get(value, [])
        later = [k for k in reads if k > top]
        if first >= top or not later or top in reads or not schedule.nbytes(value):
            continue
        candidate = _candidate(schedule, value, top, later[0], level)
        if candidate is not None and candidate.freed > 0:
            yield candidate


def _candidate(
    schedule: Schedule, value: Value, top: int, point: int, level: str
) -> Candidate | None:
    """Return how to compute a value again, from what is there or may live a little longer."""
    again: set[int] = set()
    longer: set[Value] = set()
    waiting = [value]
    while waiting:
        step = schedule.made[waiting.pop()]
        if step in again:
            continue
        if not schedule.is_repeatable(step, level):
            return None
        again.add(step)
        for operand in schedule.nodes[step].inputs:
            if schedule.is_there(operand, point) and operand != value:
                continue
            if schedule.is_repeatable(schedule.made[operand], level):
                waiting.append(operand)
            else:
                longer.add(operand)
    kept = sum(schedule.nbytes(v) for v in longer if schedule.last(v) < top)
    seconds = sum(map(schedule.seconds, again))
    return Candidate(value, point, tuple(sorted(again)), schedule.nbytes(value) - kept, seconds)


def _applied(schedule: Schedule, emit: Emitter, candidate: Candidate) -> Schedule:
    """Return the schedule with the steps repeated and later reads of the value from the copy."""
    copies: dict[Value, Value] = {}
    repeated: list[Node] = []
    for step in candidate.again:
        node = schedule.nodes[step]
        outputs = tuple(Value(emit.fresh(f"{v.name}.again"), v.type) for v in node.outputs)
        inputs = tuple(copies.get(v, v) for v in node.inputs)
        repeated.append(replace(node, inputs=inputs, outputs=outputs))
        copies.update(zip(node.outputs, outputs, strict=True))
    copy = {candidate.value: copies[candidate.value]}
    after = [
        replace(n, inputs=tuple(copy.get(v, v) for v in n.inputs))
        for n in schedule.nodes[candidate.point :]
    ]
    before = schedule.nodes[: candidate.point]
    return Schedule(schedule.graph, (*before, *repeated, *after), schedule.costs)
