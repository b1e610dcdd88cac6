# SPDX-License-Identifier: MIT
"""The command line: ``python -m benchmarks compare``, and errors as one clear line."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from ranvier.cli.command import Command, Output, console
from ranvier.cli.options import Shapes, seed_option, shapes_option
from ranvier.cli.progress import progress
from ranvier.errors import InputError, RanvierError

from . import report_html, report_json
from .cases import FOLDER_VARIABLE, Case, case_of, short_cases, standard_cases, zoo_case
from .compare import Plan, compare
from .cores import alone, idlest_cores
from .engines import OWN
from .learning import learn
from .learning_tasks import TASKS
from .machine import describe
from .reference import cache_folder
from .registry import ENGINES
from .results import CaseResult, Report
from .suite import PARTS, TRAINING_NAMES, Settings, Training, run_suite
from .tables import comparison, learning
from .training_cases import TRAINING_CASES

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
    """Compare and time MODELS: ONNX files, folders with a model.onnx, or names such as zoo:vgg16.

    Without MODELS, those of the folder that RANVIER_BENCH_MODELS names. Outputs are compared
    first; an engine that disagrees is reported and not timed. Ends with exit code 1 if ranvier
    disagrees or fails.
    """
    results: list[CaseResult] = []
    with alone(_note), _scratch() as folder:
        todo = [
            (case, count)
            for case in _cases(models, shapes or {}, folder)
            for count in threads or [1]
        ]
        with progress("starting", len(todo)) as shown:
            for case, count in todo:
                plan = Plan(list(engines) or NAMES, count, _cores(cores, count), **options)
                plan = replace(plan, references=cache_folder())
                results.append(compare(case, plan, shown.say))
                shown.advance()
    data = {"results": [asdict(result) for result in results]}

    def render(console: Console) -> None:
        for result in results:
            console.print(comparison(result))

    return Output(data, render, int(_is_bad(results)))


@commands.command("run", cls=Command)
@click.argument("models", nargs=-1, type=click.Path(path_type=Path))
@click.option("--full", is_flag=True, help="All models of RANVIER_BENCH_MODELS, without a limit.")
@click.option("--threads", "-t", multiple=True, type=click.IntRange(1), help="Default: 1 and 2.")
@click.option(
    "--part", "-p", "parts", multiple=True, type=click.Choice(PARTS), help="Default: all."
)
@click.option("--engine", "-e", "engines", multiple=True, type=click.Choice(NAMES))
@click.option("--rounds", "-r", default=5, type=click.IntRange(1), show_default=True)
@click.option("--budget", default=15.0, show_default=True, help="Seconds of timing per comparison.")
@click.option("--minutes", default=8.0, show_default=True, help="After which nothing is begun.")
@click.option(
    "--output", "-o", default=Path("build/benchmarks"), type=click.Path(path_type=Path),
    show_default=True, help="Folder of results.json and results.html.",
)  # fmt: skip
@shapes_option
def run_command(
    models: Sequence[Path],
    full: bool,
    shapes: Shapes | None,
    output: Path,
    **options: Any,
) -> Output:
    """Measure everything about MODELS and write results.json and results.html.

    Without MODELS, small ones of ranvier's own zoo. Parts are compare, train,
    overhead, kernels, startup and memory; without --part all of them.
    """
    with alone(_note), _scratch() as folder:
        chosen = models or full
        cases = _cases(models, shapes or {}, folder) if chosen else short_cases(folder)
        minutes = float("inf") if full else options["minutes"]
        settings = _settings(cases, minutes, options)
        with progress("starting") as shown:
            report = run_suite(settings, shown.say)
    return _written(report, output, "results")


def _written(report: Report, output: Path, name: str) -> Output:
    """Write a report as JSON and as a page, and show what was compared."""
    output.mkdir(parents=True, exist_ok=True)
    report_json.write(report, output / f"{name}.json")
    report_html.write(report, output / f"{name}.html")
    compared = (*report.comparisons, *report.training)

    def render(console: Console) -> None:
        for result in (*compared, *report.overhead):
            console.print(comparison(result))
        for text in report.left_out:
            console.print(f"left out: {text}")
        console.print(f"the rest is in {output / f'{name}.html'}")

    return Output(report_json.to_json(report), render, int(_is_bad(compared)))


@commands.command("train", cls=Command)
@click.option("--model", "-m", "models", multiple=True, type=click.Choice(list(TRAINING_CASES)),
              help="Default: all but the smallest.")  # fmt: skip
@click.option("--threads", "-t", multiple=True, type=click.IntRange(1), help="Default: 1.")
@click.option("--rounds", "-r", default=7, type=click.IntRange(1), show_default=True)
@click.option("--turn", default=1.0, show_default=True, help="Seconds of a turn in a round.")
@click.option("--budget", default=240.0, show_default=True, help="Seconds of timing per model.")
@click.option("--engine", "-e", "engines", multiple=True, type=click.Choice(TRAINING_NAMES))
@click.option("--memory/--no-memory", default=True, help="Whether memory is measured too.")
@click.option("--kernels", is_flag=True, help="Measure every kernel of ranvier's steps too.")
@click.option(
    "--output", "-o", default=Path("build/benchmarks"), type=click.Path(path_type=Path),
    show_default=True, help="Folder of training.json and training.html.",
)  # fmt: skip
def train_command(
    models: Sequence[str],
    engines: Sequence[str],
    memory: bool,
    kernels: bool,
    output: Path,
    **options: Any,
) -> Output:
    """Time steps of training: forward, backward, SGD with momentum, the batch in memory.

    All engines begin with the same weights; an engine whose losses of the first three steps
    are others is reported and not timed. Ends with exit code 1 if ranvier disagrees or fails.
    """
    threads = options.pop("threads") or [1]
    training = Training(
        models or list(TRAINING_CASES)[1:], engines or TRAINING_NAMES, memory, kernels
    )
    plan = Plan(training.engines, threads=1, cores=(), **options)
    with alone(_note), progress("starting") as shown:
        report = run_suite(Settings([], threads, ["train"], plan, training=training), shown.say)
    return _written(report, output, "training")


@commands.command("learn", cls=Command)
@click.option("--task", "tasks", multiple=True, type=click.Choice(list(TASKS)),
              help="Default: all.")  # fmt: skip
@click.option("--seeds", default=3, type=click.IntRange(1), show_default=True)
@click.option("--threads", "-t", default=2, type=click.IntRange(1), show_default=True)
@click.option(
    "--output", "-o", default=Path("build/benchmarks"), type=click.Path(path_type=Path),
    show_default=True, help="Folder of learning.json and learning.html.",
)  # fmt: skip
def learn_command(tasks: Sequence[str], seeds: int, threads: int, output: Path) -> Output:
    """Learn from real images with several seeds, and score images that were not learned from.

    Tasks are chest X-rays (pneumonia), blood cells (blood), and membranes in electron
    microscopy (membranes), which torch learns as well. Ends with exit code 1 if a goal is
    missed.
    """
    with alone(_note), progress("starting") as shown:
        results = learn(tasks or TASKS, range(seeds), threads, shown.say)
    made = datetime.now(timezone.utc).isoformat(timespec="seconds")
    report = Report(made, describe(), learning=results)
    written = _written(report, output, "learning")
    missed = any(r.missed or not r.runs for r in results if r.engine == OWN)

    def render(console: Console) -> None:
        console.print(learning(results))

    return Output(written.data, render, int(missed))


def _settings(cases: Sequence[Case], minutes: float, options: Mapping[str, Any]) -> Settings:
    available = len(os.sched_getaffinity(0))
    threads = options["threads"] or [n for n in (1, 2) if n <= available]
    plan = Plan(
        options["engines"] or NAMES,
        threads=1,
        cores=(),
        rounds=options["rounds"],
        turn=0.1,
        budget=options["budget"],
        references=cache_folder(),
    )
    return Settings(cases, threads, options["parts"] or PARTS, plan, 60 * minutes)


@commands.command("page", cls=Command)
@click.argument("results", type=click.Path(path_type=Path))
@click.argument("page", type=click.Path(path_type=Path))
def page_command(results: Path, page: Path) -> Output:
    """Write the HTML page of a file of RESULTS to PAGE."""
    report_html.write(report_json.read(results), page)
    return Output({"page": str(page)}, lambda console: console.print(f"wrote {page}"))


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


def _is_bad(results: Sequence[CaseResult]) -> bool:
    """Whether ranvier fails or disagrees anywhere."""
    return any(
        engine.engine == OWN and engine.status in {"failed", "disagrees"}
        for result in results
        for engine in result.engines
    )


def _note(text: str) -> None:
    console(True).print(text)


@contextmanager
def _scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ranvier-bench-") as folder:
        yield Path(folder)


def _cases(models: Sequence[Path], shapes: Shapes, folder: Path) -> list[Case]:
    cases = [_case(model, shapes, folder) for model in models] or standard_cases()
    if not cases:
        raise InputError(
            f"nothing to measure: name ONNX files, or set {FOLDER_VARIABLE} to a folder of them"
        )
    return cases


def _case(model: Path, shapes: Shapes, folder: Path) -> Case:
    kind, _, name = str(model).partition(":")
    return zoo_case(name, folder) if kind == "zoo" else case_of(model, shapes)


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
