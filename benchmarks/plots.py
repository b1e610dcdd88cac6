# SPDX-License-Identifier: MIT
"""Plots as SVG text, to stand inside a page."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from .engines import OWN
from .measure import Summary, speedup
from .registry import ENGINES
from .results import CaseResult, MemoryResult, Peaks, Roofline, StartupResult

_WIDTH = 9.0
_DECADES = 2000.0
"""How far below the peak a roofline plot reaches; what is slower takes next to no time."""

_PALETTE = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#56b4e9", "#999999")
"""Colours that colour-blind people tell apart (Okabe and Ito, 2008)."""

_OWN_SHADES = ("#d55e00", "#f0944d", "#f8c9a3")
_COLOURS = dict(zip((OWN, *(e.name for e in ENGINES if e.name != OWN)), _PALETTE, strict=False))

Bars = Mapping[str, Mapping[str, Summary]]
"""Values by group (case) and by series (engine)."""


def speedup_bars(results: Sequence[CaseResult], name: str = "speedup") -> str:
    """Return each engine's speed-up over the best peer, with quartiles."""
    bars: dict[str, dict[str, Summary]] = {}
    for result in results:
        peer, timed = result.best_peer(OWN), result.timed()
        if peer is not None:
            bars[result.case] = {name: speedup(timed[name], timed[peer]) for name in timed}

    def finish(axes: Any) -> None:
        axes.axvline(1.0, color="black", linewidth=0.8)
        axes.set_xlabel("speed-up over the best peer (more is better)")

    return _bars(name, bars, finish)


def memory_bars(results: Sequence[MemoryResult]) -> str:
    """Return the peak memory of each engine's runs, in MiB."""

    def finish(axes: Any) -> None:
        axes.set_xlabel("resident memory at the peak of runs, without imports, MiB")

    values = [(m.case, m.engine, m.run_peak / 2**20) for m in results if not m.note]
    return _bars("memory", _grouped(values), finish)


def startup_bars(results: Sequence[StartupResult]) -> str:
    """Return the seconds that each engine takes to prepare a model, on a logarithmic axis."""

    def finish(axes: Any) -> None:
        axes.set_xscale("log")
        axes.set_xlabel("seconds to compile, optimise or load, without imports")

    values = [(s.case, s.engine, s.prepare) for s in results if not s.note]
    return _bars("startup", _grouped(values), finish)


def roofline_plot(roofline: Roofline, peaks: Peaks) -> str:
    """Return attained operations per second against arithmetic intensity.

    Every step of the model is a disc whose area is its share of the time. Lines are the
    limits: bandwidths of the levels of memory, and multiply-adds.
    """
    figure, axes = _figure(4.5)
    steps = [s for s in roofline.steps if s.flops and s.bytes and s.seconds]
    intensities = [s.flops / s.bytes for s in steps]
    total = sum(s.seconds for s in roofline.steps) or 1.0
    axes.scatter(
        intensities,
        [s.flops / s.seconds / 1e9 for s in steps],
        s=[max(8.0, 1500.0 * s.seconds / total) for s in steps],
        color=_PALETTE[0],
        alpha=0.5,
        linewidths=0.5,
        edgecolors="black",
    )
    left = min([0.05, *intensities])
    right = max([100.0, *intensities]) * 1.5
    for colour, (level, rate) in zip(_PALETTE[1:], peaks.read.items(), strict=False):
        ridge = min(peaks.flops / rate, right)
        axes.plot(
            [left, ridge],
            [left * rate / 1e9, ridge * rate / 1e9],
            color=colour,
            label=f"{level}: {rate / 1e9:.0f} GB/s",
        )
    axes.axhline(peaks.flops / 1e9, color="black", label=f"peak: {peaks.flops / 1e9:.0f} GFLOP/s")
    limit = peaks.flops / 1e9
    axes.set(xscale="log", yscale="log", xlim=(left, right), title=roofline.case)
    axes.set_ylim(limit / _DECADES, limit * 2)
    axes.set_xlabel("operations per byte of operands and results")
    axes.set_ylabel("GFLOP/s")
    axes.legend(fontsize="small", loc="lower right")
    return svg(figure, f"roofline-{roofline.case}")


def _grouped(values: Sequence[tuple[str, str, float]]) -> Bars:
    found: dict[str, dict[str, Summary]] = {}
    for case, engine, value in values:
        found.setdefault(case, {})[engine] = Summary(value, value, value)
    return found


def _bars(name: str, bars: Bars, finish: Callable[[Any], None]) -> str:
    """Return horizontal bars: a group per case, a colour per engine."""
    colours = _colours(engine for group in bars.values() for engine in group)
    figure, axes = _figure(0.8 + 0.22 * sum(len(group) + 1 for group in bars.values()))
    place, ticks = 0.0, []
    shown: set[str] = set()
    for group in bars.values():
        ticks.append(place + (len(group) - 1) / 2)
        for engine, value in group.items():
            axes.barh(
                place,
                value.median,
                xerr=[[value.median - value.low], [value.high - value.median]],
                color=colours[engine],
                label="" if engine in shown else engine,
                error_kw={"elinewidth": 0.8},
            )
            shown.add(engine)
            place += 1
        place += 1
    axes.set_yticks(ticks, list(bars))
    axes.invert_yaxis()
    finish(axes)
    if shown:
        axes.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return svg(figure, name)


def _colours(engines: Iterable[str]) -> dict[str, str]:
    """Return an engine's colour, the same in every plot; ways to run ranvier are shades of one."""
    names = list(dict.fromkeys(engines))
    own = [name for name in names if name.startswith(OWN)]
    return {name: _COLOURS.get(name, _PALETTE[-1]) for name in names} | dict(
        zip(own, _OWN_SHADES, strict=False)
    )


def _figure(height: float) -> tuple[Any, Any]:
    # Figures of their own: pyplot would keep them and look for a screen.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, max(2.0, height)), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def svg(figure: Any, name: str) -> str:
    """Return a figure as an SVG element whose ids begin with ``name``."""
    import matplotlib as mpl

    text = io.StringIO()
    metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(text, format="svg", metadata=metadata)
    element = text.getvalue()
    element = element[element.index("<svg") :]
    # Several plots share a page, and their ids must not.
    prefix = re.sub(r"[^A-Za-z0-9]+", "-", name)
    element = re.sub(r'\bid="', f'id="{prefix}-', element)
    return re.sub(r'(url\(|href=")#', rf"\1#{prefix}-", element)
