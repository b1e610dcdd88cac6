# SPDX-License-Identifier: MIT
"""The op of imported graphs: an ONNX operator exactly as the model states it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from ..graph import Graph
from ..op import Arrays, Kind, Op, Types
from ..types import Type, UnknownType


@dataclass(frozen=True)
class Onnx(Op):
    """An ONNX operator before conversion; its result types are not known yet.

    Attributes:
        type: operator type such as ``Conv``.
        version: opset version of its domain that the model imports.
        domain: operator domain, empty for ai.onnx.
        operands: for each node input, the position of the operand in the operator's
            signature; positions that are left out are absent optional operands. Captured
            values of regions follow after the operands and have no position.
        results: for each node output, its position in the operator's signature.
        settings: attribute names and values (numbers, strings, tuples, arrays, regions),
            sorted by name. Regions are closed: their inputs are the formal inputs followed
            by every captured value of the node.
    """

    name: ClassVar[str] = "onnx"
    kind: ClassVar[Kind] = Kind.HOST
    type: str
    version: int
    domain: str = ""
    operands: tuple[int, ...] = ()
    results: tuple[int, ...] = (0,)
    settings: tuple[tuple[str, Any], ...] = ()

    @property
    def qualified(self) -> str:
        """The operator's name with its domain, as in ``ai.onnx.ml.Binarizer``."""
        return f"{self.domain}.{self.type}" if self.domain else self.type

    def infer(self, *inputs: Type) -> Types:
        """Return unknown types: they follow once the inputs' shapes are bound."""
        return tuple(UnknownType() for _ in self.results)

    def evaluate(self, *inputs: Any) -> Arrays:
        """Refuse: imported ops are converted first."""
        raise self.error(f"{self.qualified} must be converted before it can run")

    def regions(self) -> tuple[Graph, ...]:
        """The subgraphs among the settings."""
        return tuple(_graphs(self.settings))


def _graphs(value: Any) -> Iterator[Graph]:
    if isinstance(value, Graph):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from _graphs(item)


__all__ = ["Onnx"]
