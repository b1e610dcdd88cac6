# SPDX-License-Identifier: MIT
"""Ops that pass once over blocks of numbers: base of optimizer steps, means of weights, norms."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from ..op import Composite, Cotangents, Kind, Types, Values
from ..types import TensorType
from .elementwise import result_type
from .reduction import ReduceSum
from .terms import Term

if TYPE_CHECKING:
    from ..emitter import Emitter
    from ..graph import Value

_FLOATS = ("float32", "float64")

Terms: TypeAlias = Mapping[str, Term]


@dataclass(frozen=True)
class Operand:
    """An operand of a :class:`BlockOp`.

    Attributes:
        name: what it is called in formulas and by callers.
        axes: 0 for one number, 1 for one a block, 2 for the blocks themselves.
        dtype: element type; that of the blocks if left out.
    """

    name: str
    axes: int
    dtype: str = ""


class BlockOp(Composite):
    """Base of ops over tensors (b, n): b blocks of n numbers, which share scalars.

    Tensors of a model lie one after the other in one long array, each from the start of a
    block; what differs from tensor to tensor (rates, decays) is one number a block. Result
    ``k`` of two axes depends on its operands at the same place alone, so it may take the
    memory of one of them where a target keeps the op whole; results of one axis are sums over
    blocks. There is no gradient: updates are made of gradients, not differentiated.
    """

    kind: ClassVar[Kind] = Kind.OPAQUE

    @abstractmethod
    def operands(self) -> tuple[Operand, ...]:
        """Return what the op takes, in order."""

    @abstractmethod
    def results(self) -> tuple[str, ...]:
        """Return what the op gives, in order; a new value is called as the old one."""

    @abstractmethod
    def compute(self, given: Terms) -> Terms:
        """Emit the results for operands by name; those of one axis have the shape (b, 1)."""

    def expand(self, emit: Emitter, *inputs: Value) -> Values:
        """Check the operands and emit :meth:`compute`."""
        self._check(tuple(v.type for v in inputs))
        given = {}
        for operand, value in zip(self.operands(), inputs, strict=True):
            term = Term(emit, value)
            given[operand.name] = term.reshape(*term.shape, 1) if operand.axes == 1 else term
        found = self.compute(given)
        return tuple(found[name].value for name in self.results())

    def vjp(
        self, emit: Emitter, inputs: Values, outputs: Values, cotangents: Cotangents
    ) -> Cotangents:
        """Refuse."""
        raise self.error(f"has no gradient; see the docstring of {type(self).__name__}")

    def _check(self, inputs: Types) -> None:
        wanted = self.operands()
        types = self.tensors(inputs, len(wanted))
        shape, dtype = self._blocks(types)
        for operand, type in zip(wanted, types, strict=True):
            expected = TensorType(operand.dtype or dtype, shape[: operand.axes])
            if type != expected:
                raise self.error(f"operand {operand.name!r} must be {expected}, found {type}")

    def _blocks(self, types: tuple[TensorType, ...]) -> tuple[tuple[int, ...], str]:
        number = next(k for k, o in enumerate(self.operands()) if o.axes == 2)
        first = types[number]
        if first.rank != 2 or first.dtype not in _FLOATS:
            name = self.operands()[number].name
            raise self.error(
                f"operand {name!r} must be float32 or float64 of shape (blocks, size), "
                f"found {first}"
            )
        return first.dims, first.dtype


def sum_of_squares(x: Term) -> Term:
    """Return the sum of squares of each block in float64, where no float32 overflows."""
    wide = x.cast("float64")
    return (wide * wide).apply(ReduceSum((1,)))


@dataclass(frozen=True)
class Blend(BlockOp):
    """``y' = keep y + add x``: running means of weights, and sums of gradients.

    Operands: keep (), add (), y (b, n), x (b, n). Result: y.
    """

    name: ClassVar[str] = "blend"

    def operands(self) -> tuple[Operand, ...]:
        """Two factors and two tensors."""
        return (Operand("keep", 0), Operand("add", 0), Operand("y", 2), Operand("x", 2))

    def results(self) -> tuple[str, ...]:
        """The new ``y``."""
        return ("y",)

    def compute(self, given: Terms) -> Terms:
        """Emit the formula."""
        return {"y": given["y"] * given["keep"] + given["x"] * given["add"]}


def dtype_of(x: Term) -> str:
    """Return the element type of a term."""
    return result_type(x.value).dtype


__all__ = ["Blend", "BlockOp", "Operand"]
