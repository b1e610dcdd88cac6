# SPDX-License-Identifier: MIT
"""A target-ready graph to a program: steps in order, every value with an address."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from ..ir.graph import Graph, Node, Value
from ..ir.ops.control import Branch, Scan, WhileLoop
from ..ir.ops.fused import Fused, is_compiled
from ..ir.printer import digest, print_graph
from ..ir.types import Array, TensorType, dtype_name, numpy_dtype
from ..runtime.program import (
    BranchStep,
    BufferOperand,
    BufferRef,
    Check,
    HostOperand,
    HostStep,
    KernelStep,
    LoopStep,
    Parameter,
    Program,
    SlotOperand,
    Step,
    TensorSpec,
    WhileStep,
    value_spec,
)
from .kernel import Kernel
from .library import KernelLibrary, host_graph
from .locations import Arena, HostSlot, Location, Planner
from .targets import Target

Resolve = Callable[[Location], BufferRef]
Draft = Callable[[Resolve], Step]
Place = Location | HostSlot

_ALIGNMENT = 64
_INLINE_HOST_ELEMENTS = 64


@dataclass(frozen=True)
class Assembly:
    """A program, its kernels by name, and the arrays of its parameters by name.

    Parameters are named by content, so that specialisations of one model share weights.
    """

    program: Program
    kernels: Mapping[str, Kernel]
    weights: Mapping[str, Array]


def assemble(
    graph: Graph, target: Target, planner: Planner, checks: Sequence[tuple[int, str]] = ()
) -> Assembly:
    """Return the program of a target-ready graph with its kernels and weights.

    Args:
        graph: fused groups, control ops over fused groups, and host ops.
        target: what kernels are built for.
        planner: places the arena's buffers.
        checks: hidden flags among the outputs and the message each raises when false.
    """
    assembler = _Assembler(graph, target)
    program = assembler.program(planner, checks)
    return Assembly(program, assembler.library.kernels, assembler.weights)


class _Assembler:
    def __init__(self, graph: Graph, target: Target) -> None:
        self.graph = graph
        self.library = KernelLibrary(target)
        self.arena = Arena()
        # Of the graph or region being walked; regions are closed, so each has its own.
        self.places: dict[Value, Place] = {}
        self.arrays: Mapping[str, Array] = graph.parameters
        self.parameters: dict[str, Parameter] = {}
        self.weights: dict[str, Array] = {}
        self.parameter_bytes = 0
        self.slots = 0

    # The whole

    def program(self, planner: Planner, checks: Sequence[tuple[int, str]]) -> Program:
        """Walk the graph and return its program."""
        graph = self.graph
        for k, value in enumerate(graph.inputs):
            self.places[value] = Location("input", k) if in_buffer(value) else self._slot()
        homes: dict[Value, Place] = {}
        produced = {v for node in graph.nodes for v in node.outputs}
        for k, value in enumerate(graph.outputs):
            if value in produced and value not in homes and in_buffer(value):
                homes[value] = Location("output", k)
        drafts = self._body(graph, homes, 0)
        output_slots = [self._deliver(k, v, homes, drafts) for k, v in enumerate(graph.outputs)]
        input_slots = [
            p.number if isinstance(p := self.places[v], HostSlot) else None for v in graph.inputs
        ]
        resolve, arena_bytes = self.arena.place(planner)
        return Program(
            inputs=tuple(value_spec(v.name, v.type) for v in graph.inputs),
            outputs=tuple(value_spec(v.name, v.type) for v in graph.outputs),
            parameters=tuple(self.parameters.values()),
            parameter_bytes=self.parameter_bytes,
            arena_bytes=arena_bytes,
            steps=tuple(draft(resolve) for draft in drafts),
            kernels=tuple(self.library.infos.values()),
            checks=tuple(Check(k, message) for k, message in checks),
            input_slots=_if_any(input_slots),
            output_slots=_if_any(output_slots),
        )

    def _deliver(
        self, k: int, value: Value, homes: dict[Value, Place], drafts: list[Draft]
    ) -> int | None:
        """Copy a graph output that is not already in its place; return its host slot if any."""
        place = self._place_of(value)
        if isinstance(place, HostSlot):
            return place.number
        if homes.get(value) != Location("output", k):
            self._copy(drafts, place, Location("output", k), _nbytes(value))
        return None

    # Bodies

    def _body(self, graph: Graph, homes: dict[Value, Place], depth: int) -> list[Draft]:
        """Return the steps of ``graph``; results named in ``homes`` are written there."""
        drafts: list[Draft] = []
        for node in graph.nodes:
            for value in node.outputs:
                if value in homes:
                    self.places[value] = homes[value]
            self._node(node, drafts, depth)
        return drafts

    def _node(self, node: Node, drafts: list[Draft], depth: int) -> None:
        if not is_compiled(node):
            self._host(node, drafts)
        elif isinstance(node.op, Fused):
            self._kernel(node, drafts)
        elif isinstance(node.op, Scan):
            self._scan(node, node.op, drafts, depth)
        elif isinstance(node.op, Branch):
            self._branch(node, node.op, drafts, depth)
        elif isinstance(node.op, WhileLoop):
            self._while(node, node.op, drafts, depth)
        else:
            raise node.op.error("has no form in a program")

    def _kernel(self, node: Node, drafts: list[Draft]) -> None:
        if all(_nbytes(v) == 0 for v in node.outputs):
            for value in node.outputs:
                self._result(value)
            return
        name, kernel = self.library.group(node)
        self.arena.clock += 1
        places = [self._buffer_of(v) for v in node.inputs]
        places += [self._result(v) for v in node.outputs]
        places += [self.arena.allocate(n) for n in kernel.scratch]
        self._call(drafts, name, places)

    def _call(self, drafts: list[Draft], name: str, places: Sequence[Location]) -> None:
        for place in places:
            self.arena.touch(place)
        drafts.append(lambda resolve: KernelStep(name, tuple(map(resolve, places))))

    def _copy(self, drafts: list[Draft], source: Location, target: Location, nbytes: int) -> None:
        if nbytes == 0 or source == target:
            return
        name, _ = self.library.copy(nbytes)
        self.arena.clock += 1
        self._call(drafts, name, (source, target))

    def _host(self, node: Node, drafts: list[Draft]) -> None:
        self.arena.clock += 1
        constants = {v.name: self.arrays[v.name] for v in node.inputs if self._is_inline(v)}
        graph = host_graph(node, constants)
        text = print_graph(graph, inline=1 << 62)
        inputs = [self._operand(v, self._place_of(v)) for v in graph.inputs]
        outputs = [self._operand(v, self._result_place(v)) for v in node.outputs]
        drafts.append(
            lambda resolve: HostStep(
                text, tuple(f(resolve) for f in inputs), tuple(f(resolve) for f in outputs)
            )
        )

    def _is_inline(self, value: Value) -> bool:
        array = self.arrays.get(value.name)
        return array is not None and (array.dtype == object or array.size <= _INLINE_HOST_ELEMENTS)

    def _operand(self, value: Value, place: Place) -> Callable[[Resolve], HostOperand]:
        self.arena.touch(place)
        if isinstance(place, HostSlot):
            slot = SlotOperand(place.number)
            return lambda resolve: slot
        spec = value_spec(value.name, value.type)
        assert isinstance(spec, TensorSpec)
        return lambda resolve: BufferOperand(resolve(place), spec)

    # Control flow

    def _scan(self, node: Node, op: Scan, drafts: list[Draft], depth: int) -> None:
        split = op.num_carried + op.num_scanned
        states = [self._result(v) for v in node.outputs[: op.num_carried]]
        stacked = [self._result(v) for v in node.outputs[op.num_carried :]]
        sources = [self._buffer_of(v) for v in node.inputs]
        for source, state, value in zip(sources, states, node.inputs, strict=False):
            self._copy(drafts, source, state, _nbytes(value))
        start = self._open()
        formal = op.body.inputs
        slices = [
            source.moving(depth, _nbytes(value))
            for value, source in zip(
                formal[op.num_carried : split], sources[op.num_carried : split], strict=True
            )
        ]
        columns = [
            place.moving(depth, _nbytes(v))
            for place, v in zip(stacked, op.body.outputs[op.num_carried :], strict=True)
        ]
        with self._region(op.body, (*states, *slices, *sources[split:])):
            steps = self._loop_body(op.body, formal[: op.num_carried], states, columns, depth)
        self._close(start, (*states, *stacked))
        drafts.append(lambda resolve: LoopStep(op.length, tuple(s(resolve) for s in steps)))

    def _while(self, node: Node, op: WhileLoop, drafts: list[Draft], depth: int) -> None:
        states = [self._result(v) for v in node.outputs]
        sources = [self._buffer_of(v) for v in node.inputs]
        condition, iteration = self.arena.allocate(1), self.arena.allocate(8)
        self._copy(drafts, sources[0], condition, 1)
        for source, state, value in zip(sources[1:], states, node.outputs, strict=False):
            self._copy(drafts, source, state, _nbytes(value))
        start = self._open()
        for place in (condition, iteration):
            self.arena.touch(place)
        formal, count = op.body.inputs, 1 + len(states)
        with self._region(op.body, (iteration, *states, *sources[count:])):
            # The condition is a state like the others: the body computes its next value.
            carried = (None, *formal[1:count])
            steps = self._loop_body(op.body, carried, [condition, *states], [], depth)
        self._close(start, (condition, iteration, *states))
        drafts.append(
            lambda resolve: WhileStep(
                resolve(condition),
                resolve(iteration),
                op.max_trips,
                tuple(s(resolve) for s in steps),
            )
        )

    def _loop_body(
        self,
        body: Graph,
        formal: Sequence[Value | None],
        states: Sequence[Location],
        columns: Sequence[Location],
        depth: int,
    ) -> list[Draft]:
        """Return the steps of one trip: the body, then results into states and columns."""
        produced = {v for n in body.nodes for v in n.outputs}
        homes: dict[Value, Place] = {}
        for value, column in zip(body.outputs[len(states) :], columns, strict=True):
            if value in produced:
                homes.setdefault(value, column)
        drafts = self._body(body, homes, depth + 1)
        for value, column in zip(body.outputs[len(states) :], columns, strict=True):
            if homes.get(value) != column:
                self._copy(drafts, self._buffer_of(value), column, _nbytes(value))
        pending = []
        for value, name, state in zip(body.outputs, formal, states, strict=False):
            source = self._buffer_of(value)
            if value is not name and value in formal:
                # A state that takes another state's old value must read it before it changes.
                source = self.arena.allocate(_nbytes(value))
                self._copy(drafts, self._buffer_of(value), source, _nbytes(value))
            pending.append((source, state, _nbytes(value)))
        for source, state, nbytes in pending:
            self._copy(drafts, source, state, nbytes)
        return drafts

    def _branch(self, node: Node, op: Branch, drafts: list[Draft], depth: int) -> None:
        condition = self._buffer_of(node.inputs[0])
        results = [self._result(v) for v in node.outputs]
        sources = [self._buffer_of(v) for v in node.inputs[1:]]
        start = self._open()
        arms = []
        for body in (op.then_body, op.else_body):
            with self._region(body, sources):
                arms.append(self._arm(body, results, depth))
        self._close(start, (condition, *results, *sources))
        then_steps, else_steps = arms
        drafts.append(
            lambda resolve: BranchStep(
                resolve(condition),
                tuple(s(resolve) for s in then_steps),
                tuple(s(resolve) for s in else_steps),
            )
        )

    def _arm(self, body: Graph, results: Sequence[Location], depth: int) -> list[Draft]:
        produced = {v for n in body.nodes for v in n.outputs}
        homes: dict[Value, Place] = {}
        for value, place in zip(body.outputs, results, strict=True):
            if value in produced:
                homes.setdefault(value, place)
        drafts = self._body(body, homes, depth)
        for value, place in zip(body.outputs, results, strict=True):
            if homes.get(value) != place:
                self._copy(drafts, self._buffer_of(value), place, _nbytes(value))
        return drafts

    def _open(self) -> int:
        self.arena.clock += 1
        return self.arena.clock

    def _close(self, start: int, held: Sequence[Location]) -> None:
        """End a region: what it used from before, and ``held``, lives until here."""
        self.arena.clock += 1
        for place in held:
            self.arena.touch(place)
        self.arena.close_loop(start)

    @contextmanager
    def _region(self, body: Graph, arguments: Sequence[Location]) -> Iterator[None]:
        """Within the block, names are those of ``body``."""
        before = self.places, self.arrays
        self.places = dict(zip(body.inputs, arguments, strict=True))
        self.arrays = body.parameters
        try:
            yield
        finally:
            self.places, self.arrays = before

    # Places

    def _slot(self) -> HostSlot:
        self.slots += 1
        return HostSlot(self.slots - 1)

    def _place_of(self, value: Value) -> Place:
        place = self.places.get(value)
        if place is None:
            place = self._parameter(value)
        return place

    def _buffer_of(self, value: Value) -> Location:
        place = self._place_of(value)
        assert isinstance(place, Location), f"%{value.name} is not in a buffer"
        self.arena.touch(place)
        return place

    def _result_place(self, value: Value) -> Place:
        return (
            self._result(value) if in_buffer(value) else self.places.setdefault(value, self._slot())
        )

    def _result(self, value: Value) -> Location:
        if value not in self.places:
            self.places[value] = self.arena.allocate(_nbytes(value))
        place = self.places[value]
        assert isinstance(place, Location)
        return place

    def _parameter(self, value: Value) -> Location:
        """Place a parameter in the blob when it is first read."""
        array = self.arrays[value.name]
        name = digest(array)[:32]
        if name not in self.parameters:
            spec = TensorSpec(name, dtype_name(array.dtype), tuple(map(int, array.shape)))
            self.parameters[name] = Parameter(name, self.parameter_bytes, spec)
            self.parameter_bytes += -(-spec.nbytes // _ALIGNMENT) * _ALIGNMENT
            self.weights[name] = array
        place = Location("parameter", offset=self.parameters[name].offset)
        self.places[value] = place
        return place


def in_buffer(value: Value) -> bool:
    """Whether a value lives in a buffer: a static tensor of numbers."""
    return (
        isinstance(value.type, TensorType) and value.type.is_static and value.type.dtype != "string"
    )


def _nbytes(value: Value) -> int:
    assert isinstance(value.type, TensorType)
    return value.type.size * numpy_dtype(value.type.dtype).itemsize


def _if_any(slots: Sequence[int | None]) -> tuple[int | None, ...]:
    return tuple(slots) if any(s is not None for s in slots) else ()
