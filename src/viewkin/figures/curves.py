"""Curves of the values that a run logged."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from viewkin.figures.style import COLOURS, UNIT, colour_and_marker, legend, panels, shortened, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CARD = (360.0, 190.0)
PANEL = (400.0, 260.0)
"""Width and height of a curve in a report, and of a panel in a figure of several, units."""
POINTS = 400
"""Maximum number of points of a curve; a longer one keeps the first, smallest, largest and last of each stretch."""
NOISY = 100
"""From so many points on, the curve is drawn faint under its running mean, so that noise does not hide the trend."""
CLOCKS = ("step", "epoch", "round")
"""Entries that tell the position of a row and are not measured values."""
NOT_DRAWN = ("cpu_seconds",)
"""Sums over the steps since the previous row; the number of steps varies, so a curve would mislead."""
Points = Sequence[tuple[float, float]]
"""Step and value."""


def series_of(history: Sequence[Mapping[str, object]]) -> dict[str, list[tuple[float, float]]]:
    """Collect every numeric series as (step, value) points, in order of first appearance.

    The step of a row without ``step`` is the row's number. A series need not be in every row.
    """
    series: dict[str, list[tuple[float, float]]] = {}
    for number, row in enumerate(history):
        step = row.get("step", number)
        at = float(step) if isinstance(step, (int, float)) else float(number)
        for name, value in row.items():
            if name not in CLOCKS and isinstance(value, (int, float)) and not isinstance(value, bool):
                series.setdefault(name, []).append((at, float(value)))
    return series


@styled()
def draw_card(points: Points) -> Figure:
    """Draw one series as a small figure without a title, for the report."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(CARD[0] / UNIT, CARD[1] / UNIT))
    axes = figure.add_axes((0.14, 0.13, 0.83, 0.83))
    _curve(axes, points, COLOURS[0])
    last = [(x, y) for x, y in points if math.isfinite(y)][-1:]
    axes.plot(*zip(*last), "o", color=COLOURS[0], markersize=4)
    return figure


@styled()
def draw_curves(runs: Mapping[str, Mapping[str, Points]], names: Sequence[str]) -> Figure:
    """Draw the series of several runs over the steps: one panel per series, one colour per run.

    Args:
        runs: title of each run -> its series.
        names: series to draw.
    """
    figure, axes = panels(len(names), *PANEL, list(runs))
    for panel, name in zip(axes, names):
        panel.set_title(shortened(name, 14, PANEL[0] - 60))
        for place, series in enumerate(runs.values()):
            if name in series:
                _curve(panel, series[name], colour_and_marker(place)[0])
    legend(figure, [(run, colour_and_marker(place)[0], "o") for place, run in enumerate(runs)], "by step")
    return figure


def _curve(axes: Axes, points: Points, colour: str) -> None:
    """Draw one series; values that are not finite leave a gap."""
    from matplotlib.ticker import EngFormatter, FuncFormatter

    for stretch in _finite_stretches(points):
        noisy = len(stretch) >= NOISY
        if noisy:
            axes.plot(*zip(*_thin(stretch)), color=colour, linewidth=0.8, alpha=0.3)
        line = _thin(_trend(stretch) if noisy else stretch)
        axes.plot(*zip(*line), color=colour, marker="" if len(stretch) > 1 else ".")
    axes.locator_params(nbins=5)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: format_value(value)))


def format_value(value: float) -> str:
    """Format a number with at most four significant digits: 0.0314, 12,300, 1e-05."""
    if not math.isfinite(value):
        return str(value)
    if value == 0 or 1e-4 <= abs(value) < 1e6:
        digits = 4 if value == 0 else max(3 - math.floor(math.log10(abs(value))), 0)
        text = f"{value:,.{digits}f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def _finite_stretches(points: Sequence[tuple[float, float]]) -> list[list[tuple[float, float]]]:
    """Split a series at the values that are not finite."""
    stretches: list[list[tuple[float, float]]] = [[]]
    for x, y in points:
        if math.isfinite(y):
            stretches[-1].append((x, y))
        elif stretches[-1]:
            stretches.append([])
    return [stretch for stretch in stretches if stretch]


def _trend(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Running mean over a twentieth of the points around each one; over fewer near the ends, to stay centred."""
    sums = list(itertools.accumulate((y for _, y in points), initial=0.0))
    reach, last = len(points) // 40, len(points) - 1
    trend: list[tuple[float, float]] = []
    for place, (x, _) in enumerate(points):
        half = min(reach, place, last - place)
        trend.append((x, (sums[place + half + 1] - sums[place - half]) / (2 * half + 1)))
    return trend


def _thin(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Reduce a long curve to few points that keep its shape and its peaks."""
    if len(points) <= POINTS:
        return list(points)
    stretch = 4 * len(points) / POINTS
    kept: list[tuple[float, float]] = []
    for number in range(POINTS // 4):
        part = points[round(number * stretch) : round((number + 1) * stretch)]
        by_value = sorted(range(len(part)), key=lambda place: part[place][1])
        kept += [part[place] for place in sorted({0, by_value[0], by_value[-1], len(part) - 1})]
    return kept
