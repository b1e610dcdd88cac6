# SPDX-License-Identifier: MIT
"""Appends nodes with fresh names and inferred types; used by converters, passes and vjps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from ..errors import OpError
from .graph import Graph, Node, Value
from .op import Op
from .types import Array, TensorType, Type, dtype_name, numpy_dtype


class Emitter:
    """Collects nodes and parameters of a graph under construction.

    >>> from ranvier.ir import ops
    >>> emit = Emitter()
    >>> x = emit.argument(TensorType("float32", (2, 3)), "x")
    >>> y = emit(ops.Relu(), x)
    >>> print(emit.graph("g", [x], [y]))
    graph @g(%x: float32[2, 3]) {
      %v0: float32[2, 3] = relu(%x)
      return %v0
    }
    <BLANKLINE>
    """

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self.nodes: list[Node] = []
        self.parameters: dict[str, Array] = {}
        self._taken = set(taken)
        self._next: dict[str, int] = {}
        self._source = ""

    @classmethod
    def continuing(cls, graph: Graph) -> Emitter:
        """Return an emitter whose fresh names do not clash with those of ``graph``."""
        names = {v.name for v in graph.inputs} | set(graph.parameters)
        names.update(v.name for node in graph.nodes for v in node.outputs)
        return cls(names)

    def __call__(self, op: Op, *inputs: Value) -> Value:
        """Append ``op(inputs)``, an op with one result, and return the result."""
        outputs = self.multi(op, *inputs)
        if len(outputs) != 1:
            raise OpError(f"{op.name}: has {len(outputs)} results; use `multi`")
        return outputs[0]

    def multi(self, op: Op, *inputs: Value, names: tuple[str, ...] = ()) -> tuple[Value, ...]:
        """Append ``op(inputs)`` and return all its results, with the given names if any."""
        types = op.infer(*(v.type for v in inputs))
        if not names:
            names = tuple(self.fresh("v") for _ in types)
        outputs = tuple(Value(n, t) for n, t in zip(names, types, strict=True))
        self.nodes.append(Node(op, inputs, outputs, self._source))
        return outputs

    def constant(self, array: ArrayLike, dtype: str | None = None, name: str = "c") -> Value:
        """Add a parameter holding ``array`` (as ``dtype`` if given) and return its value."""
        data = np.asarray(array, numpy_dtype(dtype) if dtype else None)
        value = Value(self.fresh(name), TensorType(dtype_name(data.dtype), data.shape))
        self.parameters[value.name] = data
        return value

    def scalar_like(self, number: float, like: Value) -> Value:
        """Add a rank-0 parameter of the element type of ``like``."""
        if not isinstance(like.type, TensorType):
            raise OpError(f"a scalar like %{like.name} needs a tensor, found {like.type}")
        return self.constant(number, like.type.dtype)

    def argument(self, type: Type, name: str | None = None) -> Value:
        """Return a new graph input of this type."""
        return Value(self.fresh("x") if name is None else self.reserve(name), type)

    def fresh(self, stem: str) -> str:
        """Return an unused name ``stem0``, ``stem1``, ..."""
        number = self._next.get(stem, 0)
        while f"{stem}{number}" in self._taken:
            number += 1
        self._next[stem] = number + 1
        return self.reserve(f"{stem}{number}")

    def reserve(self, name: str) -> str:
        """Mark ``name`` as used and return it."""
        self._taken.add(name)
        return name

    @contextmanager
    def source(self, name: str) -> Iterator[None]:
        """Within the block, nodes say that they came from the model's node ``name``."""
        before, self._source = self._source, name
        try:
            yield
        finally:
            self._source = before

    def inline(self, graph: Graph, arguments: Iterable[Value]) -> tuple[Value, ...]:
        """Append the nodes of ``graph`` applied to ``arguments``; return its results."""
        env = dict(zip(graph.inputs, arguments, strict=True))
        for name, array in graph.parameters.items():
            fresh = self.constant(array)
            env[Value(name, fresh.type)] = fresh
        for node in graph.nodes:
            outputs = tuple(Value(self.fresh("v"), v.type) for v in node.outputs)
            self.nodes.append(
                replace(node, inputs=tuple(env[v] for v in node.inputs), outputs=outputs)
            )
            env.update(zip(node.outputs, outputs, strict=True))
        return tuple(env[v] for v in graph.outputs)

    def graph(
        self,
        name: str,
        inputs: Iterable[Value],
        outputs: Iterable[Value],
        parameters: Mapping[str, Array] | None = None,
    ) -> Graph:
        """Return the collected nodes as a graph; only parameters in use are kept."""
        inputs, outputs = tuple(inputs), tuple(outputs)
        used = {v.name for n in self.nodes for v in n.inputs} | {v.name for v in outputs}
        everything = {**(parameters or {}), **self.parameters}
        kept = {k: a for k, a in everything.items() if k in used}
        return Graph(name, inputs, tuple(self.nodes), outputs, kept)
