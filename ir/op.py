# SPDX-License-Identifier: MIT
"""The op interface: attributes are dataclass fields, behaviour is a handful of methods."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import fields
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar

from ..errors import OpError
from .types import TensorType, Type

if TYPE_CHECKING:
    from .emitter import Emitter
    from .graph import Graph, Value

Arrays = tuple[Any, ...]
Types = tuple[Type, ...]
Values = tuple["Value", ...]
Cotangents = tuple["Value | None", ...]


class Kind(Enum):
    """How an op reads its operands; fusion and partition go by it."""

    ELEMENTWISE = "elementwise"  # output[i] depends on operands at i (NumPy broadcasting)
    INJECTIVE = "injective"  # output[i] is an element of an operand: reindexing only
    REDUCTION = "reduction"  # output[i] depends on many elements; takes an elementwise epilogue
    OPAQUE = "opaque"  # a kernel of its own, nothing fused
    CONTROL = "control"  # holds regions; becomes loops or branches of the compiled main
    HOST = "host"  # executed by `evaluate` in the executor, never compiled


class Op(ABC):
    """One operator. Subclasses are frozen dataclasses whose fields are the attributes.

    A primitive defines ``infer``, ``evaluate`` and, where a gradient exists, ``vjp``; a
    :class:`Composite` defines ``expand`` instead. The class docstring is the specification:
    equation, shapes, gradient, ONNX name and version, reference.
    """

    name: ClassVar[str]
    kind: ClassVar[Kind]
    registry: ClassVar[dict[str, type[Op]]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        name = cls.__dict__.get("name")
        if name is None:  # an abstract family base
            return
        if name in Op.registry and Op.registry[name].__qualname__ != cls.__qualname__:
            other = Op.registry[name].__module__
            raise ValueError(f"op {name!r} is defined twice: {other} and {cls.__module__}")
        Op.registry[name] = cls

    @abstractmethod
    def infer(self, *inputs: Type) -> Types:
        """Return the types of the results, or raise :class:`OpError` naming the op."""

    @abstractmethod
    def evaluate(self, *inputs: Any) -> Arrays:
        """Return the results in plain NumPy; the oracle of every pass and target."""

    def vjp(
        self, emit: Emitter, inputs: Values, outputs: Values, cotangents: Cotangents
    ) -> Cotangents:
        """Emit the cotangents of the inputs; ``None`` where there is no gradient.

        ``cotangents`` has one entry per output, ``None`` where nothing flows back.
        """
        raise OpError(f"{self.name}: has no gradient; see the docstring of {type(self).__name__}")

    def regions(self) -> tuple[Graph, ...]:
        """The graphs that the op holds as attributes."""
        from .graph import Graph

        return tuple(v for v in self.attributes().values() if isinstance(v, Graph))

    def attributes(self) -> dict[str, Any]:
        """Attribute names and values in declaration order."""
        return {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]

    def flops(self, *inputs: Type) -> int:
        """Floating point operations on these operands (a multiply-add counts two)."""
        if self.kind in (Kind.INJECTIVE, Kind.HOST, Kind.CONTROL):
            return 0
        return sum(t.size for t in self.infer(*inputs) if isinstance(t, TensorType))

    def error(self, message: str) -> OpError:
        """Return an :class:`OpError` whose message starts with the op's name."""
        return OpError(f"{self.name}: {message}")

    def tensors(self, inputs: Types, count: int | None = None) -> tuple[TensorType, ...]:
        """Return ``inputs`` as tensor types after checking that they are, and how many."""
        if count is not None and len(inputs) != count:
            raise self.error(f"expected {count} operands, found {len(inputs)}")
        for k, t in enumerate(inputs):
            if not isinstance(t, TensorType):
                raise self.error(f"operand {k} must be a tensor, found {t}")
        return tuple(t for t in inputs if isinstance(t, TensorType))


class Composite(Op):
    """An op defined by smaller ops; a target may still have a kernel for the whole."""

    kind: ClassVar[Kind] = Kind.REDUCTION

    @abstractmethod
    def expand(self, emit: Emitter, *inputs: Value) -> Values:
        """Emit the same function with smaller ops and return its results."""

    def expansion(self, *inputs: Type) -> Graph:
        """Return ``expand`` applied to operands of these types, as a graph."""
        from .emitter import Emitter

        emit = Emitter()
        arguments = tuple(emit.argument(t) for t in inputs)
        return emit.graph(self.name, arguments, self.expand(emit, *arguments))

    def infer(self, *inputs: Type) -> Types:
        """Return the types of the expansion's results."""
        self.tensors(inputs)
        return tuple(v.type for v in self.expansion(*inputs).outputs)

    def evaluate(self, *inputs: Any) -> Arrays:
        """Evaluate the expansion node by node."""
        from .interpreter import interpret
        from .types import type_of

        return tuple(interpret(self.expansion(*map(type_of, inputs)), inputs))

    def vjp(
        self, emit: Emitter, inputs: Values, outputs: Values, cotangents: Cotangents
    ) -> Cotangents:
        """Differentiate the expansion."""
        from .gradient import pullback

        return pullback(emit, self.expansion(*(v.type for v in inputs)), inputs, cotangents)

    def flops(self, *inputs: Type) -> int:
        """Operations of the expansion."""
        graph = self.expansion(*inputs)
        return sum(n.op.flops(*(v.type for v in n.inputs)) for n in graph.nodes)


def op_named(name: str) -> type[Op]:
    """Return the class of the op called ``name``.

    Raises:
        OpError: no op has this name.
    """
    try:
        return Op.registry[name]
    except KeyError:
        raise OpError(f"unknown op {name!r}; known: {', '.join(sorted(Op.registry))}") from None
