# SPDX-License-Identifier: MIT
"""``ranvier import``: an ONNX model to the textual form."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .command import Command, Output
from .options import Shapes, model_argument, shapes_option

if TYPE_CHECKING:
    from rich.console import Console


@click.command("import", cls=Command)
@model_argument
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, metavar="FILE.ir",
    help="The text; large weights go to FILE.safetensors beside it.",
)  # fmt: skip
@click.option("--canonical", is_flag=True, help="Convert to our ops, for fixed shapes.")
@shapes_option
def command(model: Path, output: Path, canonical: bool, shapes: Shapes | None) -> Output:
    """Write MODEL, an ONNX file, as text.

    As the model states itself by default; with --canonical (or --shapes) converted to
    canonical ops for its shapes, ready for 'ranvier opt'.
    """
    from .graphs import canonical_graph, imported_graph, write_graph
    from .progress import progress

    with progress(f"importing {model}"):
        graph = canonical_graph(model, shapes) if canonical or shapes else imported_graph(model)
        files = [str(path) for path in write_graph(output, graph)]
    nodes = sum(1 for _ in graph.walk())
    data = {"files": files, "graph": graph.name, "nodes": nodes}

    def render(console: Console) -> None:
        console.print(f"{graph.name}: {nodes} nodes, written to {', '.join(files)}")

    return Output(data, render)
