# SPDX-License-Identifier: MIT
"""Converts the nodes of an imported graph one after another, as far as they can be."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import count

from ..errors import ModelError, OpError, RanvierError, UnsupportedError
from ..ir import Graph, Node, OptionalType, SequenceType, Type, UnknownType, Value
from ..ir.ops import Onnx
from .bodies import function_body
from .convert import (
    Absent,
    Conversion,
    Entry,
    Expansion,
    Items,
    Region,
    Result,
    converter_of,
    location,
)
from .folding import Demand, FoldingEmitter, LimitError, Mark
from .names import Names

MAX_CONVERTED = 2**16
"""Nodes converted for one stage, those of unrolled loops included."""

CONSTANT_ELEMENTS = 1024
"""A captured constant of at most this many elements is known inside a region."""


class Walker:
    """Holds what is known of each ONNX value and converts node by node.

    Attributes:
        emit: the graph under construction.
        file: the model's name, for messages.
        env: entry of every value that is available.
        checks: run-time checks: flag and message.
        deferred: nodes that could not be converted, in order.
        demands: for nodes that could not be converted, what they lacked.
        converted: number of nodes that could be.
    """

    def __init__(self, emit: FoldingEmitter, file: str, outer: Walker | None = None) -> None:
        self.emit = emit
        self.file = file
        self.env: dict[str, Entry] = {}
        self.checks: list[tuple[Value, str]] = []
        self.deferred: list[Node] = []
        self.demands: list[Demand] = []
        self.converted = 0
        self._strict = outer is not None
        # Attempts within regions count too: nested ones that fail would double at each level.
        self._work: Iterator[int] = outer._work if outer else count()
        self._names = Names()

    def enter_parameters(self, graph: Graph) -> None:
        """Make a graph's parameters available under their names."""
        for name, array in graph.parameters.items():
            self.env[name] = self.emit.bind(name, array)

    def walk(self, nodes: Iterable[Node]) -> None:
        """Convert nodes; what expands to an imported graph is converted in its place."""
        waiting = deque(nodes)
        self._names = Names(_value_names(waiting).union(self.env))
        while waiting:
            node = waiting.popleft()
            if any(v.name not in self.env for v in node.inputs):
                self.deferred.append(node)
                continue
            if next(self._work) > MAX_CONVERTED:
                raise LimitError(
                    f"{self._where(node)}: the model unrolls to more than {MAX_CONVERTED} nodes"
                )
            try:
                expansion = self._attempt(node)
            except Demand as demand:
                if self._strict:
                    raise
                self.deferred.append(node)
                self.demands.append(demand)
                continue
            if expansion is not None:
                waiting.extendleft(reversed(self._spliced(node, expansion)))
            self.converted += 1

    def _attempt(self, node: Node) -> Expansion | None:
        """Convert one node, or nothing of it."""
        mark = self.emit.mark()
        checks = len(self.checks)
        try:
            with self._located(node), self.emit.source(node.source):
                result = self._convert(node)
        except Demand:
            self.emit.rollback(mark)
            del self.checks[checks:]
            raise
        if isinstance(result, Expansion):
            return result
        self._assign(node, result, mark, checks)
        return None

    def _convert(self, node: Node) -> Result:
        op = node.op
        assert isinstance(op, Onnx)
        entries: list[Entry | None] = [None] * (max(op.operands, default=-1) + 1)
        for position, value in zip(op.operands, node.inputs, strict=False):
            entries[position] = self.env[value.name]
        captured = tuple(self.env[v.name] for v in node.inputs[len(op.operands) :])
        conversion = Conversion(node, tuple(entries), captured, self)
        convert = converter_of(op.type, op.domain)
        if convert is not None:
            return convert(conversion)
        body = function_body(op, [_type_of(e) for e in entries], self.file)
        if body is None:
            raise conversion.unsupported("this operator is not supported")
        return Expansion(body, tuple(e for e in entries if e is not None))

    def _assign(self, node: Node, result: Result, mark: Mark, checks: int) -> None:
        """Make results available under the node's names; `mark` and `checks` are from before."""
        assert isinstance(node.op, Onnx)
        assert not isinstance(result, Expansion)
        entries = (result,) if isinstance(result, Value | Items | Absent) else tuple(result)
        named: set[Entry] = set()
        for position, value in zip(node.op.results, node.outputs, strict=True):
            if position >= len(entries):
                raise UnsupportedError(f"{self._where(node)}: has no result {position}")
            entry = entries[position]
            # The result keeps its name in the model if it was made here and has none yet.
            if (
                isinstance(entry, Value)
                and entry not in named
                and self.emit.made_since(mark, entry)
            ):
                renamed = self.emit.rename(mark, entry, value.name)
                entries = tuple(renamed if e == entry else e for e in entries)
                self.checks[checks:] = [
                    (renamed if flag == entry else flag, message)
                    for flag, message in self.checks[checks:]
                ]
                entry = renamed
                named.add(entry)
            self.env[value.name] = entry

    def _spliced(self, node: Node, expansion: Expansion) -> list[Node]:
        """Return the nodes of an expansion under names of this walk."""
        graph, prefix = expansion.graph, f"{node.source}/"
        mine = {v: self._fresh(prefix, v) for v in graph.inputs}
        for value, entry in zip(graph.inputs, expansion.arguments, strict=True):
            self.env[mine[value].name] = entry
        for name, array in graph.parameters.items():
            bound = self.emit.bind(self._names.unused(prefix + name), array)
            mine[Value(name, bound.type)] = bound
            self.env[bound.name] = bound
        made = {v for n in graph.nodes for v in n.outputs}
        aliases: list[Node] = []
        for outer, inner in zip(node.outputs, graph.outputs, strict=True):
            if inner in made and inner not in mine:
                mine[inner] = outer
            else:
                aliases.append(Node(ALIAS, (mine[inner],), (outer,), node.source))
        nodes = [self._moved(n, mine, prefix) for n in live_nodes(graph)]
        return nodes + aliases

    def _moved(self, node: Node, mine: dict[Value, Value], prefix: str) -> Node:
        for value in node.outputs:
            if value not in mine:
                mine[value] = self._fresh(prefix, value)
        return replace(
            node,
            inputs=tuple(mine[v] for v in node.inputs),
            outputs=tuple(mine[v] for v in node.outputs),
            # A node without a name, such as the rest of a loop, keeps that of the whole.
            source=prefix + node.source if node.source else prefix[:-1],
        )

    def _fresh(self, prefix: str, value: Value) -> Value:
        return replace(value, name=self._names.unused(prefix + value.name))

    # Regions

    def region(self, body: Graph, inputs: Sequence[Type | Entry]) -> Region:
        """Convert a closed region; see :meth:`Conversion.region`."""
        inner = Walker(FoldingEmitter(_value_names(body.nodes)), self.file, self)
        formals: list[Value] = []
        captured: list[tuple[Value, Value]] = []
        for formal, given in zip(body.inputs, inputs, strict=True):
            if isinstance(given, Value | Items | Absent):
                inner.env[formal.name] = self._capture(inner, formal.name, given, captured)
            else:
                argument = inner.emit.argument(given, formal.name)
                formals.append(argument)
                inner.env[formal.name] = argument
        inner.enter_parameters(body)
        inner.walk(live_nodes(body))
        results = tuple(inner.env[v.name] for v in body.outputs)
        return Region(
            title=body.name,
            emit=inner.emit,
            formals=tuple(formals),
            captured=tuple(v for v, _ in captured),
            operands=tuple(v for _, v in captured),
            results=results,
            flags=tuple(flag for flag, _ in inner.checks),
            messages=tuple(message for _, message in inner.checks),
        )

    def _capture(
        self, inner: Walker, name: str, entry: Entry, captured: list[tuple[Value, Value]]
    ) -> Entry:
        if isinstance(entry, Items):
            members = (
                self._capture(inner, f"{name}[{k}]", e, captured)
                for k, e in enumerate(entry.entries)
            )
            return replace(entry, entries=tuple(members))
        if isinstance(entry, Absent):
            return entry
        array = self.emit.known(entry)
        if array is not None and array.size <= CONSTANT_ELEMENTS:
            return inner.emit.bind(name, array)
        argument = inner.emit.argument(entry.type, name)
        captured.append((argument, entry))
        return argument

    # Errors

    @contextmanager
    def _located(self, node: Node) -> Iterator[None]:
        """Name file, node and operator in whatever a conversion raises."""
        where = self._where(node)
        try:
            yield
        except OpError as error:
            raise ModelError(f"{where}: {error}") from error
        except RanvierError as error:
            if where in str(error) or location(self.file, node) in str(error):
                raise
            raise type(error)(f"{where}: {error}") from error
        except MemoryError as error:
            raise UnsupportedError(f"{where}: needs more memory than there is") from error
        # Converters are written for models that keep to the standard; what hostile attributes
        # make NumPy or an index raise is an error of the model.
        except (ValueError, TypeError, LookupError, ArithmeticError, RecursionError) as error:
            kind = type(error).__name__
            raise ModelError(f"{where}: cannot be converted: {kind}: {error}") from error

    def _where(self, node: Node) -> str:
        return location(self.file, node)


ALIAS = Onnx(type="Alias", version=1, domain="ranvier", operands=(0,), results=(0,))
"""Gives a second name to a value; see :mod:`ranvier.frontend.converters.internal`."""


def live_nodes(graph: Graph) -> list[Node]:
    """Return the nodes that some output depends on."""
    needed, live = {v.name for v in graph.outputs}, []
    for node in reversed(graph.nodes):
        if any(v.name in needed for v in node.outputs):
            live.append(node)
            needed.update(v.name for v in node.inputs)
    return live[::-1]


def _value_names(nodes: Iterable[Node]) -> set[str]:
    return {v.name for node in nodes for v in (*node.inputs, *node.outputs)}


def _type_of(entry: Entry | None) -> Type | None:
    if entry is None or isinstance(entry, Value):
        return None if entry is None else entry.type
    if isinstance(entry, Absent):
        return OptionalType(entry.element)
    first = _type_of(entry.entries[0]) if entry.entries else entry.element
    return SequenceType(first or UnknownType())
