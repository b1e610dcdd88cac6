# SPDX-License-Identifier: MIT
"""``ranvier opt``: passes on a graph, one after another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .command import Command, Output
from .options import Shapes, shapes_option

if TYPE_CHECKING:
    from rich.console import Console

    from ..ir.graph import Graph
    from ..passes.registry import Pass


@click.command("opt", cls=Command)
@click.argument("graph", type=click.Path(path_type=Path), required=False)
@click.option("-p", "--passes", metavar="PASS,…", help="Names of passes, in order.")
@click.option("--list", "list_passes", is_flag=True, help="List the passes and pipelines.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FILE.ir",
    help="Where the graph goes; standard output by default.",
)  # fmt: skip
@shapes_option
def command(
    graph: Path | None,
    passes: str | None,
    list_passes: bool,
    output: Path | None,
    shapes: Shapes | None,
) -> Output:
    """Run passes on GRAPH, a text (FILE.ir) or an ONNX model.

    Before and after each pass the properties that it requires and ensures are checked. Names
    of pipelines (canonical, target-ready) stand for their passes.
    """
    if list_passes:
        return _listing()
    if graph is None or not passes:
        raise click.UsageError("give GRAPH and --passes, or --list")
    start = _load(graph, shapes)
    names = [name for word in passes.split(",") for name in _expand(word.strip())]
    return _optimise(start, names, output)


def _load(path: Path, shapes: Shapes | None) -> Graph:
    from .graphs import canonical_graph, read_graph

    if path.suffix == ".ir":
        return read_graph(path)
    return canonical_graph(path, shapes)


def _optimise(graph: Graph, names: list[str], output: Path | None) -> Output:
    from ..passes import run_passes
    from .graphs import write_graph

    steps: list[dict[str, Any]] = []

    def observe(one: Pass, before: Graph, after: Graph, seconds: float) -> None:
        counts = {"nodes_before": len(before.nodes), "nodes_after": len(after.nodes)}
        changed = after is not before
        steps.append({"pass": one.name, "changed": changed, **counts, "seconds": seconds})

    result = run_passes(graph, names, check=True, observe=observe)
    files = [str(path) for path in write_graph(output, result)] if output else []
    data = {"passes": steps, "files": files, "text": "" if output else str(result)}

    def render(console: Console) -> None:
        from .tables import duration, table

        if not output:
            click.echo(str(result), nl=False)
            return
        rows = [
            (s["pass"], s["nodes_before"], s["nodes_after"], duration(s["seconds"])) for s in steps
        ]
        console.print(table("", ("pass", ">nodes before", ">after", ">time"), rows))
        console.print(f"written to {', '.join(files)}")

    return Output(data, render)


def _pipelines() -> dict[str, tuple[str, ...]]:
    from ..passes.pipelines import CANONICAL, TARGET_READY

    return {"canonical": CANONICAL, "target-ready": TARGET_READY}


def _expand(name: str) -> tuple[str, ...]:
    return _pipelines().get(name, (name,))


def _listing() -> Output:
    from ..passes import PASSES

    data = {
        "passes": [
            {
                "name": one.name,
                "summary": one.summary,
                "options": list(one.options()),
                "requires": list(one.requires),
                "ensures": list(one.ensures),
            }
            for one in PASSES.values()
        ],
        "pipelines": {name: list(passes) for name, passes in _pipelines().items()},
    }

    def render(console: Console) -> None:
        from .tables import table

        rows = [(one.name, one.summary) for one in PASSES.values()]
        console.print(table("Passes", ("name", "what it does"), rows))
        pipelines = [(name, ", ".join(passes)) for name, passes in _pipelines().items()]
        console.print(table("Pipelines", ("name", "passes"), pipelines))

    return Output(data, render)
