# SPDX-License-Identifier: MIT
"""``ranvier train``: a model learns from files, and is written as ONNX."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import NonFiniteError
from .choices import memory, named, parse_pair
from .command import Command, Output

if TYPE_CHECKING:
    from rich.console import Console

    from ..training.trainer import Trainer
    from .train_run import Folder, Watch
    from .train_setup import Prepared, Settings

Json = dict[str, Any]

_WORDS = {
    "Options(find_non_finite=True)": "--find-nan",
    "Options(clip=ClipNorm(...))": "--clip-norm",
}
"""How options that messages of the trainer name are called here."""
_PATH = click.Path(path_type=Path)
_SIZES = ("size", "channels", "classes", "width", "length")
_NAMED = "NAME[:OPTION=VALUE,…]"
_COUNT = click.IntRange(min=1)


class _Command(Command):
    """Remembers its words, to say how an interrupted run goes on."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta["words"] = list(args)
        return super().parse_args(ctx, args)


def _options(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a decorator of several options, which are listed in this order."""

    def decorated(function: Any) -> Any:
        for option in reversed(options):
            function = option(function)
        return function

    return decorated


_data_options = _options(
    click.option("--masks", type=_PATH, metavar="FOLDER", help="Masks of the images in DATA."),
    click.option("--levels", default="0,255", show_default=True, metavar="N,N,…",
                 help="Grey levels of masks, in the order of classes."),
    click.option("--input", "inputs", multiple=True, metavar="NAME=FIELD",
                 help="Field of DATA for an input of the model, if called otherwise."),
    click.option("--target", metavar="FIELD", help="Field to predict; else label or mask."),
    click.option("--validation", metavar="SHARE|DATA|none",
                 help="Samples to check with: a share of DATA that is split off (else 0.1), "
                      "other data, or none."),
    click.option("--validation-masks", type=_PATH, metavar="FOLDER",
                 help="Masks of the images in --validation."),
)  # fmt: skip
_size_options = _options(
    click.option("--size", type=_COUNT, metavar="N",
                 help="Height and width; images of a folder are resized."),
    click.option("--channels", type=_COUNT, metavar="N", help="1 for grey images, 3 for colours."),
    click.option("--classes", type=_COUNT, metavar="N", help="Scores of a model of the zoo."),
    click.option("--width", type=_COUNT, metavar="N", help="Channels of its first layer."),
    click.option("--length", type=_COUNT, metavar="N", help="Tokens of a sequence."),
)  # fmt: skip
_learning_options = _options(
    click.option("--loss", callback=named, metavar=_NAMED, default="cross_entropy",
                 show_default=True,
                 help="Such as focal:gamma=2 or dice_cross_entropy."),
    click.option("--optimizer", callback=named, metavar=_NAMED, default="adamw",
                 show_default=True,
                 help="Such as sgd:momentum=0.9."),
    click.option("--rate", type=float, metavar="X",
                 help="Learning rate; else the optimizer's own."),
    click.option("--weight-decay", type=float, metavar="X", help="Shrinks parameters."),
    click.option("--schedule", callback=named, metavar=_NAMED,
                 help="Of the rate, counted in updates: cosine:warm_up=100, one_cycle, plateau, …"),
    click.option("--epochs", type=_COUNT, metavar="N", default=10, show_default=True,
                 help="How often all samples are seen."),
    click.option("--batch", type=_COUNT, metavar="N", help="Samples at once; else 32."),
    click.option("--accumulate", type=_COUNT, metavar="N", default=1, show_default=True,
                 help="Batches whose gradients make one update."),
    click.option("--metric", "metrics", callback=named, multiple=True, metavar=_NAMED,
                 help="Counted over the validation data: accuracy, auc, dice, …; repeat it."),
    click.option("--augment", callback=named, multiple=True, metavar=_NAMED,
                 help="Changes images at random: flip, affine:rotation=[-10,10], noise, …; "
                      "repeat it."),
    click.option("--freeze", "frozen", multiple=True, metavar="PATTERN",
                 help="Parameters that stay as they are, such as 'layer1.*'; repeat it."),
    click.option("--clip-norm", type=float, metavar="X",
                 help="Bound of the norm of all gradients."),
    click.option("--average", type=float, metavar="DECAY",
                 help="Keep and export a running mean of the weights, such as 0.999."),
    click.option("--early-stopping", type=_COUNT, metavar="EPOCHS",
                 help="Stop after so many without a lower loss, and keep the best."),
)  # fmt: skip
_run_options = _options(
    click.option("--weights", type=_PATH, metavar="CHECKPOINT",
                 help="Parameters to begin with, of a checkpoint or a folder of a run."),
    click.option("--partial", is_flag=True, help="Take those of --weights that fit, no error."),
    click.option("-o", "--output", type=_PATH, metavar="OUT.onnx", help="The trained model."),
    click.option("--run", type=_PATH, metavar="FOLDER",
                 help="Checkpoints, logs (CSV, JSON, TensorBoard), report.html, model.onnx."),
    click.option("--resume", is_flag=True, help="Go on from the last checkpoint of --run."),
    click.option("--checkpoint-every", type=_COUNT, metavar="STEPS",
                 help="Keep checkpoints within epochs, too."),
    click.option("--memory", callback=memory, metavar="full|mid|low|BYTES", default="full",
                 show_default=True,
                 help="For intermediate results: mid and low compute some of them twice."),
    click.option("--threads", type=_COUNT, metavar="N",
                 help="Else one per core; changes no result."),
    click.option("--seed", type=click.IntRange(min=0), metavar="N", default=0, show_default=True,
                 help="Of weights, order and augmentation."),
    click.option("--find-nan/--no-find-nan", default=True, show_default=True,
                 help="Trace a loss that is not finite to the op it came from."),
)  # fmt: skip


@click.command("train", cls=_Command)
@click.argument("model")
@click.argument("data")
@_data_options
@_size_options
@_learning_options
@_run_options
@click.pass_context
def command(ctx: click.Context, /, **options: Any) -> Output:
    """Train MODEL on DATA and write it as ONNX.

    MODEL is an ONNX file, whose weights are trained on, or zoo:NAME (see 'ranvier zoo'), whose
    sizes are those of the data. DATA is an .npz file with arrays such as image and label (or
    FILE.npz:train, if they are called train_image and so on), a folder with a folder of images
    per class, a folder of images with --masks, or sample:pneumonia, which comes with ranvier.
    """
    output, run = options.pop("output"), options.pop("run")
    resume, every = options.pop("resume"), options.pop("checkpoint_every")
    patience = options.pop("early_stopping")
    if output is None and run is None:
        raise click.UsageError("say where to: -o OUT.onnx, or --run FOLDER for all of a run")
    if run is None and (resume or every):
        raise click.UsageError("--resume and --checkpoint-every need --run FOLDER")
    from .train_run import Folder

    if output is not None and (output.is_dir() or not output.absolute().parent.is_dir()):
        # Known now rather than when everything has been learned.
        raise click.UsageError(f"-o {output}: must be a file in a folder that is there")
    settings = _settings(options)
    folder = None if run is None else Folder(run)
    if folder is not None and not resume:
        folder.check_new()
    if folder is not None and folder.newest() is not None:
        settings = replace(settings, weights=None)  # those of the checkpoint are further on
    return _train(ctx, settings, folder, (output, every, patience))


def _settings(options: Json) -> Settings:
    """Return the options as data, those that are texts parsed."""
    from .train_setup import Settings

    levels = options.pop("levels").split(",")
    if not all(n.isascii() and n.isdigit() for n in levels):
        raise click.UsageError(f"--levels {','.join(levels)} must look like 0,255")
    if options["partial"] and options["weights"] is None:
        raise click.UsageError("--partial is for --weights CHECKPOINT")
    sizes = {k: n for k in _SIZES if (n := options.pop(k)) is not None}
    inputs = dict(map(parse_pair, options.pop("inputs")))
    return Settings(**options, levels=tuple(map(int, levels)), inputs=inputs, sizes=sizes)


def _train(
    ctx: click.Context,
    settings: Settings,
    folder: Folder | None,
    rest: tuple[Path | None, int | None, int | None],
) -> Output:
    from ..training.kpis import Kpis
    from .progress import progress
    from .train_setup import prepare

    output, every, patience = rest
    say = _sayer(ctx.obj)
    with Kpis() as kpis:
        with progress(f"reading {settings.data}") as shown:
            prepared = prepare(settings)
            trainer = prepared.trainer
            _begin(settings, prepared, folder, ctx, say)
            shown.say("compiling the model and its gradients (kept in the kernel cache)")
            planned = trainer.planned_memory(prepared.first_batch())
        say(_memory(trainer, planned, settings.memory))
        watch = _watch(ctx, prepared, folder, every, patience)
        _fit(ctx, settings, prepared, folder, watch, kpis)
        figures = trainer.evaluate(prepared.checking) if prepared.checking else {}
        target = output or folder.path / "model.onnx"  # type: ignore[union-attr]
        trainer.export(target)
        kpis.exported()
    return _output(prepared, folder, target, figures, planned, kpis)


def _sayer(as_json: bool) -> Callable[[str], None]:
    """Return what says a line on the error stream, unless JSON was asked for."""

    def say(text: str) -> None:
        if not as_json:
            click.echo(text, err=True)

    return say


def _begin(
    settings: Settings,
    prepared: Prepared,
    folder: Folder | None,
    ctx: click.Context,
    say: Callable[[str], None],
) -> None:
    """Say what is to be done, and take up the run that is there."""
    for note in prepared.notes:
        say(note)
    learned, checked = prepared.samples
    say(
        f"{learned} samples to learn from, {checked} to check with; batches of "
        f"{prepared.learning.batch_size}, {len(prepared.learning)} in each of "
        f"{settings.epochs} epochs"
    )
    if folder is None:
        return
    kept = _kept(settings, prepared)
    if not ctx.params["resume"]:
        folder.write_settings(kept)
        return
    folder.check_settings(kept)
    found = folder.take_up(prepared.trainer)
    position = prepared.trainer.position
    if found is None:
        folder.write_settings(kept)
        say(f"no checkpoint in {folder.checkpoints} yet; the run begins anew")
    else:
        say(f"going on from {found}: epoch {position.epoch + 1}, step {position.step}")


def _kept(settings: Settings, prepared: Prepared) -> dict[str, str]:
    """Return what a run depends on; paths, which may change, are not among it."""
    kept: Mapping[str, Any] = {
        "loss": settings.loss,
        "optimizer": prepared.trainer.optimizer,
        "schedule": prepared.trainer.schedule if settings.schedule else None,
        "batch": prepared.learning.batch_size,
        "accumulate": settings.accumulate,
        "augment": ", ".join(map(str, settings.augment)),
        "clip-norm": settings.clip_norm,
        "average": settings.average,
        "freeze": ", ".join(settings.frozen),
        "seed": settings.seed,
        "samples": ", ".join(map(str, prepared.samples)),
    }
    if settings.schedule and settings.schedule.name == "plateau":
        kept = {**kept, "schedule": settings.schedule}
    return {k: "none" if v in (None, "") else str(v) for k, v in kept.items()}


def _memory(trainer: Trainer, planned: int, asked: str | int) -> str:
    from .tables import size

    learned = sum(a.nbytes for a in trainer.updater.parameters.values())
    states = sum(a.nbytes for a in trainer.updater.state().values())
    above = isinstance(asked, int) and planned > asked
    more = f" (--memory {asked} is less than it can do with)" if above else ""
    return (
        f"planned memory: {size(planned)} of intermediate results{more}, "
        f"{size(2 * learned + states)} of parameters, gradients and states of the optimizer"
    )


def _watch(
    ctx: click.Context,
    prepared: Prepared,
    folder: Folder | None,
    every: int | None,
    patience: int | None,
) -> Watch:
    from ..training.progress import Progress
    from .command import quiet
    from .train_run import Lines, StopOnInterrupt, Watch, logs_of, stopping

    say = _sayer(ctx.obj)
    watch = Watch(StopOnInterrupt(say))
    if patience is not None:
        watch.others.append(stopping(prepared, patience))
    if folder is not None:
        watch.others += logs_of(folder, prepared, every)
    watch.others.append(Lines(say) if quiet() else Progress())
    return watch


def _fit(
    ctx: click.Context,
    settings: Settings,
    prepared: Prepared,
    folder: Folder | None,
    watch: Watch,
    kpis: Any,
) -> None:
    """Train; if that is interrupted, say how to go on."""
    try:
        prepared.trainer.fit(
            prepared.learning,
            settings.epochs,
            validation=prepared.checking,
            callbacks=watch.all,
            kpis=kpis,
        )
    except KeyboardInterrupt:
        raise click.Abort(_interrupted(ctx, prepared, folder)) from None
    except NonFiniteError as error:
        text = str(error)
        for option, word in _WORDS.items():
            text = text.replace(option, word)
        raise NonFiniteError(text) from error
    if watch.interrupt.asked:
        raise click.Abort(_interrupted(ctx, prepared, folder))


def _interrupted(ctx: click.Context, prepared: Prepared, folder: Folder | None) -> str:
    position = prepared.trainer.position
    where = f"interrupted in epoch {position.epoch + 1} after step {position.step}"
    newest = None if folder is None else folder.newest()
    if folder is None:
        return f"{where}; nothing is kept without --run FOLDER"
    if newest is None:
        return f"{where}; {folder.path} has no checkpoint yet"
    words = [*ctx.meta["words"], *([] if ctx.params["resume"] else ["--resume"])]
    return f"{where}; {newest} is kept. Go on: {ctx.command_path} {shlex.join(words)}"


def _output(
    prepared: Prepared,
    folder: Folder | None,
    target: Path,
    figures: Mapping[str, float],
    planned: int,
    kpis: Any,
) -> Output:
    from ..training.figures import to_json
    from .train_run import report

    trainer, measured = prepared.trainer, kpis.result()
    rows = [row.figures for row in trainer.history.epochs]
    data: Json = {
        "model": str(target),
        "steps": trainer.position.step,
        "stopped": trainer.stopped,
        "epochs": [{k: to_json(v) for k, v in row.items()} for row in rows],
        "validation": {k: to_json(v) for k, v in figures.items()},
        "planned_memory": planned,
        "notes": prepared.notes,
        "kpis": measured.to_json(),
        "report": None if folder is None else str(report(folder, prepared, measured)),
    }
    return Output(data, lambda console: _render(console, data, rows))


def _render(console: Console, data: Json, rows: list[Mapping[str, float]]) -> None:
    from .tables import duration, table

    names = [k for k in dict.fromkeys(k for row in rows for k in row) if k != "seconds"]
    cells = [
        (k + 1, *(f"{row[n]:.4g}" if n in row else "" for n in names), f"{row['seconds']:.1f} s")
        for k, row in enumerate(rows)
    ]
    console.print(table("", ("epoch", *(f">{n}" for n in names), ">time"), cells))
    if data["stopped"]:
        console.print(f"Stopped early: {data['stopped']}.")
    if data["validation"]:
        shown = ", ".join(f"{k} {v:.4g}" for k, v in data["validation"].items())
        console.print(f"Samples that it has not learned from: {shown}.")
    seconds = data["kpis"]["totm"]
    console.print(f"Trained in {duration(seconds)}; written to {data['model']}.")
    if data["report"]:
        console.print(f"Report: {data['report']}")
