# SPDX-License-Identifier: MIT
"""``ranvier run``: a model or artifact on arrays from a file."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .command import Command, Output
from .options import model_argument, target_option

if TYPE_CHECKING:
    from rich.console import Console

_FILE = click.Path(path_type=Path)


@click.command("run", cls=Command)
@model_argument
@click.option("--inputs", type=_FILE, required=True, metavar="FILE.npz", help="Arrays by name.")
@click.option("--outputs", type=_FILE, required=True, metavar="FILE.npz", help="Where results go.")
@click.option("--threads", type=int, help="Processor threads; default: one a core.")
@target_option
def command(model: Path, inputs: Path, outputs: Path, threads: int | None, target: str) -> Output:
    """Run MODEL (an ONNX file or an artifact) on arrays and write its outputs.

    The output file appears whole or not at all.
    """
    from ..compiler import Session
    from .arrays import fit, load_arrays, save_arrays
    from .progress import progress

    arrays = load_arrays(inputs)
    with progress(f"loading {model}") as shown:
        session = Session(model, threads, target)
        shown.say("compiling and running")
        start = time.perf_counter()
        values = session.run(None, fit(session.model.inputs, arrays))
        seconds = time.perf_counter() - start
    names = [spec.name for spec in session.model.outputs]
    save_arrays(outputs, dict(zip(names, values, strict=True)))
    described = [{"name": n, "type": _type(v)} for n, v in zip(names, values, strict=True)]
    data = {"outputs": described, "file": str(outputs), "seconds": seconds}

    def render(console: Console) -> None:
        from .tables import duration, table

        rows = [(item["name"], item["type"]) for item in described]
        console.print(table("", ("output", "type"), rows))
        console.print(f"written to {outputs} after {duration(seconds)}, compilation included")

    return Output(data, render)


def _type(value: Any) -> str:
    from ..runtime.keys import type_text

    return type_text(value)
