# SPDX-License-Identifier: MIT
"""Makes a canonical graph of an imported one for given input shapes, as far as it can go.

Code is made for concrete shapes. What a shape depends on is known at three moments: when the
model is loaded (constants), when a call brings its inputs (their shapes, and the values of
small ones such as axes or sizes), and when a part of the model has run (how many boxes were
kept). The first two are handled here at once; at the third a *stage* ends: its canonical graph
computes what it can, and the rest of the imported graph is specialised when the results are
there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..errors import InputError, UnsupportedError
from ..ir import Array, Graph, Node, TensorType, UnknownType, Value, type_of
from ..ir.structure import Structure
from ..ir.types import INTEGERS
from . import converters  # noqa: F401 - fills the registry
from .convert import Absent, Entry, Items, location
from .folding import FoldingEmitter, NeedsValue, is_static
from .walker import Walker, live_nodes


class NeedsInputs(Exception):
    """The program depends on the values of these inputs: specialise again with them.

    Attributes:
        names: leaf names of the inputs (see :func:`ranvier.ir.structure.leaves`), those that
            were given included.
    """

    def __init__(self, names: frozenset[str]) -> None:
        super().__init__(
            f"the program depends on the values of the inputs {', '.join(sorted(names))}"
        )
        self.names = names


@dataclass(frozen=True)
class Slot:
    """A named ONNX value as a group of tensors: one, those of a sequence, or none."""

    name: str
    structure: Structure


@dataclass(frozen=True)
class Stage:
    """The part of a model that runs as one program.

    Attributes:
        graph: canonical graph of static shapes. Its inputs are the tensors of ``inputs`` one
            after another, those whose value was used included; its outputs the tensors of
            ``results``, whose shapes may be symbolic where a host op decides them, then the
            flags of ``checks``. An output may be an input, a parameter, or a value that is an
            output already.
        inputs: the imported graph's inputs.
        results: values that the graph computes, by their ONNX names: outputs of the model and
            what the rest reads.
        checks: position of a flag among the graph's outputs, and what to say if it is false.
        value_inputs: leaf names of inputs whose values the program was made for.
        rest: what remains of the imported graph; its inputs are found by name among this
            stage's inputs and results. ``None`` if nothing does.
    """

    graph: Graph
    inputs: tuple[Slot, ...]
    results: tuple[Slot, ...]
    checks: tuple[tuple[int, str], ...] = ()
    value_inputs: frozenset[str] = frozenset()
    rest: Graph | None = None


def specialise(
    graph: Graph,
    structures: Sequence[Structure],
    values: Mapping[str, Array] | None = None,
    *,
    file: str = "model",
) -> Stage:
    """Convert an imported graph for inputs of these types.

    Args:
        graph: imported graph.
        structures: for each input its tensor type, of known shape; for a sequence the types
            of its members; ``None`` for an optional that holds nothing.
        values: elements of inputs that the program may be specialised to, by leaf name.
        file: the model's name, for messages.

    Raises:
        InputError: the types do not fit the graph's inputs.
        NeedsInputs: more inputs' values are needed; call again with them.
        ModelError: the model breaks the standard; the message names the node.
        UnsupportedError: an operator is not supported.
    """
    _check_inputs(graph, structures)
    values = values or {}
    walker = Walker(FoldingEmitter(_names(graph)), file)
    inputs = _enter_inputs(walker, graph, structures, values)
    walker.enter_parameters(graph)
    walker.walk(live_nodes(graph))
    needed = frozenset(
        name
        for demand in walker.demands
        if isinstance(demand, NeedsValue)
        for name in _bindable(demand.value, walker.emit, inputs)
    )
    if needed:
        raise NeedsInputs(needed | values.keys())
    if walker.deferred and not walker.converted:
        raise UnsupportedError(
            f"{location(file, walker.deferred[0])}: cannot be converted even with all its "
            f"operands known; it lacks {walker.demands[0]}"
        )
    return _stage(graph, walker, inputs, structures, values)


# Inputs


def _check_inputs(graph: Graph, structures: Sequence[Structure]) -> None:
    if len(structures) != len(graph.inputs):
        raise InputError(f"the model has {len(graph.inputs)} inputs, {len(structures)} were given")
    sizes: dict[str, int] = {}
    for value, structure in zip(graph.inputs, structures, strict=True):
        if isinstance(value.type, TensorType):
            _check_tensor(value.name, value.type, structure, sizes)


def _check_tensor(name: str, declared: TensorType, found: Structure, sizes: dict[str, int]) -> None:
    wrong = InputError(f"input '{name}': expected {declared}, found {describe(found)}")
    if not isinstance(found, TensorType) or found.dtype != declared.dtype:
        raise wrong
    if found.rank != declared.rank:
        raise wrong
    for dim, size in zip(declared.shape, found.dims, strict=True):
        expected = dim if isinstance(dim, int) else sizes.setdefault(dim, size)
        if expected != size:
            known = f"; '{dim}' is {expected} in another input" if isinstance(dim, str) else ""
            raise InputError(f"{wrong}{known}")


def describe(structure: Structure) -> str:
    """Return a structure as text for messages.

    >>> describe((TensorType("bool", ()), None))
    'a sequence of (bool[], nothing)'
    """
    if structure is None:
        return "nothing"
    if isinstance(structure, TensorType):
        return str(structure)
    return f"a sequence of ({', '.join(map(describe, structure))})"


def _enter_inputs(
    walker: Walker, graph: Graph, structures: Sequence[Structure], values: Mapping[str, Array]
) -> tuple[Value, ...]:
    """Make the inputs known to the walker and return those of the canonical graph."""
    arguments: list[Value] = []
    taken = _names(graph) - {v.name for v in graph.inputs}

    def enter(name: str, structure: Structure) -> Entry:
        if structure is None:
            return Absent()
        if not isinstance(structure, TensorType):
            members = (enter(f"{name}[{k}]", s) for k, s in enumerate(structure))
            return Items(tuple(members))
        if name in taken:
            raise UnsupportedError(f"{walker.file}: a value is called '{name}' like a member")
        argument = walker.emit.argument(structure, name)
        arguments.append(argument)
        return walker.emit.constant(values[name]) if name in values else argument

    for value, structure in zip(graph.inputs, structures, strict=True):
        entry = enter(value.name, structure)
        if isinstance(entry, Items) and not entry.entries:
            entry = Items((), getattr(value.type, "element", UnknownType()))
        walker.env[value.name] = entry
    return tuple(arguments)


# Which nodes, which values


def _names(graph: Graph) -> set[str]:
    names = {v.name for node in graph.nodes for v in (*node.inputs, *node.outputs)}
    return names | {v.name for v in graph.inputs} | set(graph.parameters)


def _bindable(value: Value, emit: FoldingEmitter, inputs: Sequence[Value]) -> set[str]:
    """Return the inputs that ``value`` is computed from, if the program may depend on them.

    It may if they are hardly larger than the value: a program is made for each value they
    take, so axes and sizes are bound and images are not; those end the stage instead, after
    which the program depends on the value alone.
    """
    producers = {v: node for node in emit.nodes for v in node.outputs}
    sources = {v for v in inputs if v.type != UnknownType()}
    found, waiting, seen = set(), [value], {value}
    while waiting:
        current = waiting.pop()
        if current in sources:
            found.add(current)
        for operand in producers[current].inputs if current in producers else ():
            if operand not in seen:
                seen.add(operand)
                waiting.append(operand)
    if value not in found and sum(map(_size, found)) > _limit(value, found):
        return set()
    return {v.name for v in found}


def _limit(value: Value, found: set[Value]) -> int:
    # Integers are counts, axes and sizes; real numbers are data more often than not.
    whole = all(isinstance(v.type, TensorType) and v.type.dtype in INTEGERS for v in found)
    return max(8, 2 * _size(value)) if whole else _size(value)


def _size(value: Value) -> int:
    return value.type.size if isinstance(value.type, TensorType) and is_static(value.type) else 0


# The stage


def _stage(
    graph: Graph,
    walker: Walker,
    arguments: tuple[Value, ...],
    structures: Sequence[Structure],
    values: Mapping[str, Array],
) -> Stage:
    rest = _rest(graph, walker)
    read = {v.name for v in rest.inputs} if rest else set()
    given = {v.name for v in graph.inputs}
    names = [v.name for v in graph.outputs if v.name in walker.env]
    names += sorted(read - given - set(names))
    tensors = [t for name in names for t in _tensors(walker.env[name])]
    flags = [flag for flag, _ in walker.checks]
    return Stage(
        graph=walker.emit.graph(graph.name, arguments, (*tensors, *flags)),
        inputs=tuple(Slot(v.name, s) for v, s in zip(graph.inputs, structures, strict=True)),
        results=tuple(Slot(name, _structure(walker.env[name])) for name in names),
        checks=tuple((len(tensors) + k, m) for k, (_, m) in enumerate(walker.checks)),
        value_inputs=frozenset(values),
        rest=rest,
    )


def _rest(graph: Graph, walker: Walker) -> Graph | None:
    """Return the deferred nodes as an imported graph."""
    if not walker.deferred:
        return None
    made = {v.name for node in walker.deferred for v in node.outputs}
    read = {v.name for node in walker.deferred for v in node.inputs} - made
    known = {n: a for n in sorted(read) if (a := _constant(walker, n)) is not None}

    def plain(value: Value) -> Value:
        array = known.get(value.name)
        return Value(value.name, UnknownType() if array is None else type_of(array))

    nodes = tuple(
        Node(n.op, tuple(map(plain, n.inputs)), tuple(map(plain, n.outputs)), n.source)
        for n in walker.deferred
    )
    inputs = tuple(Value(n, UnknownType()) for n in sorted(read - known.keys()))
    outputs = tuple(plain(v) for v in graph.outputs if v.name in made)
    return Graph(graph.name, inputs, nodes, outputs, known)


def _constant(walker: Walker, name: str) -> Array | None:
    entry = walker.env[name]
    return walker.emit.known(entry) if isinstance(entry, Value) else None


def _tensors(entry: Entry) -> Iterator[Value]:
    if isinstance(entry, Value):
        yield entry
    elif isinstance(entry, Items):
        for member in entry.entries:
            yield from _tensors(member)


def _structure(entry: Entry) -> Structure:
    if isinstance(entry, Value):
        assert isinstance(entry.type, TensorType)
        return entry.type
    return tuple(map(_structure, entry.entries)) if isinstance(entry, Items) else None
