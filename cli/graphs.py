# SPDX-License-Identifier: MIT
"""Graphs from and to files: ONNX models and the textual form with its weights beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import InputError, ParseError
from ..ir.graph import Graph
from ..ir.parser import parse_graph
from ..ir.printer import INLINE_ELEMENTS, digest, print_graph
from ..runtime.atomic import atomic_file
from ..runtime.weights import read_weights, write_weights


def imported_graph(path: Path) -> Graph:
    """Return a model as it states itself."""
    from ..frontend.load import load

    return load(path).graph


def canonical_graph(path: Path, shapes: Mapping[str, Sequence[int]] | None) -> Graph:
    """Return a model converted for the given shapes, before any pass.

    Of a model whose shapes depend on data it is the first stage.

    Raises:
        InputError: sizes are missing or do not fit.
    """
    from ..compiler import Compiler, bound_types

    compiler = Compiler(path)
    structures = bound_types(compiler.model.graph, shapes or {})
    stage, _ = compiler.stage("", structures, None)
    return stage.graph


def read_graph(path: Path) -> Graph:
    """Read a textual graph; large parameters come from the weights file beside it.

    Raises:
        ParseError: the text breaks the grammar, or a parameter's array is missing.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise ParseError(f"{path}: not a text ({error})") from error
    arrays = read_weights(weights_path(path)) if weights_path(path).exists() else {}
    try:
        return parse_graph(text, arrays)
    except ParseError as error:
        raise ParseError(f"{path}, {error}") from error


def write_graph(path: Path, graph: Graph) -> list[Path]:
    """Write a graph as text, and its large parameters to a weights file beside it.

    Returns:
        The files written.
    """
    arrays = [a for g in _graphs(graph) for a in g.parameters.values()]
    large = {digest(a): a for a in arrays if a.size > INLINE_ELEMENTS}
    if any(a.dtype == object for a in large.values()):
        large = {}  # strings have no place in a weights file: everything goes into the text
    written = [path]
    if large:
        written.append(weights_path(path))
        with atomic_file(weights_path(path)) as weights:
            write_weights(weights, large)
    with atomic_file(path) as file:
        file.write(print_graph(graph, INLINE_ELEMENTS if large else 1 << 62).encode())
    return written


def weights_path(path: Path) -> Path:
    """Return where the large parameters of a textual graph are."""
    return path.with_suffix(".safetensors")


def _graphs(graph: Graph) -> list[Graph]:
    return [graph, *(region for node in graph.walk() for region in node.op.regions())]
