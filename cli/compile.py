# SPDX-License-Identifier: MIT
"""``ranvier compile``: a model to an artifact."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

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

    from ..compiler import Compiler
    from ..runtime.artifact import Artifact


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
    help="strict: convolutions by their definition, slower.",
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
    from .tables import duration, size

    if inputs is not None and shapes:
        raise click.UsageError("give --shapes or --inputs, not both")
    start = time.perf_counter()
    artifact = _compile(model, output, (target, accuracy), shapes, inputs)
    seconds = time.perf_counter() - start
    data: dict[str, Any] = {
        "artifact": str(output),
        "target": artifact.target.name,
        "variants": [variant.target.name for variant in artifact.variants],
        "specialisations": [str(key) for key in artifact.keys],
        "complete": not _open_stages(artifact),
        "bytes": sum(f.stat().st_size for f in output.iterdir()),
        "seconds": seconds,
    }

    def render(console: Console) -> None:
        console.print(f"{output}: {size(data['bytes'])} for {target}, {duration(seconds)}")
        for key in data["specialisations"]:
            console.print(f"  {key}")
        if not data["complete"]:
            console.print(
                "What follows depends on the data and is not in it: compile with --inputs, or run "
                "the model itself, which compiles as needed."
            )

    return Output(data, render)


def _open_stages(artifact: Artifact) -> set[str]:
    """Return the stages that follow one that is compiled and are not compiled themselves."""
    following = {s.following.name for s in artifact.specialisations() if s.following}
    return following - {key.stage for key in artifact.keys}


def _compile(
    model: Path,
    output: Path,
    how: tuple[str, str],
    shapes: Sequence[Shapes],
    inputs: Path | None,
) -> Artifact:
    """Compile and save; ``how`` is the target and the accuracy."""
    from ..codegen.targets import parse_targets
    from ..compiler import Compiler
    from ..frontend.load import load
    from ..runtime.artifact import join_variants
    from .progress import progress

    target, accuracy = how
    targets = parse_targets(target)
    if inputs is not None and len(targets) > 1:
        raise click.UsageError("--inputs runs the model, which takes one target; give --shapes")
    with progress(f"loading {model}") as shown:
        loaded = load(model)
        artifacts = []
        for t in targets:
            compiler = Compiler(loaded, t.name, accuracy, lambda p, *_: shown.say(f"pass {p.name}"))
            if inputs is None:
                artifacts.append(compiler.ahead(list(shapes) or None))
            else:
                artifacts.append(_by_example(compiler, inputs))
        artifact = join_variants(artifacts, any_machine=True)
        shown.say(f"writing {output}")
        artifact.save(output)
    return artifact


def _by_example(compiler: Compiler, inputs: Path) -> Artifact:
    """Compile what running the model on the arrays in ``inputs`` needs."""
    from ..runtime.session import Session
    from .arrays import fit, load_arrays

    session = Session(compiler.artifact, specialise=compiler.specialise)
    session.run(None, fit(session.model.inputs, load_arrays(inputs)))
    return compiler.artifact
