# SPDX-License-Identifier: MIT
"""``ranvier demo``: a network learns to tell pneumonia on real X-rays, and is deployed."""

from __future__ import annotations

import statistics
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .command import Command, Output, quiet

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

    from ..ir.types import Array
    from ..training.data import DataLoader
    from ..training.kpis import KeyFigures
    from ..training.trainer import Trainer

_SEED = 0
_BATCH = 32
_RATE, _DECAY, _SMOOTHING = 3e-3, 0.05, 0.05
_RUNS = 50


@dataclass(frozen=True)
class Deployed:
    """What became of the exported model.

    Attributes:
        compile_seconds: from the ONNX file to an artifact on disk.
        image_seconds: median of one image, one thread.
        error: of the artifact's scores against the trainer's, relative to the largest.
        peer_error: of the artifact's scores against onnxruntime's; ``None`` if not installed.
    """

    compile_seconds: float
    image_seconds: float
    error: float
    peer_error: float | None

    @property
    def agrees(self) -> bool:
        """Whether all compute the same."""
        return max(self.error, self.peer_error or 0.0) < 1e-4


@click.command("demo", cls=Command)
@click.option(
    "--epochs", type=click.IntRange(min=1), default=6, show_default=True,
    help="How often the network sees every image.",
)  # fmt: skip
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, file_okay=False), default=Path("build/demo"),
    show_default=True, help="Folder for the model, the artifact and the report.",
)  # fmt: skip
@click.option("--slice", "on_slice", is_flag=True, help="Run untrained networks on a CT slice.")
def command(epochs: int, output: Path, on_slice: bool) -> Output:
    """Train a small ResNet on chest X-rays, export it, compile it, run it, and report.

    The images (2,428 to learn from, 270 to check with) come with ranvier. Ends with exit code
    1 if the exported model does not compute what the trained one does.
    """
    if on_slice:
        from .demo_slice import run

        return run()
    from ..training.kpis import Kpis

    with Kpis() as kpis:
        learning, checking = _data()
        trainer = _trainer(epochs * len(learning))
        _fit(trainer, learning, checking, epochs, kpis)
        figures = trainer.evaluate(checking)
        output.mkdir(parents=True, exist_ok=True)
        model = output / "pneumonia.onnx"
        trainer.export(model)
        deployed = _deploy(trainer, model, output / "pneumonia.ranvier", checking)
        kpis.exported()
    data = {
        "epochs": [row.figures for row in trainer.history.epochs],
        "validation": figures,
        "deployed": asdict(deployed),
        "kpis": kpis.result().to_json(),
        "model": str(model),
        "report": str(_report(trainer, kpis.result(), checking, output / "report.html")),
    }
    return Output(
        data,
        lambda console: _render(console, data, kpis.result()),
        0 if deployed.agrees else 1,
    )


def _data() -> tuple[DataLoader, DataLoader]:
    from ..training.data import DataLoader
    from ..training.data.samples import pneumonia

    learning, checking = pneumonia()
    train = DataLoader(learning, _BATCH, shuffle=True, seed=_SEED, drop_last=True)
    return train, DataLoader(checking, len(checking))


def _trainer(steps: int) -> Trainer:
    """Return a ResNet of eight layers with all that its training takes."""
    from ..frontend import zoo
    from ..frontend.builder import augmentation
    from ..training import losses, metrics, optimizers, schedules
    from ..training.trainer import Options, Trainer

    return Trainer(
        lambda samples: zoo.network("resnet8", batch=samples, size=28, channels=1, classes=2),
        losses.CrossEntropy(label_smoothing=_SMOOTHING),
        optimizers.AdamW(_RATE, weight_decay=_DECAY),
        metrics={"accuracy": metrics.Accuracy(), "auc": metrics.AUC()},
        schedule=schedules.OneCycle(steps),
        augmentation=augmentation.affine(
            rotation=(-8, 8), scale=(0.95, 1.05), translation=(-0.05, 0.05)
        ),
        options=Options(seed=_SEED),
    )


def _fit(
    trainer: Trainer, learning: DataLoader, checking: DataLoader, epochs: int, kpis: Any
) -> None:
    from ..training.callbacks import OnEpochEnd
    from ..training.progress import Progress
    from .command import console

    stream = console(stderr=True)

    def say(run: Any, epoch: int, figures: Mapping[str, float]) -> None:
        shown = ("loss", "val_loss", "val_accuracy", "val_auc")
        numbers = "  ".join(f"{k} {figures[k]:.4f}" for k in shown)
        stream.print(f"epoch {epoch + 1} of {epochs}: {numbers}  ({figures['seconds']:.1f} s)")

    if not quiet():
        stream.print("compiling the network and its gradients (once; kept in the kernel cache)")
    callbacks = [] if quiet() else [Progress(), OnEpochEnd(say)]
    trainer.fit(learning, epochs, validation=checking, callbacks=callbacks, kpis=kpis)


def _deploy(trainer: Trainer, model: Path, artifact: Path, checking: DataLoader) -> Deployed:
    """Compile the exported model, run it from disk, and compare."""
    from ..compiler import compile as compile_model
    from ..runtime.session import Session

    (fields,) = checking.epoch(0)
    images = [fields["image"][k : k + 1] for k in range(len(fields["image"]))]
    started = time.perf_counter()
    compile_model(model).save(artifact)
    seconds = time.perf_counter() - started
    session = Session(artifact, threads=1)
    scores = [session.run(None, {"image": image})[0] for image in images]
    times = []
    for image in images[:_RUNS]:
        begun = time.perf_counter()
        session.run(None, {"image": image})
        times.append(time.perf_counter() - begun)
    expected = trainer.predict({"image": fields["image"]})["scores"]
    peer = _peer(model, images[:_RUNS])
    return Deployed(
        seconds,
        statistics.median(times),
        _error(scores, list(expected[:, None])),
        None if peer is None else _error(scores[:_RUNS], peer),
    )


def _peer(model: Path, images: list[Array]) -> list[Array] | None:
    try:
        import onnxruntime
    except ImportError:
        return None
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    return [session.run(None, {"image": image})[0] for image in images]


def _error(found: list[Array], expected: list[Array]) -> float:
    import numpy as np

    a, b = np.concatenate(found), np.concatenate(expected)
    return float(np.abs(a - b).max() / np.abs(b).max())


def _report(trainer: Trainer, kpis: KeyFigures, checking: DataLoader, path: Path) -> Path:
    from ..training.data.samples import CLASSES
    from ..training.metrics import ConfusionMatrix
    from ..training.report import Confusion, TrainingReport, write_report

    (fields,) = checking.epoch(0)
    counted = ConfusionMatrix()
    counted.update(trainer.predict({"image": fields["image"]})["scores"], fields["label"])
    report = TrainingReport(
        "Pneumonia on chest X-rays",
        trainer.history,
        {
            "model": trainer.model.name,
            "parameters": sum(a.size for a in trainer.parameters().values()),
            "optimizer": repr(trainer.optimizer),
            "loss": repr(trainer.task.loss),
            "batch": _BATCH,
            "seed": _SEED,
            "images to learn from": 2428,
            "images to check with": len(fields["label"]),
        },
        kpis,
        Confusion(CLASSES, counted.result().tolist()),
    )
    return write_report(report, path)[0]


def _render(console: Console, data: Mapping[str, Any], kpis: KeyFigures) -> None:
    from .tables import duration, table

    found, deployed = data["validation"], Deployed(**data["deployed"])
    rows = [
        (k + 1, f"{r['loss']:.4f}", f"{r['val_loss']:.4f}", f"{r['val_accuracy']:.4f}",
         f"{r['val_auc']:.4f}", f"{r['seconds']:.1f} s")
        for k, r in enumerate(data["epochs"])
    ]  # fmt: skip
    columns = ("epoch", ">loss", ">validation", ">accuracy", ">AUC", ">time")
    console.print(table("Learning to tell pneumonia, 2,428 chest X-rays", columns, rows))
    console.print(
        f"270 X-rays that it has not seen: accuracy {found['accuracy']:.3f}, AUC "
        f"{found['auc']:.3f}.\n"
        f"Exported to {data['model']}, compiled in {duration(deployed.compile_seconds)}, "
        f"{duration(deployed.image_seconds)} an image on one thread.\n"
        f"The deployed model {'agrees with' if deployed.agrees else 'DIFFERS from'} the trained "
        f"one (error {deployed.error:.1e}"
        + ("" if deployed.peer_error is None else f"; onnxruntime: {deployed.peer_error:.1e}")
        + ").\n"
        f"Time of training {duration(kpis.totm)}, waiting for data {duration(kpis.toppi)}, to a "
        f"model in production {duration(kpis.ttmip or kpis.seconds)}. Report: {data['report']}"
    )
