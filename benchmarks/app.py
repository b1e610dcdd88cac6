# SPDX-License-Identifier: MIT
"""The command line: ``python -m benchmarks compare``, and errors as one clear line."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from ranvier.cli.command import Command, Output, console
from ranvier.cli.options import Shapes, seed_option, shapes_option
from ranvier.cli.progress import progress
from ranvier.errors import InputError, RanvierError

from .cases import FOLDER_VARIABLE, Case, case_of, standard_cases
from .compare import Plan, compare
from .cores import alone, idlest_cores
from .registry import ENGINES
from .results import CaseResult
from .tables import comparison

if TYPE_CHECKING:
    from rich.console import Console

NAMES = tuple(engine.name for engine in ENGINES)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def commands() -> None:
    """Measure ranvier side by side with other runtimes."""


@commands.command("compare", cls=Command)
@click.argument("models", nargs=-1, type=click.Path(path_type=Path))
@click.option("--threads", "-t", multiple=True, type=click.IntRange(1), help="Default: 1.")
@click.option("--rounds", "-r", default=7, type=click.IntRange(1), show_default=True)
@click.option("--turn", default=0.2, show_default=True, help="Seconds of a turn in a round.")
@click.option("--budget", default=120.0, show_default=True, help="Seconds of timing per model.")
@click.option("--engine", "-e", "engines", multiple=True, type=click.Choice(NAMES))
@shapes_option
@click.option("--cores", help="Numbers such as 0,1. Default: the least busy ones.")
@seed_option
def compare_command(
    models: Sequence[Path],
    threads: Sequence[int],
    shapes: Shapes | None,
    cores: str | None,
    engines: Sequence[str],
    **options: Any,
) -> Output:
    """Compare and time MODELS: ONNX files, or folders with a model.onnx.

    Without MODELS, those of the folder that RANVIER_BENCH_MODELS names. Outputs are compared
    first; an engine that disagrees is reported and not timed. Ends with exit code 1 if ranvier
    disagrees or fails.
    """
    cases = _cases(models, shapes or {})
    results: list[CaseResult] = []

    def note(text: str) -> None:
        console(True).print(text)

    with alone(note), progress("starting", len(cases) * len(threads or [1])) as shown:
        for case in cases:
            for count in threads or [1]:
                chosen = _cores(cores, count)
                plan = Plan(list(engines) or NAMES, count, chosen, **options)
                results.append(compare(case, plan, shown.say))
                shown.advance()
    data = {"results": [asdict(result) for result in results]}

    def render(console: Console) -> None:
        for result in results:
            console.print(comparison(result))

    bad = any(
        e.engine == "ranvier" and e.status in {"failed", "disagrees"}
        for result in results
        for e in result.engines
    )
    return Output(data, render, int(bad))


@commands.command("export-modules", cls=Command)
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("names", nargs=-1)
@seed_option
def export_command(folder: Path, names: Sequence[str], seed: int) -> Output:
    """Write torch modules called NAMES (default: all) to FOLDER, as ONNX and for torch."""
    from .engines import restore_torch

    restore_torch()
    from .modules import RECIPES, export

    with progress("exporting", len(names or RECIPES)) as shown:
        files = []
        for name in names or RECIPES:
            shown.say(f"exporting {name}")
            files.append(str(export(name, folder, seed)))
            shown.advance()
    return Output({"files": files}, lambda console: console.print("\n".join(files)))


def _cases(models: Sequence[Path], shapes: Shapes) -> list[Case]:
    cases = [case_of(model, shapes) for model in models] or standard_cases()
    if not cases:
        raise InputError(
            f"nothing to measure: name ONNX files, or set {FOLDER_VARIABLE} to a folder of them"
        )
    return cases


def _cores(text: str | None, count: int) -> tuple[int, ...]:
    if text is None:
        return idlest_cores(count)
    try:
        cores = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"--cores: expected numbers such as 0,1, found {text!r}") from None
    return cores[:count]


def main() -> NoReturn:
    """Run one command line."""
    try:
        code = commands.main(prog_name="python -m benchmarks", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except (RanvierError, OSError) as error:
        if "--traceback" in sys.argv:
            raise
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)
