# SPDX-License-Identifier: MIT
"""A report as one page that needs nothing else: tables and plots inside."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any

from ranvier.cli.tables import count, duration, size
from ranvier.runtime.atomic import atomic_file

from . import plots
from .engines import OWN
from .results import CaseResult, Report, Roofline
from .tables import COLUMNS, LEARNING_COLUMNS, comparison_row, learning_row

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62em; margin: 2em auto; padding: 0 1em; }
table { border-collapse: collapse; margin: .5em 0 1.5em; }
caption { text-align: left; font-weight: 600; padding: .3em 0; }
th, td { padding: .15em .7em; border-bottom: 1px solid #ddd; text-align: right; }
th:first-child, td:first-child, td:last-child { text-align: left; }
tr.own td { font-weight: 600; }
svg { max-width: 100%; height: auto; display: block; margin: 1em 0; }
p.small { color: #555; font-size: 90%; }
"""
_SLOWEST = 12


def write(report: Report, path: Path) -> None:
    """Write the page of a report to a file, whole or not at all."""
    with atomic_file(path) as file:
        file.write(page(report).encode())


def page(report: Report) -> str:
    """Return the page: HTML that is also well-formed XML."""
    body = "\n".join(_body(report))
    return (
        "<!DOCTYPE html>\n"
        '<html xmlns="http://www.w3.org/1999/xhtml" lang="en"><head><meta charset="utf-8"/>'
        f"<title>ranvier benchmarks</title><style>{_STYLE}</style></head>\n"
        f"<body>\n{body}\n</body></html>\n"
    )


def _body(report: Report) -> Iterator[str]:
    yield "<h1>ranvier side by side</h1>"
    yield _paragraph(f"Measured {report.made}. How, and how to read it: benchmarks/README.md.")
    yield from _left_out(report)
    yield from _comparisons(report)
    yield from _training(report)
    yield from _learning(report)
    yield from _overhead(report)
    yield from _startup(report)
    yield from _memory(report)
    yield from _rooflines(report)
    yield from _machine(report)


def _left_out(report: Report) -> Iterator[str]:
    if report.left_out:
        items = "".join(f"<li>{escape(text)}</li>" for text in report.left_out)
        yield f"<h2>Left out</h2><ul>{items}</ul>"


def _comparisons(report: Report) -> Iterator[str]:
    for threads in sorted({result.threads for result in report.comparisons}):
        results = [r for r in report.comparisons if r.threads == threads]
        yield f"<h2>Speed, {_threads(threads)}</h2>"
        if any(r.best_peer(OWN) for r in results):
            yield plots.speedup_bars(results, f"speedup-{threads}")
        yield from map(_case, results)


def _training(report: Report) -> Iterator[str]:
    if report.training:
        yield "<h2>Steps of training</h2>"
        yield _paragraph(
            "Forward, backward and SGD with momentum, the batch in memory; the losses of the "
            "first steps from equal weights are compared before."
        )
    for threads in sorted({result.threads for result in report.training}):
        results = [r for r in report.training if r.threads == threads]
        if any(r.best_peer(OWN) for r in results):
            yield plots.speedup_bars(results, f"training-{threads}")
        yield from map(_case, results)


def _learning(report: Report) -> Iterator[str]:
    if report.learning:
        yield "<h2>Learning</h2>"
        rows = [learning_row(result) for result in report.learning]
        yield table("Means and standard deviations over seeds", LEARNING_COLUMNS, rows)


def _case(result: CaseResult) -> str:
    load = " to ".join(f"{x:.1f}" for x in result.load)
    cores = ", ".join(map(str, result.cores))
    caption = (
        f"{result.case}, {_threads(result.threads)}; cores {cores}; load {load}; "
        f"reference: {result.reference or 'none'}"
    )
    rows = [comparison_row(engine, result) for engine in result.engines]
    return table(caption, COLUMNS, rows)


def _overhead(report: Report) -> Iterator[str]:
    if report.overhead:
        yield "<h2>Overhead of a call</h2>"
        yield from map(_case, report.overhead)


def _startup(report: Report) -> Iterator[str]:
    if not report.startup:
        return
    yield "<h2>Compiling and loading</h2>"
    yield plots.startup_bars(report.startup)
    rows = [
        (s.case, s.engine, *map(_seconds, (s.load, s.prepare, s.first_run)), s.note)
        for s in report.startup
    ]
    columns = ("model", "engine", "imports", "compile or load", "first run", "")
    yield table("Seconds in a new process", columns, rows)


def _memory(report: Report) -> Iterator[str]:
    if not report.memory:
        return
    yield "<h2>Memory</h2>"
    yield plots.memory_bars(report.memory)
    rows = [
        (m.case, m.engine, *map(_bytes, (m.held, m.prepare_peak, m.run_peak, m.arena)), m.note)
        for m in report.memory
    ]
    columns = ("model", "engine", "held", "peak of preparing", "peak of runs", "arena", "")
    yield table("Resident memory on top of the imports", columns, rows)


def _rooflines(report: Report) -> Iterator[str]:
    if report.peaks is None:
        return
    yield "<h2>Kernels against one core's limits</h2>"
    read = ", ".join(f"{level} {count(rate, 'B/s')}" for level, rate in report.peaks.read.items())
    yield _paragraph(
        f"Multiply-adds: {count(report.peaks.flops, 'FLOP/s')}. Reading: {read}. Reading and "
        f"writing memory: {count(report.peaks.scale, 'B/s')}. Areas are shares of the time. "
        "Operations are those of the direct algorithm: one that needs fewer may lie above the line."
    )
    for roofline in report.rooflines:
        if roofline.steps:
            yield plots.roofline_plot(roofline, report.peaks)
            yield _slowest(roofline, report.peaks.flops)


def _slowest(roofline: Roofline, peak: float) -> str:
    total = sum(step.seconds for step in roofline.steps)
    slowest = sorted(roofline.steps, key=lambda step: -step.seconds)[:_SLOWEST]
    rows = [
        (
            step.label,
            duration(step.seconds),
            f"{step.seconds / total:.1%}",
            f"{step.flops / step.seconds / 1e9:.1f}",
            f"{step.flops / step.seconds / peak:.0%}",
            f"{step.bytes / step.seconds / 1e9:.1f}",
        )
        for step in slowest
        if step.seconds
    ]
    columns = ("step", "time", "share", "GFLOP/s", "of peak", "GB/s")
    return table(f"{roofline.case}: the slowest steps of {duration(total)}", columns, rows)


def _machine(report: Report) -> Iterator[str]:
    yield "<h2>Machine</h2>"
    rows = []
    for key, value in report.machine.items():
        if isinstance(value, dict):
            value = ", ".join(f"{name} {item}" for name, item in value.items())
        elif isinstance(value, list | tuple):
            value = " ".join(map(str, value))
        rows.append((key, value))
    yield table("", ("", ""), rows)


def table(caption: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return an HTML table; rows of ranvier stand out."""
    head = "".join(f"<th>{escape(column.lstrip('>'))}</th>" for column in columns)
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f"<table>{title}<tr>{head}</tr>{''.join(map(_row, rows))}</table>"


def _row(row: Sequence[Any]) -> str:
    own = any(str(cell).startswith(OWN) for cell in row[:2])
    cells = "".join(f"<td>{escape(str(cell))}</td>" for cell in row)
    return f'<tr class="own">{cells}</tr>' if own else f"<tr>{cells}</tr>"


def _paragraph(text: str) -> str:
    return f'<p class="small">{escape(text)}</p>'


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


def _seconds(seconds: float) -> str:
    return duration(seconds) if seconds else "–"


def _bytes(number: int | None) -> str:
    return "–" if number is None else size(number)
