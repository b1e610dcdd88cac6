# SPDX-License-Identifier: MIT
"""A target-ready graph to a program with its library, from the cache where it is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..ir.graph import Graph
from ..ir.printer import Digests, print_graph
from ..ir.types import Array
from ..runtime.program import Program
from .assemble import assemble
from .cache import cache_key, cached
from .choices import load_choices
from .locations import Planner
from .packing import Packing
from .targets import Target
from .targets.base import LIBRARY


@dataclass(frozen=True)
class Built:
    """A compiled program.

    Attributes:
        program: its steps.
        library: path of its shared library.
        weights: the arrays of its parameters by name.
        text: the graph it was compiled from.
    """

    program: Program
    library: Path
    weights: Mapping[str, Array]
    text: str


def build(
    graph: Graph, target: Target, planner: Planner, checks: Sequence[tuple[int, str]] = ()
) -> Built:
    """Compile a target-ready graph for ``target``.

    Args:
        graph: fused groups, control ops over them, host ops.
        target: what to compile for.
        planner: places the arena's buffers.
        checks: hidden flags among the outputs and the messages they raise when false.

    Raises:
        UnsupportedError: a group holds an op or type that the target has no kernel for.
        CacheError: the cache cannot be written.
    """
    choices = load_choices(target.info())

    def make(folder: Path) -> Program:
        assembly = assemble(graph, target, planner, checks, choices)
        target.build(assembly.program, assembly.kernels, folder)
        return assembly.program

    sources = repr([node.source for node in graph.walk()])
    # Hashing weights is most of what a program from the cache costs.
    digests = Digests()
    text = print_graph(graph, digests=digests)
    about = (repr(target.info()), target.accuracy, repr(list(checks)), choices.fingerprint)
    key = cache_key(text, sources, *about)
    program, folder = cached(key, make)
    names = {p.name for p in program.parameters}
    return Built(program, folder / LIBRARY, _weights(graph, names, digests), text)


def _weights(graph: Graph, names: set[str], digests: Digests) -> dict[str, Array]:
    """Return the arrays of ``graph`` and its regions whose digests are among ``names``."""
    found: dict[str, Array] = {}
    wanted: dict[str, list[tuple[str, str]]] = {}
    for name in names:
        stem, _, packing = name.partition("-")
        wanted.setdefault(stem, []).append((name, packing))
    for array in _arrays(graph):
        for name, packing in wanted.get(digests(array)[:32], ()):
            if name not in found:
                found[name] = Packing.parse(packing)(array) if packing else array
    return found


def _arrays(graph: Graph) -> list[Array]:
    arrays = list(graph.parameters.values())
    for node in graph.nodes:
        for region in node.op.regions():
            arrays += _arrays(region)
    return arrays
