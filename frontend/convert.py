# SPDX-License-Identifier: MIT
"""Converters turn one ONNX operator into canonical ops; here are their registry and API.

A converter is a function of a :class:`Conversion`, registered under its operator's name::

    @converter("LeakyRelu")
    def leaky_relu(c: Conversion) -> Value:
        return c.emit(ops.LeakyRelu(alpha=c.attr("alpha", 0.01)), c.operand(0))

It reads operands, attributes and the operator set's version from ``c``, emits ops with
``c.emit`` (constants fold at once, so shape arithmetic needs no special care) and returns its
results in the operator's order: a value, or a sequence of them. Every operand that it sees has
a static shape or is handed to no op: what cannot be known before the model runs ends the
stage, by an exception that converters neither raise nor catch. So a converter that emits an op
with a data-dependent result shape (NonZero) must return it as it is: any further op on it
belongs to the next stage, where the shape is known.

An operator without a converter whose standard defines it by a function body is replaced by
that body.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, TypeVar, overload

import numpy as np

from ..errors import ModelError, UnsupportedError
from ..ir import Array, ArrayAttribute, Graph, Node, TensorType, Type, UnknownType, Value
from ..ir.ops import Onnx
from .folding import FoldingEmitter, NeedsShape, NeedsValue, is_static

T = TypeVar("T")


@dataclass(frozen=True)
class Items:
    """A sequence whose length is known; its members are values of the graph.

    Attributes:
        entries: the members.
        element: the member type that an empty sequence was declared with.
    """

    entries: tuple[Entry, ...]
    element: Type = field(default_factory=UnknownType)


@dataclass(frozen=True)
class Absent:
    """An optional that is known to hold nothing."""

    element: Type = field(default_factory=UnknownType)


Entry: TypeAlias = "Value | Items | Absent"
"""What an ONNX value is while converting: sequences and optionals never reach the graph."""


@dataclass(frozen=True)
class Expansion:
    """A converter's answer "this node equals that imported graph", which is converted instead.

    Attributes:
        graph: an imported graph; its outputs are the node's results that the model uses.
        arguments: the entries of its inputs.
    """

    graph: Graph
    arguments: tuple[Entry, ...]


Result: TypeAlias = "Entry | Sequence[Entry] | Expansion"
Converter: TypeAlias = "Callable[[Conversion], Result]"
_REGISTRY: dict[tuple[str, str], Converter] = {}
C = TypeVar("C", bound=Callable[..., Any])


def converter(*types: str, domain: str = "") -> Callable[[C], C]:
    """Register a function as converter of the named operators of ``domain``.

    Raises:
        ValueError: an operator has a converter already.
    """

    def register(function: C) -> C:
        for type in types:
            if (domain, type) in _REGISTRY:
                raise ValueError(f"operator {domain}.{type} has two converters")
            _REGISTRY[domain, type] = function
        return function

    return register


def converter_of(type: str, domain: str = "") -> Converter | None:
    """Return the converter of an operator, ``None`` if there is none."""
    return _REGISTRY.get((domain, type))


def converted_operators() -> frozenset[tuple[str, str]]:
    """Return domain and name of every operator that has a converter."""
    return frozenset(_REGISTRY)


class Scope(Protocol):
    """Where a conversion takes place: the graph under construction and its model."""

    emit: FoldingEmitter
    file: str
    checks: list[tuple[Value, str]]

    def region(self, body: Graph, inputs: Sequence[Type | Entry]) -> Region:
        """Convert a closed region; see :meth:`Conversion.region`."""


@dataclass(frozen=True)
class Region:
    """A region converted on its own, from which a control op's body is made.

    Attributes:
        title: name of the region.
        emit: holds the region's nodes; more may be emitted before :meth:`graph`.
        formals: inputs that were given by their types.
        captured: inputs that stand for outer values.
        operands: those outer values.
        results: entries of the region's results.
        flags: bool scalars that must be true whenever the region runs.
        messages: what to say if one is not.
    """

    title: str
    emit: FoldingEmitter
    formals: tuple[Value, ...]
    captured: tuple[Value, ...]
    operands: tuple[Value, ...]
    results: tuple[Entry, ...]
    flags: tuple[Value, ...]
    messages: tuple[str, ...]

    @property
    def tensors(self) -> tuple[Value, ...] | None:
        """The results if all are tensors of static shape, else ``None``."""
        values = tuple(r for r in self.results if isinstance(r, Value) and is_static(r.type))
        return values if len(values) == len(self.results) else None

    def graph(self, inputs: Sequence[Value], outputs: Sequence[Value]) -> Graph:
        """Return the region as a closed canonical graph; its last inputs are the captured."""
        return self.emit.graph(self.title, (*inputs, *self.captured), outputs)


@dataclass(frozen=True)
class Conversion:
    """One node of the model on its way to canonical ops.

    Attributes:
        node: the imported node; ``node.op`` is its operator.
        entries: operands by position in the operator's signature; ``None`` where absent.
        captured: outer values that the node's regions read, in the order of their inputs.
        scope: the graph under construction.
    """

    node: Node
    entries: tuple[Entry | None, ...]
    captured: tuple[Entry, ...]
    scope: Scope

    # The operator

    @property
    def op(self) -> Onnx:
        """The imported op: name, version, attributes."""
        assert isinstance(self.node.op, Onnx)
        return self.node.op

    @property
    def emit(self) -> FoldingEmitter:
        """Emits ops; an op on constants only is computed at once."""
        return self.scope.emit

    @property
    def type(self) -> str:
        """Operator name such as ``Conv``."""
        return self.op.type

    @property
    def version(self) -> int:
        """Version of the operator set that the model imports."""
        return self.op.version

    @property
    def source(self) -> str:
        """The node's name in the model."""
        return self.node.source

    @property
    def count_results(self) -> int:
        """One more than the position of the last result in use."""
        return max(self.op.results, default=-1) + 1

    def wants(self, position: int) -> bool:
        """Whether the model uses the result at this position of the signature."""
        return position in self.op.results

    # Operands

    @property
    def operands(self) -> list[Value]:
        """Every operand, for operators that take any number; none may be absent."""
        return [self.operand(k) for k in range(len(self.entries))]

    def entry(self, position: int) -> Entry | None:
        """Return a tensor, sequence or optional operand; ``None`` where absent."""
        return self.entries[position] if position < len(self.entries) else None

    def optional(self, position: int) -> Value | None:
        """Return a tensor operand, ``None`` where absent."""
        entry = self.entry(position)
        if entry is None or isinstance(entry, Value):
            return entry
        kind = "a sequence" if isinstance(entry, Items) else "an empty optional"
        raise self.error(f"operand {position} must be a tensor, found {kind}")

    def operand(self, position: int) -> Value:
        """Return a tensor operand that must be present."""
        value = self.optional(position)
        if value is None:
            raise self.error(f"operand {position} is missing")
        return value

    def known(self, position: int) -> Array | None:
        """Return an operand's elements if they are known now, else ``None``."""
        value = self.optional(position)
        return None if value is None else self.emit.known(value)

    def array(self, position: int) -> Array:
        """Return an operand's elements, on which the shape of the program depends.

        If they are not known, the graph is specialised to the values of the inputs they
        come from, or the stage ends here and the node is converted when they are.
        """
        value = self.operand(position)
        array = self.emit.known(value)
        if array is None:
            raise NeedsValue(value)
        return array

    def ints(self, position: int) -> tuple[int, ...]:
        """Return the elements of an integer operand (axes, pads, sizes) as numbers."""
        array = self.array(position)
        if array.dtype.kind not in "iu":
            raise self.error(f"operand {position} must hold integers, found {array.dtype}")
        return tuple(int(n) for n in array.ravel())

    def tensor(self, position: int) -> TensorType:
        """Return an operand's static type."""
        value = self.operand(position)
        if not is_static(value.type):
            raise NeedsShape(value)
        assert isinstance(value.type, TensorType)
        return value.type

    def shape(self, position: int) -> tuple[int, ...]:
        """Return an operand's shape."""
        return self.tensor(position).dims

    def dtype(self, position: int) -> str:
        """Return an operand's element type."""
        return self.tensor(position).dtype

    # Attributes

    def has(self, name: str) -> bool:
        """Whether the node states this attribute."""
        return any(key == name for key, _ in self.op.settings)

    @overload
    def attr(self, name: str) -> Any: ...

    @overload
    def attr(self, name: str, default: T) -> T: ...

    def attr(self, name: str, default: Any = None) -> Any:
        """Return an attribute: number, string, tuple, array or region; ``default`` if absent."""
        for key, value in self.op.settings:
            if key == name:
                return value.array if isinstance(value, ArrayAttribute) else value
        return default

    def axis(self, axis: int, rank: int) -> int:
        """Return ``axis`` counted from the front after checking that it exists."""
        if not -rank <= axis < rank:
            raise self.error(f"axis {axis} does not exist in a tensor of rank {rank}")
        return axis % rank

    # Results

    def check(self, flag: Value, message: str) -> None:
        """Ask that the bool scalar ``flag`` is true whenever the model runs.

        The executor raises :class:`~ranvier.errors.ExecutionError` with ``message`` and the
        node's name if it is not.
        """
        known = self.emit.known(flag)
        if known is None:
            self.scope.checks.append((flag, f"{self.where}: {message}"))
        elif not bool(np.all(known)):
            raise self.error(message)

    def region(self, body: Graph, inputs: Sequence[Type | Entry]) -> Region:
        """Convert a region on its own, for a control op.

        Args:
            body: one of the node's regions.
            inputs: for each of its inputs either a type, for what changes from run to run, or
                an entry, for what the region captures. A small constant is known inside.
        """
        return self.scope.region(body, inputs)

    # Errors

    @property
    def where(self) -> str:
        """File, node and operator, for messages."""
        return location(self.scope.file, self.node)

    def error(self, message: str) -> ModelError:
        """Return the error of a node that breaks the standard."""
        return ModelError(f"{self.where}: {message}")

    def unsupported(self, message: str) -> UnsupportedError:
        """Return the error of a valid node that this version cannot convert."""
        return UnsupportedError(f"{self.where}: {message}")


def location(file: str, node: Node) -> str:
    """Return file, node and operator, as in ``m.onnx: node 'conv1' (Conv-11)``."""
    op = node.op
    kind = f"{op.qualified}-{op.version}" if isinstance(op, Onnx) else op.name
    return f"{file or 'model'}: node '{node.source}' ({kind})"
