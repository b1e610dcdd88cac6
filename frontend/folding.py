# SPDX-License-Identifier: MIT
"""An emitter that evaluates ops on constants at once, within limits of size and work."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from ..errors import UnsupportedError
from ..ir import Array, Emitter, Kind, Node, Op, TensorType, Type, Value, dtype_name
from ..ir.op import Types

Mark: TypeAlias = tuple[int, int, int]

MAX_ELEMENTS = 2**31 - 1
"""Larger tensors are refused: kernels index with 32 bits, and no machine here holds them."""

FOLDED_ELEMENTS = 2**16
"""A folded result may have this many elements, or four times those of its operands."""

FOLDED_BYTES = 2**30
"""Bytes of all results folded by one emitter; beyond, ops are left to run time."""

FOLDED_FLOPS = 2**30
"""An op with more operations than this is left to run time."""


class LimitError(UnsupportedError):
    """Converting the model takes more work than any real one does; nothing retries it."""


class Demand(Exception):
    """A converter needs something that is not known in this stage; never leaves the frontend."""

    def __init__(self, value: Value) -> None:
        super().__init__(f"%{value.name}: {value.type}")
        self.value = value


class NeedsValue(Demand):
    """The elements of ``value`` must be known."""


class NeedsShape(Demand):
    """The shape of ``value`` must be known."""


class FoldingEmitter(Emitter):
    """Appends nodes like :class:`~ranvier.ir.Emitter`, but computes what is constant.

    An op whose operands are all parameters is evaluated with NumPy and its results become
    parameters. This is what makes an exporter's shape arithmetic disappear. Control ops and
    ops that say ``foldable = False`` (unseeded random numbers) are never evaluated here, nor
    is anything that would make a constant far larger than what it was made from.

    >>> from ranvier.ir import Emitter
    >>> emit = FoldingEmitter()
    >>> value = emit.constant([1, 2], "int64")
    >>> emit.known(value).tolist()
    [1, 2]
    """

    def __init__(self, taken: Iterable[str] = ()) -> None:
        super().__init__(taken)
        self._budget = FOLDED_BYTES
        self._log: list[str] = []

    def known(self, value: Value) -> Array | None:
        """Return the elements of a constant, ``None`` for any other value."""
        return self.parameters.get(value.name)

    def multi(self, op: Op, *inputs: Value, names: tuple[str, ...] = ()) -> tuple[Value, ...]:
        """Append ``op(inputs)``, or fold it, and return all its results.

        Raises:
            NeedsShape: an operand's shape is known only at run time.
            UnsupportedError: a result has more than ``MAX_ELEMENTS`` elements.
        """
        for value in inputs:
            if not is_static(value.type):
                raise NeedsShape(value)
        types = op.infer(*(v.type for v in inputs))
        refuse_huge(op, types)
        if self._foldable(op, inputs, types):
            return self._fold(op, inputs)
        names = names or tuple(self.fresh("v") for _ in types)
        outputs = tuple(Value(n, t) for n, t in zip(names, types, strict=True))
        self.nodes.append(Node(op, inputs, outputs, self._source))
        return outputs

    def _foldable(self, op: Op, inputs: tuple[Value, ...], types: Types) -> bool:
        if op.kind is Kind.CONTROL or not getattr(op, "foldable", True):
            return False
        if any(v.name not in self.parameters for v in inputs):
            return False
        operands = sum(_elements(v.type) for v in inputs)
        if sum(map(_elements, types)) > max(FOLDED_ELEMENTS, 4 * operands):
            return False
        size = sum(t.nbytes for t in types if isinstance(t, TensorType) and t.is_static)
        if size > self._budget or op.flops(*(v.type for v in inputs)) > FOLDED_FLOPS:
            return False
        self._budget -= size
        return True

    def _fold(self, op: Op, inputs: tuple[Value, ...]) -> tuple[Value, ...]:
        # Overflow and invalid values follow IEEE 754 silently, as compiled code does.
        with np.errstate(all="ignore"):
            arrays = op.evaluate(*(self.parameters[v.name] for v in inputs))
        # Parameters are read as they lie in memory, so views are copied out.
        return tuple(self.constant(np.asarray(a).copy(order="C")) for a in arrays)

    def mark(self) -> Mark:
        """Return a point that :meth:`rollback` can go back to."""
        return len(self.nodes), len(self._log), self._budget

    def rollback(self, mark: Mark) -> None:
        """Forget what was emitted after ``mark``."""
        nodes, parameters, self._budget = mark
        del self.nodes[nodes:]
        for name in self._log[parameters:]:
            self.parameters.pop(name, None)
        del self._log[parameters:]

    def made_since(self, mark: Mark, value: Value) -> bool:
        """Whether ``value`` was emitted after ``mark``."""
        if value.name in self.parameters:
            return value.name in self._log[mark[1] :]
        return any(value in node.outputs for node in self.nodes[mark[0] :])

    def rename(self, mark: Mark, value: Value, name: str) -> Value:
        """Give ``name`` to a value that was made after ``mark``.

        Nodes of a model keep the names of their results in this way, so that a comparison
        layer by layer finds them.
        """
        renamed = replace(value, name=name)
        self.reserve(name)
        if value.name in self.parameters:
            self._log.append(name)
            self.parameters[name] = self.parameters.pop(value.name)
        for at in range(mark[0], len(self.nodes)):
            node = self.nodes[at]
            if value in node.inputs or value in node.outputs:
                self.nodes[at] = replace(
                    node,
                    inputs=tuple(renamed if v == value else v for v in node.inputs),
                    outputs=tuple(renamed if v == value else v for v in node.outputs),
                )
        return renamed

    def constant(self, array: ArrayLike, dtype: str | None = None, name: str = "c") -> Value:
        """Add a parameter holding ``array`` (as ``dtype`` if given) and return its value."""
        value = super().constant(array, dtype, name)
        self._log.append(value.name)
        return value

    def bind(self, name: str, array: Array) -> Value:
        """Make ``array`` a parameter of exactly this name."""
        self.parameters[self.reserve(name)] = array
        self._log.append(name)
        return Value(name, TensorType(dtype_name(array.dtype), tuple(map(int, array.shape))))


def is_static(type: Type) -> bool:
    """Whether ``type`` is a tensor of known shape.

    >>> is_static(TensorType("float32", (1, "n0")))
    False
    """
    return isinstance(type, TensorType) and type.is_static


def refuse_huge(op: Op, types: Types) -> None:
    """Raise if a result has more elements than any kernel can address."""
    for type in types:
        if _elements(type) > MAX_ELEMENTS:
            raise UnsupportedError(
                f"{op.name}: the result {type} has {_elements(type)} elements; "
                f"at most {MAX_ELEMENTS} are supported"
            )


def _elements(type: Type) -> int:
    if not isinstance(type, TensorType):
        return 0
    return math.prod(d for d in type.shape if isinstance(d, int))
