# SPDX-License-Identifier: MIT
"""Stages: a data-dependent model runs as several programs, each made when its shapes are known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import ArtifactError


@dataclass(frozen=True)
class Result:
    """A named value that a program computes.

    Attributes:
        name: of the model's value.
        layout: ``t`` for one tensor, ``n`` for nothing, ``(...)`` for a sequence of those.
    """

    name: str
    layout: str = "t"

    def __post_init__(self) -> None:
        depth = values = 0
        for mark in self.layout:
            depth += {"(": 1, ")": -1}.get(mark, 0)
            values += depth == 0  # a value at the top level ends here
            if mark not in "tn()" or depth < 0:
                values = -1
                break
        if depth or values != 1:
            raise ArtifactError(f"result {self.name!r} has a bad layout {self.layout!r}")

    @property
    def num_tensors(self) -> int:
        """How many of the program's outputs it is made of."""
        return self.layout.count("t")


@dataclass(frozen=True)
class Following:
    """The stage that runs next.

    Attributes:
        name: identifies the stage, usually a digest of its graph.
        inputs: names of the model's inputs and of earlier results that it takes.
    """

    name: str
    inputs: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.name:
            raise ArtifactError("a following stage needs a name")


def flatten(values: Sequence[Any]) -> list[Any]:
    """Return the tensors of values: those of a sequence one after another, none for ``None``.

    >>> flatten([1, [2, [3]], None])
    [1, 2, 3]
    """
    tensors: list[Any] = []
    for value in values:
        if isinstance(value, list | tuple):
            tensors += flatten(value)
        elif value is not None:
            tensors.append(value)
    return tensors


def unflatten(results: Sequence[Result], tensors: Sequence[Any]) -> dict[str, Any]:
    """Return the named values made of ``tensors``.

    >>> unflatten([Result("a"), Result("b", "(tn)")], [1, 2])
    {'a': 1, 'b': [2, None]}
    """
    rest = iter(tensors)
    return {r.name: _value(iter(r.layout), rest) for r in results}


def _value(marks: Iterator[str], tensors: Iterator[Any]) -> Any:
    stack: list[list[Any]] = [[]]
    for mark in marks:
        if mark == "(":
            stack.append([])
        elif mark == ")":
            items = stack.pop()
            stack[-1].append(items)
        else:
            stack[-1].append(next(tensors) if mark == "t" else None)
    return stack[0][0]
