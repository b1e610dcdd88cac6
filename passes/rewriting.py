# SPDX-License-Identifier: MIT
"""The engine of rewrite passes: one forward sweep that rebuilds the graph, until nothing fires.

A rewrite sees a node whose operands are already rewritten, looks at what produced them, and
either emits a replacement or declines. The names of graph outputs survive: the replacement
takes over the name, and where it cannot (it is an input, a parameter or another output) a
copy does, which is a reshape to the same shape.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, TypeVar

from ..errors import PassError
from ..ir import Array, Emitter, Graph, Node, Op, TensorType, Value, ops, type_of
from .eliminate_dead_nodes import without_dead_nodes
from .reading import dims_of
from .regions import map_node_regions

OpT = TypeVar("OpT", bound=Op)
Replacement: TypeAlias = Value | tuple[Value, ...] | None
_MAX_SWEEPS = 100
_MAX_STEPS = 100


class Scope(Emitter):
    """The graph being rebuilt, as a rewrite sees it: emits nodes and answers questions.

    Attributes:
        memo: what a rewrite wants to remember until the end of the sweep.
        current: the node that is being rewritten; it counts as producer of its results.
    """

    def __init__(self, taken: Iterable[str] = ()) -> None:
        super().__init__(taken)
        self._given: Mapping[str, Array] = {}
        # Names are unique in a graph, and hash faster than values.
        self._producers: dict[str, Node] = {}
        self._indexed = 0
        self._uses: Counter[str] = Counter()
        self.memo: dict[Hashable, tuple[Value, ...]] = {}
        self.current: Node | None = None

    @classmethod
    def over(cls, graph: Graph) -> Scope:
        """Return the scope in which ``graph`` is rebuilt."""
        scope = cls.continuing(graph)
        assert isinstance(scope, Scope)
        scope._given = graph.parameters
        scope._uses.update(v.name for node in graph.nodes for v in node.inputs)
        scope._uses.update(v.name for v in graph.outputs)
        return scope

    def producer(self, value: Value, *ops: type[Op]) -> Node | None:
        """Return the node that defines ``value`` if its op is one of ``ops`` (any if none)."""
        for node in self.nodes[self._indexed :]:
            self._producers.update((v.name, node) for v in node.outputs)
        self._indexed = len(self.nodes)
        found = self._producers.get(value.name)
        if self.current is not None and value in self.current.outputs:
            found = self.current
        return found if found is not None and (not ops or isinstance(found.op, ops)) else None

    def array(self, value: Value) -> Array | None:
        """Return the array of ``value`` if it is a parameter."""
        own = self.parameters.get(value.name)
        return self._given.get(value.name) if own is None else own

    def number(self, value: Value) -> float | None:
        """Return the number in ``value`` if it is a parameter of one element."""
        array = self.array(value)
        if array is None or array.size != 1 or array.dtype.kind in "Oc":
            return None
        return float(array.reshape(())[()])

    def uses(self, value: Value) -> int:
        """How often ``value`` is read; may count reads by nodes that have just died."""
        return self._uses[value.name]

    def multi(self, op: Op, *inputs: Value, names: tuple[str, ...] = ()) -> tuple[Value, ...]:
        """Append ``op(inputs)`` and return all its results."""
        self._uses.update(v.name for v in inputs)
        return super().multi(op, *inputs, names=names)

    def alias(self, old: Value, new: Value) -> None:
        """Count the reads of ``old`` as reads of ``new``."""
        self._uses[new.name] += self._uses[old.name]


def op_of(node: Node, kind: type[OpT]) -> OpT:
    """Return the op of ``node``, which is known to be a ``kind``."""
    assert isinstance(node.op, kind)
    return node.op


@dataclass(frozen=True)
class Rewrite:
    """A named function that replaces the results of a node, or declines with ``None``."""

    roots: tuple[type[Any], ...]
    function: Callable[[Scope, Node], Replacement]
    static: bool = False

    @property
    def name(self) -> str:
        """The function's name."""
        return self.function.__name__

    def __call__(self, scope: Scope, node: Node) -> tuple[Value, ...] | None:
        """Return the replacement of the node's results.

        Raises:
            PassError: the replacement has other types, which is a defect of the rewrite.
        """
        found = self.function(scope, node)
        if found is None:
            return None
        values = (found,) if isinstance(found, Value) else found
        before, after = [v.type for v in node.outputs], [v.type for v in values]
        if before != after:
            listed = f"{list(map(str, before))} by {list(map(str, after))}"
            raise PassError(f"rewrite {self.name} of {node.op.name} replaces {listed}")
        return values


def rewrite(*roots: type[Any]) -> Callable[[Callable[[Scope, Node], Replacement]], Rewrite]:
    """Make the decorated function a rewrite of nodes whose op is one of ``roots``."""
    return lambda function: Rewrite(roots, function)


def static_rewrite(
    *roots: type[Any],
) -> Callable[[Callable[[Scope, Node], Replacement]], Rewrite]:
    """Like :func:`rewrite`, for nodes all of whose operands and results are static tensors.

    Rewrites that compare shapes need it: two sizes of one name may still differ.
    """
    return lambda function: Rewrite(roots, function, static=True)


def _is_static(value: Value) -> bool:
    return isinstance(value.type, TensorType) and value.type.is_static


def rewrite_graph(graph: Graph, rewrites: Sequence[Rewrite]) -> Graph:
    """Apply ``rewrites`` everywhere, regions included, until none fires.

    Raises:
        PassError: the rewrites do not come to an end.
    """
    for _ in range(_MAX_SWEEPS):
        after = _Sweep(graph, rewrites).run()
        if after is graph:
            return graph
        graph = after
    names = ", ".join(r.name for r in rewrites)
    raise PassError(f"rewrites still fire after {_MAX_SWEEPS} sweeps of '{graph.name}': {names}")


class _Sweep:
    def __init__(self, graph: Graph, rewrites: Sequence[Rewrite]) -> None:
        self.graph = graph
        self.rewrites = rewrites
        self.scope = Scope.over(graph)
        self.replaced: dict[str, Value] = {}
        self.renamed: dict[Value, Value] = {}
        self.by_op: dict[type[Op], list[Rewrite]] = {}
        self.outputs = {*graph.outputs}
        self.fixed = {*graph.inputs, *graph.outputs}

    def run(self) -> Graph:
        changed = False
        for node in self.graph.nodes:
            inputs = tuple(self.replaced.get(v.name, v) for v in node.inputs)
            current = node if inputs == node.inputs else replace(node, inputs=inputs)
            current = map_node_regions(current, lambda g: rewrite_graph(g, self.rewrites))
            changed |= current.op is not node.op
            changed |= self.visit(current)
        return self.finish() if changed else self.graph

    def visit(self, node: Node) -> bool:
        """Append ``node`` or its replacement; return whether it was replaced."""
        with self.scope.source(node.source):
            results = self.settle(node)
            if results is not None:
                results = self.claim(node, results)
        if results is None:
            self.scope.nodes.append(node)
            return False
        for old, new in zip(node.outputs, results, strict=True):
            self.replaced[old.name] = new
            self.scope.alias(old, new)
        return True

    def settle(self, node: Node) -> tuple[Value, ...] | None:
        """Rewrite ``node``, then the node that replaced it, and so on."""
        results: tuple[Value, ...] | None = None
        current: Node | None = node
        for _ in range(_MAX_STEPS):
            found = self.apply(current) if current else None
            if found is None:
                break
            results = found
            current = self.scope.producer(found[0])
            if current is not None and current.outputs != found:
                break
        return results

    def apply(self, node: Node) -> tuple[Value, ...] | None:
        kind = type(node.op)
        if kind not in self.by_op:
            self.by_op[kind] = [r for r in self.rewrites if issubclass(kind, r.roots)]
        candidates = self.by_op[kind]
        if not candidates:
            return None
        static = all(map(_is_static, (*node.inputs, *node.outputs)))
        self.scope.current = node
        try:
            for one in candidates:
                found = one(self.scope, node) if static or not one.static else None
                if found is not None and found != node.outputs:
                    return found
        finally:
            self.scope.current = None
        return None

    def claim(self, node: Node, news: tuple[Value, ...]) -> tuple[Value, ...] | None:
        """Let replacements of graph outputs, or copies of them, take over their names.

        Returns the replacements, ``None`` where the node must stay: it is such a copy
        itself, or its results cannot be copied.
        """
        results: list[Value] = []
        claimed: dict[Value, Value] = {}
        for old, new in zip(node.outputs, news, strict=True):
            value: Value | None = new
            if old in self.outputs:
                if not self.free(new) or new in claimed:
                    value = None if _is_copy(node, new) else self.copy(new)
                if value is None:
                    return None
                claimed[value] = Value(old.name, value.type)
            results.append(value or new)
        self.renamed.update(claimed)
        return tuple(results)

    def free(self, value: Value) -> bool:
        known = value in self.fixed or value in self.renamed
        return not known and value.name not in self.graph.parameters

    def copy(self, value: Value) -> Value | None:
        if not _is_static(value):
            return None
        return self.scope(ops.Reshape(dims_of(value)), value)

    def finish(self) -> Graph:
        def name(v: Value) -> Value:
            return self.renamed.get(v, v)

        scope = self.scope
        nodes = tuple(
            replace(n, inputs=tuple(map(name, n.inputs)), outputs=tuple(map(name, n.outputs)))
            for n in scope.nodes
        )
        fresh = {self.parameter_name(k, a): a for k, a in scope.parameters.items()}
        graph = Graph(
            self.graph.name,
            self.graph.inputs,
            nodes,
            self.graph.outputs,
            {**self.graph.parameters, **fresh},
        )
        return without_dead_nodes(graph)

    def parameter_name(self, name: str, array: Array) -> str:
        value = Value(name, type_of(array))
        return self.renamed.get(value, value).name


def _is_copy(node: Node, value: Value) -> bool:
    return isinstance(node.op, ops.Reshape) and node.inputs == (value,)
