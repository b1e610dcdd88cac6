# SPDX-License-Identifier: MIT
"""``ranvier zoo``: the models that need no file, and how to write one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .command import Command, Output

if TYPE_CHECKING:
    from rich.console import Console

    from ..frontend.builder import Network

Json = dict[str, Any]

_OPTIONS = {
    "size": "Height and width, of volumes depth too.",
    "batch": "Images, volumes or sequences at once.",
    "channels": "Channels of the images.",
    "classes": "Scores, or channels of the result.",
    "width": "Channels of the first layer, or features of a transformer.",
    "length": "Tokens of a sequence.",
}


def _size_options(function: Callable[..., Output]) -> Callable[..., Output]:
    """Give a command an option for every size."""
    for name, text in reversed(_OPTIONS.items()):
        option = click.option(f"--{name}", type=click.IntRange(min=1), metavar="N", help=text)
        function = option(function)
    return function


@click.command("zoo", cls=Command)
@click.argument("name", required=False)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FILE.onnx",
    help="Write the model with seeded weights to this file.",
)  # fmt: skip
@click.option("--seed", default=0, show_default=True, help="Of the weights.")
@click.option("--opset", default=20, show_default=True, help="Version of ai.onnx to write.")
@_size_options
def command(
    name: str | None, output: Path | None, seed: int, opset: int, **options: int | None
) -> Output:
    """List the models of the zoo, describe the one called NAME, or write it.

    Architectures are those of the papers and reference implementations; weights are drawn
    from the seed. Options that are left out have the values of the reference.
    """
    chosen = {k: v for k, v in options.items() if v is not None}
    if name is None:
        if output or chosen:
            raise click.UsageError("name the model that --output and sizes are meant for")
        return _list()
    from ..frontend import zoo

    network = zoo.network(name, **chosen)
    data = {**_described(name, network), "options": {**zoo.MODELS[name].options, **chosen}}
    if output:
        data |= {"file": str(output), "opset": opset, "bytes": _write(network, output, seed, opset)}
    return Output(data, lambda console: _render(console, data))


def _list() -> Output:
    from ..frontend import zoo

    data = {"models": [_described(name, zoo.network(name)) for name in zoo.MODELS]}

    def render(console: Console) -> None:
        from .tables import count, table

        rows = [
            (m["name"], count(m["parameters"]), count(m["flops"], "FLOP"), _inputs(m), m["paper"])
            for m in data["models"]
        ]
        columns = ("model", ">parameters", ">operations", "inputs", "paper")
        console.print(table("", columns, rows))

    return Output(data, render)


def _described(name: str, network: Network) -> Json:
    from ..frontend import zoo

    return {
        "name": name,
        "paper": zoo.MODELS[name].paper,
        "parameters": network.parameter_count,
        "flops": network.flops,
        "inputs": [{"name": n, "type": str(x)} for n, x in network.named_inputs.items()],
        "outputs": [{"name": n, "type": str(x)} for n, x in network.outputs.items()],
    }


def _write(network: Network, output: Path, seed: int, opset: int) -> int:
    """Write the model and return the size of its file."""
    from ..frontend.export import export, save_onnx
    from .progress import progress

    with progress(f"writing {output}"):
        save_onnx(export(network.graph(seed), opset), output)
    return output.stat().st_size


def _inputs(data: Json) -> str:
    return ", ".join(f"{v['name']}: {v['type']}" for v in data["inputs"])


def _render(console: Console, data: Json) -> None:
    from .tables import count, size, table

    parameters, work = count(data["parameters"]), count(data["flops"], "FLOP")
    console.print(f"{data['name']} ({data['paper']}): {parameters} parameters, {work}")
    values = [("input", v["name"], v["type"]) for v in data["inputs"]]
    values += [("output", v["name"], v["type"]) for v in data["outputs"]]
    console.print(table("", ("", "name", "type"), values))
    options = ", ".join(f"{k}={v}" for k, v in data["options"].items())
    console.print(f"options: {options}")
    if "file" in data:
        console.print(f"{data['file']}: opset {data['opset']}, {size(data['bytes'])}")
