# SPDX-License-Identifier: MIT
"""``ranvier compile``: a model to an artifact."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .command import Command, Output
from .options import (
    Shapes,
    inputs_option,
    model_argument,
    shape_sets_option,
    target_option,
)

if TYPE_CHECKING:
    from rich.console import Console


@click.command("compile", cls=Command)
@model_argument
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, metavar="FOLDER",
    help="The artifact's folder; an artifact that is there is replaced.",
)  # fmt: skip
@target_option
@shape_sets_option
@inputs_option
@click.option(
    "--accuracy", type=click.Choice(("default", "strict")), default="default",
    help="strict: no approximations in kernels.",
)  # fmt: skip
def command(
    model: Path,
    output: Path,
    target: str,
    shapes: tuple[Shapes, ...],
    inputs: Path | None,
    accuracy: str,
) -> Output:
    """Compile MODEL, an ONNX file, for given shapes.

    A model whose code depends on values (axes, sizes) is compiled by running it once on
    --inputs.
    """
    from ..compiler import Compiler
    from ..runtime.session import Session
    from .arrays import fit, load_arrays
    from .progress import progress

    if inputs is not None and shapes:
        raise click.UsageError("give --shapes or --inputs, not both")
    start = time.perf_counter()
    with progress(f"loading {model}") as shown:
        compiler = Compiler(model, target, accuracy, lambda p, *_: shown.say(f"pass {p.name}"))
        if inputs is None:
            compiler.ahead(list(shapes) or None)
        else:
            session = Session(compiler.artifact, specialise=compiler.specialise)
            session.run(None, fit(session.model.inputs, load_arrays(inputs)))
        shown.say(f"writing {output}")
        compiler.artifact.save(output)
    artifact, seconds = compiler.artifact, time.perf_counter() - start
    nbytes = sum(f.stat().st_size for f in output.iterdir())
    keys = [str(key) for key in artifact.keys]
    data = {
        "artifact": str(output),
        "target": artifact.target.name,
        "specialisations": keys,
        "bytes": nbytes,
        "seconds": seconds,
    }

    def render(console: Console) -> None:
        from .tables import duration, size

        console.print(f"{output}: {size(nbytes)} for {artifact.target.name}, {duration(seconds)}")
        for key in keys:
            console.print(f"  {key}")

    return Output(data, render)
