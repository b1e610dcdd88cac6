# SPDX-License-Identifier: MIT
"""A target-ready graph to a program: steps in order, every value with an address."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from ..ir.graph import Graph, Node, Value
from ..ir.ops.control import Branch, Scan, WhileLoop
from ..ir.ops.fused import Fused, is_compiled
from ..ir.printer import print_graph
from ..ir.types import Array
from ..runtime.program import (
    BranchStep,
    BufferOperand,
    BufferRef,
    Check,
    HostOperand,
    HostStep,
    KernelStep,
    LoopStep,
    Program,
    SlotOperand,
    Step,
    TensorSpec,
    WhileStep,
    value_spec,
)
from .choices import Choices
from .kernel import Kernel
from .library import KernelLibrary, Planned, host_graph
from .locations import HostSlot, Location, Planner
from .memory import Laid, Memory, Place
from .packing import Packing
from .placement import concatenation_axis, is_concatenation
from .targets import Target
from .templates import Plan
from .templates.pack import packed_size
from .values import dims, dtype, in_buffer, itemsize, nbytes
from .views import View, row_major

Resolve = Callable[[Location], BufferRef]
Draft = Callable[[Resolve], Step]

_INLINE_HOST_ELEMENTS = 64


@dataclass(frozen=True)
class Assembly:
    """A program, its kernels by name, the arrays of its parameters, and who wrote which kernel.

    Parameters are named by content, so that specialisations of one model share weights.
    """

    program: Program
    kernels: Mapping[str, Kernel]
    weights: Mapping[str, Array]
    planned: Mapping[str, Planned]


def assemble(
    graph: Graph,
    target: Target,
    planner: Planner,
    checks: Sequence[tuple[int, str]] = (),
    choices: Choices | None = None,
) -> Assembly:
    """Return the program of a target-ready graph with its kernels and weights.

    Args:
        graph: fused groups, control ops over fused groups, and host ops.
        target: what kernels are built for.
        planner: places the arena's buffers.
        checks: hidden flags among the outputs and the message each raises when false.
        choices: which candidates of kernels to take.
    """
    assembler = _Assembler(graph, target, choices or Choices())
    program = assembler.program(planner, checks)
    library = assembler.library
    return Assembly(program, library.kernels, assembler.memory.weights, library.planned)


class _Assembler:
    def __init__(self, graph: Graph, target: Target, choices: Choices) -> None:
        self.graph = graph
        self.library = KernelLibrary(target)
        self.memory = Memory(graph, target, choices)
        self.arena = self.memory.arena

    # The whole

    def program(self, planner: Planner, checks: Sequence[tuple[int, str]]) -> Program:
        """Walk the graph and return its program."""
        graph = self.graph
        for k, value in enumerate(graph.inputs):
            self.memory.scope.places[value] = (
                Location("input", k) if in_buffer(value) else self.memory.slot()
            )
        homes: dict[Value, Place] = {}
        produced = {v for node in graph.nodes for v in node.outputs}
        for k, value in enumerate(graph.outputs):
            if value in produced and value not in homes and in_buffer(value):
                homes[value] = Location("output", k)
        drafts = self._body(graph, homes, 0)
        output_slots = [self._deliver(k, v, homes, drafts) for k, v in enumerate(graph.outputs)]
        input_slots = [
            p.number if isinstance(p := self.memory.scope.places[v], HostSlot) else None
            for v in graph.inputs
        ]
        resolve, arena_bytes = self.arena.place(planner)
        return Program(
            inputs=tuple(value_spec(v.name, v.type) for v in graph.inputs),
            outputs=tuple(value_spec(v.name, v.type) for v in graph.outputs),
            parameters=tuple(self.memory.parameters.values()),
            parameter_bytes=self.memory.parameter_bytes,
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
        place = self.memory.place_of(value)
        if isinstance(place, HostSlot):
            return place.number
        if homes.get(value) != Location("output", k):
            self._copy(drafts, place, Location("output", k), nbytes(value))
        return None

    # Bodies

    def _body(self, graph: Graph, homes: dict[Value, Place], depth: int) -> list[Draft]:
        """Return the steps of ``graph``; results named in ``homes`` are written there."""
        drafts: list[Draft] = []
        for node in graph.nodes:
            for value in node.outputs:
                if value in homes:
                    self.memory.scope.places[value] = homes[value]
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
        if all(nbytes(v) == 0 for v in node.outputs):
            for value in node.outputs:
                self.memory.result(value)
            return
        if is_concatenation(node) and self._concatenation(node, drafts):
            return
        if self.memory.lies_in_operand(node):
            return
        plan = self.memory.scope.plans.get(node.outputs[0])
        self.arena.clock += 1
        operands = [self._operand_of(node, k, plan, drafts) for k in range(len(node.inputs))]
        results = [self._laid_out(v, drafts) for v in node.outputs]
        target = results[0]
        if plan is not None and not plan.result.accepts(target[1]):
            results = [self.memory.temporary(node.outputs[0], plan.result)]
        self.arena.clock += 1
        laid = [*operands, *results]
        name, kernel = self.library.group(node, plan, tuple(view for _, view in laid))
        places = [place for place, _ in laid]
        places += [self.arena.allocate(n) for n in kernel.scratch]
        self._call(drafts, name, places)
        if results[0] != target:
            self._convert(drafts, node.outputs[0], results[0], target)

    def _operand_of(self, node: Node, number: int, plan: Plan | None, drafts: list[Draft]) -> Laid:
        """Return where an operand lies, rearranged first if the plan asks for it."""
        value = node.inputs[number]
        if plan is None:
            return self.memory.operand(value)
        if number in plan.packings:
            return self._packed(value, plan.packings[number], drafts)
        request = plan.operands[number]
        laid = self.memory.operand(value)
        if request.accepts(laid[1]):
            return laid
        known = self.memory.scope.converted.get((value, request))
        if known is None:
            known = self.memory.temporary(value, request)
            self._clear(drafts, value, known)
            self._convert(drafts, value, laid, known)
            self.memory.scope.converted[value, request] = known
        return known

    def _packed(self, value: Value, packing: Packing, drafts: list[Draft]) -> Laid:
        """Return where a packed operand is: a constant, or the result of a step before."""
        if self.memory.is_constant(value):
            return self.memory.packed(value, packing)
        known = self.memory.scope.packed.get((value, packing))
        if known is None:
            place, view = self.memory.operand(value)
            size = packed_size(packing, view)
            known = self.arena.allocate(size * itemsize(value)), row_major((size,))
            name, _ = self.library.pack(packing, view)
            self._call(drafts, name, (place, known[0]))
            self.arena.clock += 1
            self.memory.scope.packed[value, packing] = known
        # A step that packs another operand may have come in between.
        self.arena.touch(known[0])
        return known

    def _concatenation(self, node: Node, drafts: list[Draft]) -> bool:
        """Write the operands into the result, unless they lie there already."""
        home = self.memory.scope.homes.get(node.output)
        if home is None:
            return False
        self.arena.clock += 1
        place, view = self._laid_out(node.output, drafts)
        axis, start = concatenation_axis(node), 0
        for part in node.inputs:
            step = start * view.strides[axis] * itemsize(part)
            target = replace(place, offset=place.offset + step), View(dims(part), view.strides)
            source = self.memory.operand(part)
            if source[0] != target[0]:
                self._convert(drafts, part, source, target)
            start += dims(part)[axis]
        return True

    def _convert(self, drafts: list[Draft], value: Value, source: Laid, target: Laid) -> None:
        if nbytes(value) == 0:
            return
        name, _ = self.library.convert(dtype(value), source[1], target[1])
        self.arena.clock += 1
        self._call(drafts, name, (source[0], target[0]))

    def _clear(self, drafts: list[Draft], value: Value, laid: Laid) -> None:
        """Zero what lies around a tensor whose memory has just become its own."""
        if laid[1].halo:
            name, _ = self.library.clear_halo(dtype(value), laid[1])
            self._call(drafts, name, (laid[0],))

    def _laid_out(self, value: Value, drafts: list[Draft]) -> Laid:
        """Return where a kernel's result goes, in memory that is ready for it."""
        laid, around = self.memory.laid_out(value)
        if around is not None:
            self._clear(drafts, value, around)
        return laid

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
        constants = {
            v.name: self.memory.scope.arrays[v.name] for v in node.inputs if self._is_inline(v)
        }
        graph = host_graph(node, constants)
        text = print_graph(graph, inline=1 << 62)
        inputs = [self._operand(v, self.memory.place_of(v)) for v in graph.inputs]
        outputs = [self._operand(v, self.memory.result_place(v)) for v in node.outputs]
        drafts.append(
            lambda resolve: HostStep(
                text, tuple(f(resolve) for f in inputs), tuple(f(resolve) for f in outputs)
            )
        )

    def _is_inline(self, value: Value) -> bool:
        array = self.memory.scope.arrays.get(value.name)
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
        states = [self.memory.result(v) for v in node.outputs[: op.num_carried]]
        stacked = [self.memory.result(v) for v in node.outputs[op.num_carried :]]
        sources = [self.memory.buffer_of(v) for v in node.inputs]
        for source, state, value in zip(sources, states, node.inputs, strict=False):
            self._copy(drafts, source, state, nbytes(value))
        start = self._open()
        formal = op.body.inputs
        slices = [
            source.moving(depth, nbytes(value))
            for value, source in zip(
                formal[op.num_carried : split], sources[op.num_carried : split], strict=True
            )
        ]
        columns = [
            place.moving(depth, nbytes(v))
            for place, v in zip(stacked, op.body.outputs[op.num_carried :], strict=True)
        ]
        with self.memory.region(op.body, (*states, *slices, *sources[split:])):
            steps = self._loop_body(op.body, formal[: op.num_carried], states, columns, depth)
        self._close(start, (*states, *stacked))
        drafts.append(lambda resolve: LoopStep(op.length, tuple(s(resolve) for s in steps)))

    def _while(self, node: Node, op: WhileLoop, drafts: list[Draft], depth: int) -> None:
        states = [self.memory.result(v) for v in node.outputs]
        sources = [self.memory.buffer_of(v) for v in node.inputs]
        condition, iteration = self.arena.allocate(1), self.arena.allocate(8)
        self._copy(drafts, sources[0], condition, 1)
        for source, state, value in zip(sources[1:], states, node.outputs, strict=False):
            self._copy(drafts, source, state, nbytes(value))
        start = self._open()
        for place in (condition, iteration):
            self.arena.touch(place)
        formal, count = op.body.inputs, 1 + len(states)
        with self.memory.region(op.body, (iteration, *states, *sources[count:])):
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
                self._copy(drafts, self.memory.buffer_of(value), column, nbytes(value))
        pending = []
        for value, name, state in zip(body.outputs, formal, states, strict=False):
            source = self.memory.buffer_of(value)
            if value is not name and value in formal:
                # A state that takes another state's old value must read it before it changes.
                source = self.arena.allocate(nbytes(value))
                self._copy(drafts, self.memory.buffer_of(value), source, nbytes(value))
            pending.append((source, state, nbytes(value)))
        for source, state, size in pending:
            self._copy(drafts, source, state, size)
        return drafts

    def _branch(self, node: Node, op: Branch, drafts: list[Draft], depth: int) -> None:
        condition = self.memory.buffer_of(node.inputs[0])
        results = [self.memory.result(v) for v in node.outputs]
        sources = [self.memory.buffer_of(v) for v in node.inputs[1:]]
        start = self._open()
        arms = []
        for body in (op.then_body, op.else_body):
            with self.memory.region(body, sources):
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
                self._copy(drafts, self.memory.buffer_of(value), place, nbytes(value))
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


def _if_any(slots: Sequence[int | None]) -> tuple[int | None, ...]:
    return tuple(slots) if any(s is not None for s in slots) else ()
