# SPDX-License-Identifier: MIT
"""What a pass is, the registry of passes by name, and the function that runs a list of them."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import PassError
from ..ir import Graph, verify

PassFunction = Callable[..., Graph]
Options = Mapping[str, Mapping[str, Any]]
Observer = Callable[["Pass", Graph, Graph, float], None]


@dataclass(frozen=True)
class Pass:
    """A function ``Graph -> Graph`` with the predicates it needs and those it guarantees.

    Returning the same object means that nothing changed.

    Attributes:
        name: verb phrase in kebab case, as on the command line.
        function: the pass; options are keyword-only.
        requires: predicates that must hold before.
        ensures: predicates that hold after.
    """

    name: str
    function: PassFunction
    requires: tuple[str, ...] = ()
    ensures: tuple[str, ...] = ()

    def __call__(self, graph: Graph, **options: Any) -> Graph:
        """Run the pass.

        Raises:
            PassError: the pass has no such option.
        """
        known = self.options()
        for option in options:
            if option not in known:
                listed = ", ".join(known) or "none"
                raise PassError(f"pass {self.name!r} has no option {option!r}; it has: {listed}")
        return self.function(graph, **options)

    def options(self) -> tuple[str, ...]:
        """Names of the keyword-only options."""
        parameters = inspect.signature(self.function).parameters.values()
        return tuple(p.name for p in parameters if p.kind is p.KEYWORD_ONLY)

    @property
    def summary(self) -> str:
        """First line of the function's docstring."""
        return (inspect.getdoc(self.function) or "").partition("\n")[0]


PASSES: dict[str, Pass] = {}
"""Every pass by name, in order of definition."""


def graph_pass(
    name: str,
    requires: tuple[str, ...] = ("ssa", "typed"),
    ensures: tuple[str, ...] = ("ssa", "typed"),
) -> Callable[[PassFunction], PassFunction]:
    """Register the decorated function as the pass ``name``."""

    def register(function: PassFunction) -> PassFunction:
        if name in PASSES:
            other = PASSES[name].function.__module__
            raise ValueError(f"pass {name!r} is defined twice: {other} and {function.__module__}")
        PASSES[name] = Pass(name, function, requires, ensures)
        return function

    return register


def pass_named(name: str) -> Pass:
    """Return the pass called ``name``.

    Raises:
        PassError: no pass has this name.
    """
    try:
        return PASSES[name]
    except KeyError:
        raise PassError(f"unknown pass {name!r}; known: {', '.join(sorted(PASSES))}") from None


def run_passes(
    graph: Graph,
    passes: Iterable[str | Pass],
    *,
    check: bool = False,
    options: Options | None = None,
    observe: Observer | None = None,
) -> Graph:
    """Run ``passes`` in order and return the last graph.

    Args:
        graph: where to start.
        passes: names or passes.
        check: verify each pass's ``requires`` before it and ``ensures`` after it.
        options: keyword arguments by pass name; every name must be among ``passes``.
        observe: called after each pass with the pass, the graphs before and after, and its
            seconds.

    Raises:
        PassError: a pass or an option is unknown, or options are given for a pass not run.
        VerificationError: a required or ensured predicate does not hold.
    """
    sequence = [p if isinstance(p, Pass) else pass_named(p) for p in passes]
    options = options or {}
    for name in options:
        if name not in {p.name for p in sequence}:
            raise PassError(f"options are given for pass {name!r}, which is not among those run")
    for one in sequence:
        if check:
            verify(graph, one.requires)
        start = time.perf_counter()
        after = one(graph, **options.get(one.name, {}))
        seconds = time.perf_counter() - start
        if check and after is not graph:
            verify(after, one.ensures)
        if observe is not None:
            observe(one, graph, after, seconds)
        graph = after
    return graph
