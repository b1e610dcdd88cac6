# SPDX-License-Identifier: MIT
"""Line charts as SVG text, to stand inside a page."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TypeAlias

Curve: TypeAlias = "tuple[Sequence[float], Sequence[float]]"
"""Places along the axis, and values there; NaN and infinities interrupt the line."""

PALETTE = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#56b4e9", "#999999")
"""Colours that colour-blind people tell apart (Okabe and Ito, 2008)."""

_WIDTH, _HEIGHT = 640, 280
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 28, 40
_POINTS = 1000
"""Points of a line above which only the least and the most of each stretch are drawn."""


@dataclass(frozen=True)
class _Axis:
    """Maps values from ``low`` to ``high`` to pixels; by their logarithms if asked to."""

    low: float
    high: float
    begin: float
    end: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        low, high, place = (self._scaled(x) for x in (self.low, self.high, value))
        return self.begin + (place - low) / (high - low) * (self.end - self.begin)

    def _scaled(self, value: float) -> float:
        return math.log10(value) if self.logarithmic else value

    def ticks(self) -> list[float]:
        if self.logarithmic:
            powers = range(math.ceil(math.log10(self.low)), math.floor(math.log10(self.high)) + 1)
            step = max(1, len(powers) // 5)
            if len(powers) > 1:
                return [10.0**power for power in powers[::step]]
        return ticks(self.low, self.high)


def line_chart(
    title: str, curves: Mapping[str, Curve], *, across: str, logarithmic: bool = False
) -> str:
    """Return a chart of curves over a common axis as an SVG element; each line says its name.

    Args:
        title: what the values are.
        curves: by name; those without any finite value are in the legend alone.
        across: what the axis is, such as ``epoch``.
        logarithmic: scale values by their logarithms where all are positive.
    """
    finite = {name: list(_finite(curve)) for name, curve in curves.items()}
    points = [point for line in finite.values() for point in line]
    ys = [y for _, y in points]
    x = _Axis(*_limits([x for x, _ in points]), _LEFT, _WIDTH - _RIGHT)
    logarithmic = logarithmic and bool(ys) and min(ys) > 0 and max(ys) > 10 * min(ys)
    limits = (min(ys), max(ys)) if logarithmic else _limits(ys)
    y = _Axis(*limits, _HEIGHT - _BOTTOM, _TOP, logarithmic)
    parts = [
        f'<text x="{_LEFT}" y="16" class="title">{xml_text(title)}</text>',
        *_grid(x, y, across),
        *(_line(name, k, curve, x, y) for k, (name, curve) in enumerate(curves.items())),
        *_legend(list(curves)),
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{xml_text(title)}" width="{_WIDTH}">{"".join(parts)}</svg>'
    )


def xml_text(text: str) -> str:
    r"""Return text for an XML or HTML page: marks escaped, what XML cannot hold replaced.

    >>> xml_text("a < b & \x00")
    'a &lt; b &amp; �'
    """
    return escape(re.sub(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", text))


def ticks(low: float, high: float) -> list[float]:
    """Return some round numbers between two.

    >>> ticks(0.0, 1.0)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    digits = max(0, 1 - math.floor(math.log10(step)))
    return [round(k * step, digits) + 0.0 for k in range(first, last + 1)]


def _limits(values: Sequence[float]) -> tuple[float, float]:
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if high - low > 1e-9 * max(abs(low), abs(high)):
        return low, high
    margin = abs(low) * 0.1 or 0.5
    return low - margin, low + margin


def _finite(curve: Curve) -> Iterator[tuple[float, float]]:
    return ((x, y) for x, y in zip(*curve, strict=True) if math.isfinite(x) and math.isfinite(y))


def _grid(x: _Axis, y: _Axis, across: str) -> Iterator[str]:
    for tick in y.ticks():
        place = f"{y(tick):.1f}"
        yield f'<path d="M{_LEFT} {place}H{_WIDTH - _RIGHT}" class="grid"/>'
        yield f'<text x="{_LEFT - 6}" y="{place}" dy="4" text-anchor="end">{tick:.4g}</text>'
    below = _HEIGHT - _BOTTOM
    for tick in x.ticks():
        place = f"{x(tick):.1f}"
        yield f'<path d="M{place} {below}v4" class="axis"/>'
        yield f'<text x="{place}" y="{below + 17}" text-anchor="middle">{tick:g}</text>'
    yield f'<path d="M{_LEFT} {_TOP}V{below}H{_WIDTH - _RIGHT}" class="axis"/>'
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    yield f'<text x="{middle}" y="{_HEIGHT - 6}" text-anchor="middle">{xml_text(across)}</text>'


def _line(name: str, number: int, curve: Curve, x: _Axis, y: _Axis) -> str:
    colour, dash = _look(number)
    path = "".join(_pieces(_thinned(curve), x, y))
    shape = f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.8"{dash}>'
    return f"{shape}<title>{xml_text(name)}</title></path>"


def _pieces(curve: Curve, x: _Axis, y: _Axis) -> Iterator[str]:
    """Yield moves and lines; a point that stands alone gets a line of no length, seen as a dot."""
    pen_down = False
    points = list(zip(*curve, strict=True))
    for k, (a, b) in enumerate(points):
        finite = math.isfinite(a) and math.isfinite(b)
        if finite:
            yield f"{'L' if pen_down else 'M'}{x(a):.1f} {y(b):.1f}"
            if not pen_down and (k + 1 == len(points) or not math.isfinite(points[k + 1][1])):
                yield "h.1"
        pen_down = finite


def _thinned(curve: Curve) -> Curve:
    """Return a curve of few points that looks the same: peaks and NaN are still there."""
    xs, ys = curve
    if len(xs) <= _POINTS:
        return curve
    size = -(-len(xs) * 2 // _POINTS)
    kept: list[int] = []
    for start in range(0, len(xs), size):
        part = range(start, min(start + size, len(xs)))
        lost = [k for k in part if not math.isfinite(ys[k])][:1]
        here = [k for k in part if math.isfinite(ys[k])]
        extremes = {min(here, key=ys.__getitem__), max(here, key=ys.__getitem__)} if here else set()
        kept += sorted({*extremes, *lost})
    return [xs[k] for k in kept], [ys[k] for k in kept]


def _legend(names: Sequence[str]) -> Iterator[str]:
    place = float(_WIDTH - _RIGHT)
    for number, name in reversed(list(enumerate(names))):
        colour, dash = _look(number)
        place -= 7.0 * len(name)
        yield f'<text x="{place:.0f}" y="16">{xml_text(name)}</text>'
        yield (
            f'<path d="M{place - 26:.0f} 12h20" stroke="{colour}" stroke-width="1.8" '
            f'fill="none"{dash}/>'
        )
        place -= 40


def _look(number: int) -> tuple[str, str]:
    """Return colour and dashes of a line; lines beyond the colours' number are dashed."""
    dash = ' stroke-dasharray="6 3"' if number // len(PALETTE) % 2 else ""
    return PALETTE[number % len(PALETTE)], f' stroke-linecap="round"{dash}'
