# SPDX-License-Identifier: MIT
"""Where the values of a program are while it is assembled: arena, constants, host slots."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from ..ir.graph import Graph, Node, Value
from ..ir.ops.fused import Fused
from ..ir.printer import digest
from ..ir.types import Array, dtype_name
from ..runtime.program import Parameter, TensorSpec
from .choices import Choices
from .locations import Arena, HostSlot, Location
from .packing import Packing
from .placement import Home, home_in_operand, homes_of
from .targets import Target
from .templates import Plan, candidates
from .values import dims, in_buffer, itemsize, nbytes
from .views import Request, View, laid_out, row_major

Place: TypeAlias = Location | HostSlot
Laid: TypeAlias = tuple[Location, View]
"""Where a tensor is and how it lies."""

_ALIGNMENT = 64


@dataclass
class Scope:
    """What is known of one graph or region; regions are closed, so each has its own.

    Attributes:
        places: where values are.
        arrays: constants by name.
        plans: templates that compute groups, by result.
        homes: how values lie whose layout is ours to choose.
        buffers: memory of homes, made when the first value is written there.
        converted: operands rearranged for templates.
        packed: computed operands packed for templates.
    """

    places: dict[Value, Place] = field(default_factory=dict)
    arrays: Mapping[str, Array] = field(default_factory=dict)
    plans: Mapping[Value, Plan] = field(default_factory=dict)
    homes: Mapping[Value, Home] = field(default_factory=dict)
    buffers: dict[str, Location] = field(default_factory=dict)
    converted: dict[tuple[Value, Request], Laid] = field(default_factory=dict)
    packed: dict[tuple[Value, Packing], Laid] = field(default_factory=dict)

    @classmethod
    def of(cls, graph: Graph, target: Target, choices: Choices) -> Scope:
        """Choose templates and homes for the kernels of a graph or region."""
        unit = target.unit
        if unit is None:
            return cls(arrays=graph.parameters)
        plans: dict[Value, Plan] = {}
        for node in graph.nodes:
            if isinstance(node.op, Fused):
                found = candidates(node, graph.parameters, unit, target.accuracy)
                plan = choices.pick(node.op.body, found)
                if plan is not None:
                    plans[node.outputs[0]] = plan
        return cls(arrays=graph.parameters, plans=plans, homes=homes_of(graph, plans))


class Memory:
    """Places of values, the arena and the blob of constants.

    Args:
        graph: the whole graph.
        target: what kernels are built for.
        choices: which candidates are known to be fastest.
    """

    def __init__(self, graph: Graph, target: Target, choices: Choices) -> None:
        self.target = target
        self.choices = choices
        self.arena = Arena()
        self.scope = Scope.of(graph, target, choices)
        self.parameters: dict[str, Parameter] = {}
        self.weights: dict[str, Array] = {}
        self.parameter_bytes = 0
        self._slots = 0

    @contextmanager
    def region(self, body: Graph, arguments: Sequence[Location]) -> Iterator[None]:
        """Within the block, names are those of ``body``."""
        before = self.scope
        self.scope = Scope.of(body, self.target, self.choices)
        self.scope.places.update(zip(body.inputs, arguments, strict=True))
        try:
            yield
        finally:
            self.scope = before

    # Where values are

    def slot(self) -> HostSlot:
        """Return a new host slot."""
        self._slots += 1
        return HostSlot(self._slots - 1)

    def place_of(self, value: Value) -> Place:
        """Return where a value that has been defined is."""
        place = self.scope.places.get(value)
        return self._parameter(value) if place is None else place

    def buffer_of(self, value: Value) -> Location:
        """Return the buffer of a value that a step reads now."""
        place = self.place_of(value)
        assert isinstance(place, Location), f"%{value.name} is not in a buffer"
        self.arena.touch(place)
        return place

    def operand(self, value: Value) -> Laid:
        """Return where a value that a kernel reads now is, and how it lies."""
        return self.buffer_of(value), self.view(value)

    def result(self, value: Value) -> Location:
        """Return the buffer of a value that a step writes now."""
        if value not in self.scope.places:
            self.scope.places[value] = self.arena.allocate(nbytes(value))
        place = self.scope.places[value]
        assert isinstance(place, Location)
        return place

    def result_place(self, value: Value) -> Place:
        """Return the buffer or host slot of a value that a step writes now."""
        if in_buffer(value):
            return self.result(value)
        return self.scope.places.setdefault(value, self.slot())

    # How they lie

    def view(self, value: Value) -> View:
        """Return how a value lies in its buffer."""
        home = self.scope.homes.get(value)
        return row_major(dims(value)) if home is None else home.view

    def laid_out(self, value: Value) -> tuple[Laid, Laid | None]:
        """Return where a kernel's result goes; second, what must be cleared around before."""
        home = self.scope.homes.get(value)
        if home is None or value in self.scope.places:
            return (self.result(value), self.view(value)), None
        size = itemsize(value)
        around = None
        whole = self.scope.buffers.get(home.buffer)
        if whole is None:
            whole = self.scope.buffers[home.buffer] = self.arena.allocate(home.size * size)
            if home.whole.halo:
                around = replace(whole, offset=home.whole_first * size), home.whole
        place = replace(whole, offset=home.first * size)
        self.scope.places[value] = place
        return (place, home.view), around

    def lies_in_operand(self, node: Node) -> bool:
        """Whether the result of a kernel is but another view of its operand; note where it is."""
        home = home_in_operand(node, self.scope.homes)
        if home is None or home != self.scope.homes.get(node.outputs[0]):
            return False
        (operand,) = node.inputs
        place, known = self.buffer_of(operand), self.scope.homes.get(operand)
        moved = home.first - (known.first if known else 0)
        offset = place.offset + moved * itemsize(operand)
        self.scope.places[node.outputs[0]] = replace(place, offset=offset)
        return True

    def temporary(self, value: Value, request: Request) -> Laid:
        """Return new memory for a value that lies as a kernel asks."""
        view, first, size = laid_out(dims(value), request.order, request.halo)
        place = self.arena.allocate(size * itemsize(value))
        return replace(place, offset=first * itemsize(value)), view

    # Constants

    def is_constant(self, value: Value) -> bool:
        """Whether a value is known when the program is assembled."""
        return value.name in self.scope.arrays

    def packed(self, value: Value, packing: Packing) -> Laid:
        """Place a packed constant in the blob when it is first read."""
        array = self.scope.arrays[value.name]
        name = f"{digest(array)[:32]}-{packing}"
        if name not in self.parameters:
            self._add_parameter(name, packing(array))
        parameter = self.parameters[name]
        return Location("parameter", offset=parameter.offset), row_major(parameter.spec.dims)

    def _parameter(self, value: Value) -> Location:
        """Place a constant in the blob when it is first read."""
        array = self.scope.arrays[value.name]
        name = digest(array)[:32]
        if name not in self.parameters:
            self._add_parameter(name, array)
        place = Location("parameter", offset=self.parameters[name].offset)
        self.scope.places[value] = place
        return place

    def _add_parameter(self, name: str, array: Array) -> None:
        spec = TensorSpec(name, dtype_name(array.dtype), tuple(map(int, array.shape)))
        self.parameters[name] = Parameter(name, self.parameter_bytes, spec)
        self.parameter_bytes += -(-spec.nbytes // _ALIGNMENT) * _ALIGNMENT
        self.weights[name] = array
