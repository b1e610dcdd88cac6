# SPDX-License-Identifier: MIT
"""Reports of a run: one page that needs nothing else, and the same figures as JSON."""

from __future__ import annotations

import importlib.metadata
import json
import math
import os
import platform
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from ..errors import TrainingError
from ..runtime.atomic import atomic_file
from ..runtime.machine import cpu_model, this_arch, usable_cores
from .charts import Curve, line_chart, xml_text
from .figures import VALIDATION, to_json
from .history import History
from .kpis import KeyFigures

if TYPE_CHECKING:
    from .trainer import Trainer

_PACKAGES = ("ranvier", "numpy", "apache-tvm", "onnx")
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62em; margin: 2em auto; padding: 0 1em; }
table { border-collapse: collapse; margin: .5em 0 1.5em; }
th, td { padding: .15em .7em; border-bottom: 1px solid #ddd; text-align: right; }
th:first-child, td:first-child { text-align: left; }
table.pairs td { text-align: left; }
svg { max-width: 100%; height: auto; display: block; margin: 1em 0; font-size: 12px; }
svg .title { font-weight: 600; } svg .grid { stroke: #ddd; } svg .axis { stroke: #333; fill: none; }
p.small { color: #555; font-size: 90%; }
"""
_ABSOLUTE = re.compile(r"(/|~|[A-Za-z]:[\\/])")


@dataclass(frozen=True)
class Confusion:
    """How often samples of each class were taken for each class.

    Attributes:
        labels: names of the classes.
        counts: row by row: true class, column by column: predicted class.
    """

    labels: Sequence[str]
    counts: Sequence[Sequence[int]]

    def __post_init__(self) -> None:
        size = len(self.labels)
        if [len(row) for row in self.counts] != [size] * size:
            raise TrainingError(
                f"confusion of {size} labels: expected {size} rows of {size} counts, found rows "
                f"of {[len(row) for row in self.counts]}"
            )


@dataclass(frozen=True)
class TrainingReport:
    """What a report tells. It has no place for samples, and of paths it keeps the last part.

    Attributes:
        title: the headline.
        history: figures of epochs and steps.
        configuration: model, optimizer, seed, sizes of data and the like, by name: JSON types.
        kpis: of the whole run.
        confusion: of the validation data.
        roc: by class, false positive rates and true positive rates.
        stopped: why the run ended, if early.
        machine: what it ran on; this machine by default.
    """

    title: str
    history: History
    configuration: Mapping[str, Any] = field(default_factory=dict)
    kpis: KeyFigures | None = None
    confusion: Confusion | None = None
    roc: Mapping[str, Curve] = field(default_factory=dict)
    stopped: str = ""
    machine: Mapping[str, Any] = field(default_factory=lambda: describe_machine())

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON types; NaN and infinities are words."""
        confusion = self.confusion and {
            "labels": list(self.confusion.labels),
            "counts": [[int(count) for count in row] for row in self.confusion.counts],
        }
        return {
            "title": self.title,
            "stopped": self.stopped,
            "configuration": _public(dict(self.configuration)),
            "history": self.history.to_json(),
            "kpis": self.kpis and _public(self.kpis.to_json()),
            "confusion": confusion,
            "roc": {name: [list(map(to_json, part)) for part in c] for name, c in self.roc.items()},
            "machine": _public(dict(self.machine)),
        }


def write_report(report: TrainingReport, path: str | Path) -> tuple[Path, Path]:
    """Write a report as ``path`` with the endings ``.html`` and ``.json``, and return both.

    Raises:
        TrainingError: they cannot be written.
    """
    texts = {".html": page(report), ".json": json.dumps(report.to_json(), allow_nan=False)}
    paths = []
    for suffix, text in texts.items():
        paths.append(Path(path).with_suffix(suffix))
        try:
            paths[-1].parent.mkdir(parents=True, exist_ok=True)
            with atomic_file(paths[-1]) as file:
                file.write(text.encode())
        except OSError as error:
            raise TrainingError(f"{paths[-1]}: cannot write the report ({error})") from error
    return paths[0], paths[1]


def page(report: TrainingReport) -> str:
    """Return the page: HTML that is also well-formed XML, without scripts or other files."""
    title = xml_text(report.title)
    return (
        "<!DOCTYPE html>\n"
        '<html xmlns="http://www.w3.org/1999/xhtml" lang="en"><head><meta charset="utf-8"/>'
        f"<title>{title}</title><style>{_STYLE}</style></head>\n"
        f"<body>\n<h1>{title}</h1>\n{chr(10).join(_body(report))}\n</body></html>\n"
    )


def configuration_of(trainer: Trainer) -> dict[str, Any]:
    """Return what a report says of a trainer; sizes of data are the caller's to add."""
    options, loss = trainer.options, trainer.task.loss
    return {
        "model": trainer.model.name,
        "parameters": sum(array.size for array in trainer.parameters().values()),
        "parameters that are trained": sum(
            trainer.updater.parameters[name].size for name in trainer.task.learned
        ),
        "loss": _described(loss),
        "optimizer": _described(trainer.optimizer),
        "schedule": "none" if trainer.schedule is None else _described(trainer.schedule),
        "metrics": list(trainer.metrics),
        "options": {f.name: _described(getattr(options, f.name)) for f in fields(options)},
    }


def describe_machine() -> dict[str, Any]:
    """Return what this machine is, without anything that names it."""
    return {
        "processor": cpu_model() or this_arch(),
        "architecture": this_arch(),
        "cores": usable_cores(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "python": platform.python_version(),
        **{name: version for name in _PACKAGES if (version := _version(name))},
    }


def _described(value: object) -> str:
    """Return a value with its settings; without an address, where it has none to tell."""
    if is_dataclass(value) or isinstance(value, str | int | float | tuple) or value is None:
        return str(value)
    return getattr(value, "__name__", type(value).__name__)


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _body(report: TrainingReport) -> Iterator[str]:
    if report.stopped:
        yield f"<p>Stopped early: {xml_text(report.stopped)}.</p>"
    yield from _curves(report.history)
    yield from _epochs(report.history)
    yield from _confusion(report.confusion)
    if report.roc:
        chance = {"chance": ([0.0, 1.0], [0.0, 1.0])}
        chart = line_chart(
            "true positive rate", {**report.roc, **chance}, across="false positive rate"
        )
        yield f"<h2>Receiver operating characteristic</h2>{chart}"
    if report.kpis is not None:
        yield from _key_figures(report.kpis)
    yield "<h2>Configuration</h2>"
    yield _pairs(_public(dict(report.configuration)).items())
    yield "<h2>Machine</h2>"
    yield _pairs(_public(dict(report.machine)).items())


def _curves(history: History) -> Iterator[str]:
    """Yield a chart per figure; training and validation share theirs."""
    yield "<h2>Curves</h2>"
    names = dict.fromkeys(name.removeprefix(VALIDATION) for name in history.names())
    for name in names:
        pair = {"training": name, "validation": VALIDATION + name}
        curves = {kind: history.series(full) for kind, full in pair.items()}
        yield _chart(name, {kind: curve for kind, curve in curves.items() if curve[0]}, "epoch")
    for name in history.names("steps"):
        if name == "samples":  # all steps but the last of an epoch have the same
            continue
        yield _chart(f"{name} of steps", {"training": history.series(name, "steps")}, "step")


def _chart(title: str, curves: Mapping[str, Curve], across: str) -> str:
    return line_chart(title, curves, across=across, logarithmic="loss" in title)


def _epochs(history: History) -> Iterator[str]:
    names = history.names()
    if not names:
        yield '<p class="small">No epoch has been finished.</p>'
        return
    rows = [
        (row.epoch, row.step, *(_number(row.figures[n]) if n in row.figures else "" for n in names))
        for row in history.epochs
    ]
    yield "<h2>Epochs</h2>"
    yield _table(("epoch", "step", *names), rows)


def _confusion(confusion: Confusion | None) -> Iterator[str]:
    if confusion is None:
        return
    yield "<h2>Confusion</h2>"
    head = "".join(f"<th>{xml_text(label)}</th>" for label in confusion.labels)
    rows = []
    for label, counts in zip(confusion.labels, confusion.counts, strict=True):
        total = sum(counts)
        cells = "".join(_shaded(count, total) for count in counts)
        rows.append(f"<tr><th>{xml_text(label)}</th>{cells}</tr>")
    yield f"<table><tr><th>true class, predicted as</th>{head}</tr>{''.join(rows)}</table>"


def _shaded(count: int, total: int) -> str:
    share = count / total if total else 0.0
    style = f"background:rgba(0,114,178,{share * 0.6:.3f})"
    return f'<td style="{style}" title="{share:.1%} of the true class">{count}</td>'


def _key_figures(kpis: KeyFigures) -> Iterator[str]:
    def shown(name: str, value: float | None, unit: str) -> str:
        if value is None:
            return f"not readable: {kpis.missing.get(name, 'no reason given')}"
        return f"{_number(value)} {unit}".rstrip()

    yield "<h2>Key figures</h2>"
    yield _pairs(
        [
            ("time of training (totm)", shown("totm", kpis.totm, "s")),
            ("time of preprocessing (toppi)", shown("toppi", kpis.toppi, "s")),
            ("time to model in production (ttmip)", shown("ttmip", kpis.ttmip, "s")),
            ("whole time", shown("seconds", kpis.seconds, "s")),
            ("processor time", shown("cpu_seconds", kpis.cpu_seconds, "s")),
            ("samples", str(kpis.samples)),
            ("samples a second", shown("samples_per_second", kpis.samples_per_second, "")),
            ("peak memory", shown("peak_memory", kpis.peak_memory, "bytes")),
            *((f"energy, {name}", f"{_number(j)} J") for name, j in kpis.energy.items()),
            *(
                (f"energy, {name}", f"not readable: {why}")
                for name, why in kpis.missing.items()
                if name not in vars(kpis)
            ),
        ]
    )


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    head = "".join(f"<th>{xml_text(column)}</th>" for column in columns)
    return f"<table><tr>{head}</tr>{''.join(map(_row, rows))}</table>"


def _pairs(pairs: Any) -> str:
    return f'<table class="pairs">{"".join(map(_row, pairs))}</table>'


def _row(cells: Sequence[Any]) -> str:
    return f"<tr>{''.join(f'<td>{xml_text(_plain(cell))}</td>' for cell in cells)}</tr>"


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_plain(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return " ".join(map(_plain, value))
    return str(value)


def _number(value: float) -> str:
    """Return a number with as many digits as tell it from others, not more than six."""
    if math.isfinite(value) and float(value).is_integer() and abs(value) < 1e15:
        return str(int(value))
    return f"{value:.6g}"


def _public(value: Any) -> Any:
    """Return JSON types; of a path only its last part, which says less about whose data it is.

    Raises:
        TrainingError: something has no place in JSON.
    """
    if isinstance(value, Mapping):
        return {str(name): _public(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_public(item) for item in value]
    if isinstance(value, PurePath):
        return value.name
    if isinstance(value, str):
        return re.split(r"[\\/]", value.rstrip("\\/"))[-1] if _ABSOLUTE.match(value) else value
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return to_json(value)
    raise TrainingError(
        f"report: {value!r:.80} has no place in it; expected numbers, texts, and lists and "
        f"mappings of them"
    )
