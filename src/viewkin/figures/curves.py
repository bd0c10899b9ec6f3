"""Logged numbers as small inline-SVG line charts."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT = 360.0, 190.0
LEFT, RIGHT, TOP, BOTTOM = 46.0, 12.0, 10.0, 26.0
"""Margins of the plot in the SVG's own units: room for the tick labels."""
POINTS = 400
"""Most points of a curve; a longer one keeps the first, smallest, largest and last of each stretch."""


NOISY = 100
"""Points from which a curve is drawn faint under its running mean, so that noise does not hide the trend."""
CLOCKS = ("step", "epoch", "round")
"""Entries that say where a row stands, not what was measured there."""


def series_of(history: Sequence[Mapping[str, object]]) -> dict[str, list[tuple[float, float]]]:
    """Collect every numeric series as (step, value) points, in order of first appearance.

    A row without ``step`` counts as the row's own place; a series need not be in every row.
    """
    series: dict[str, list[tuple[float, float]]] = {}
    for place, row in enumerate(history):
        step = row.get("step", place)
        at = float(step) if isinstance(step, (int, float)) else float(place)
        for name, value in row.items():
            if name not in CLOCKS and isinstance(value, (int, float)) and not isinstance(value, bool):
                series.setdefault(name, []).append((at, float(value)))
    return series


def curve_card(name: str, points: Sequence[tuple[float, float]]) -> str:
    """Draw one series: its name, its last value, and the curve with axis ticks, as an HTML ``figure``.

    Values that are not finite break the curve and are counted under it.
    """
    finite = [(x, y) for x, y in points if math.isfinite(y)]
    last = format_value(points[-1][1]) if points else "-"
    lost = len(points) - len(finite)
    note = f'<p class="lost">{lost} of {len(points)} values are not finite numbers</p>' if lost else ""
    return (
        f'<figure class="card"><figcaption><span>{escape(name)}</span><b>{last}</b></figcaption>'
        f"{_plot(name, points, finite) if finite else ''}{note}</figure>"
    )


def format_value(value: float) -> str:
    """Write a number in at most four significant digits: 0.0314, 12,300, 1e-05."""
    if not math.isfinite(value):
        return str(value)
    if value == 0 or 1e-4 <= abs(value) < 1e6:
        digits = 4 if value == 0 else max(3 - math.floor(math.log10(abs(value))), 0)
        text = f"{value:,.{digits}f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def ticks(low: float, high: float, count: int) -> list[float]:
    """Round positions inside [low, high], about ``count``, their distance 1, 2 or 5 times a power of ten."""
    if high <= low:
        return [low]
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= 0.7 * rough)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(place * step, 12 - math.floor(math.log10(step))) for place in range(first, last + 1)]


def _plot(name: str, points: Sequence[tuple[float, float]], finite: Sequence[tuple[float, float]]) -> str:
    """The SVG of one curve."""
    x_low, x_high = _range([x for x, _ in finite], 0.0)
    y_low, y_high = _range([y for _, y in finite], 0.06)

    def place(x: float, y: float) -> tuple[float, float]:
        across = LEFT + (x - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT)
        return across, HEIGHT - BOTTOM - (y - y_low) / (y_high - y_low) * (HEIGHT - TOP - BOTTOM)

    parts = [_grid_line(place(x_low, y)[1], format_value(y)) for y in ticks(y_low, y_high, 5)]
    for x in ticks(x_low, x_high, 4):
        across = place(x, y_low)[0]
        anchor = "end" if across > WIDTH - RIGHT - 14 else "middle"
        parts.append(f'<text x="{across:.1f}" y="{HEIGHT - 8:.0f}" text-anchor="{anchor}">{_short(x)}</text>')
    for run in _runs(points):
        for kind, line in (("raw", run), ("line", _trend(run))) if len(run) >= NOISY else (("line", run),):
            corners = " ".join(f"{across:.1f},{down:.1f}" for across, down in (place(x, y) for x, y in _thin(line)))
            parts.append(f'<polyline class="{kind}" points="{corners}"/>')
    across, down = place(*finite[-1])
    parts.append(f'<circle class="dot" cx="{across:.1f}" cy="{down:.1f}" r="3.5"/>')
    span = f"{format_value(finite[0][1])} at step {_short(finite[0][0])} to {format_value(finite[-1][1])}"
    title = f"<title>{escape(name)}: {span} at step {_short(finite[-1][0])}</title>"
    return f'<svg viewBox="0 0 {WIDTH:.0f} {HEIGHT:.0f}" role="img">{title}{"".join(parts)}</svg>'


def _grid_line(down: float, label: str) -> str:
    """A horizontal line of the grid with its label."""
    return (
        f'<line class="grid" x1="{LEFT:.0f}" x2="{WIDTH - RIGHT:.0f}" y1="{down:.1f}" y2="{down:.1f}"/>'
        f'<text x="{LEFT - 6:.0f}" y="{down + 4:.1f}" text-anchor="end">{label}</text>'
    )


def _short(x: float) -> str:
    """A step count for an axis: 12k, 1.5M."""
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if abs(x) >= 10 * size or (abs(x) >= size and x % (size / 10) == 0):
            return f"{x / size:g}{unit}"
    return f"{x:g}"


def _range(values: Sequence[float], margin: float) -> tuple[float, float]:
    """Span of an axis with a share of margin; never empty, also for values that hardly differ."""
    low, high = min(values), max(values)
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        half = abs(low) * 0.1 or 1.0
        return low - half, high + half
    return low - margin * (high - low), high + margin * (high - low)


def _runs(points: Sequence[tuple[float, float]]) -> list[list[tuple[float, float]]]:
    """Stretches of finite values between those that are not."""
    runs: list[list[tuple[float, float]]] = [[]]
    for x, y in points:
        if math.isfinite(y):
            runs[-1].append((x, y))
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _trend(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Running mean over a twentieth of the points around each one, fewer at the ends so that these stay in place."""
    sums = list(itertools.accumulate((y for _, y in points), initial=0.0))
    reach, last = len(points) // 40, len(points) - 1
    trend: list[tuple[float, float]] = []
    for place, (x, _) in enumerate(points):
        half = min(reach, place, last - place)
        trend.append((x, (sums[place + half + 1] - sums[place - half]) / (2 * half + 1)))
    return trend


def _thin(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Keep the shape of a long curve in few points, peaks included."""
    if len(points) <= POINTS:
        return list(points)
    stretch = 4 * len(points) / POINTS
    kept: list[tuple[float, float]] = []
    for number in range(POINTS // 4):
        part = points[round(number * stretch) : round((number + 1) * stretch)]
        by_value = sorted(range(len(part)), key=lambda place: part[place][1])
        kept += [part[place] for place in sorted({0, by_value[0], by_value[-1], len(part) - 1})]
    return kept
