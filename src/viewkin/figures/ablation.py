"""Plots of one measure over the values of one setting, with the standard deviation over seeds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import TYPE_CHECKING

from viewkin.figures.style import FAINT, POINT, colour_and_marker, legend, panels, shortened, styled, text_width
from viewkin.runtime.errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 560.0, 380.0
"""Size of the figure without its legend, units."""
LOGARITHMIC = 20.0
"""The axis is logarithmic if the largest of three or more settings is at least so many times the smallest."""
OFFSET = 0.08
"""Horizontal offset between the points of two lines at the same word, as a fraction of the distance of two words."""
Value = str | float | int | bool | None


@dataclass(frozen=True)
class Trial:
    """One run."""

    setting: Value
    """Value of the setting on the x axis."""
    others: str
    """The other settings in which the runs differ, except the seed, as text."""
    measure: float
    """Measured value."""


@dataclass(frozen=True)
class SettingSummary:
    """Mean and standard deviation of the runs with one value of the setting."""

    setting: Value
    mean: float
    std: float | None
    """Standard deviation over seeds (n - 1); None for a single run."""
    count: int


def summarise(trials: Sequence[Trial]) -> dict[str, list[SettingSummary]]:
    """Average the runs that differ only in their seed: a line for each combination of other settings, sorted."""
    lines: dict[str, dict[Value, list[float]]] = {}
    for trial in trials:
        lines.setdefault(trial.others, {}).setdefault(trial.setting, []).append(trial.measure)
    return {
        others: [
            SettingSummary(setting, fmean(values), stdev(values) if len(values) > 1 else None, len(values))
            for setting, values in sorted(line.items(), key=lambda item: _order(item[0]))
        ]
        for others, line in lines.items()
    }


@styled()
def draw_ablation(lines: dict[str, list[SettingSummary]], setting: str, measure: str) -> Figure:
    """Draw a line for each combination of other settings.

    Numeric settings are placed at their value; words are placed side by side and not joined by lines.

    Raises:
        UserError: there are no runs.
    """
    if not lines:
        raise UserError("There is no run to draw.")
    names = list(lines) if list(lines) != [""] else []
    figure, (axes,) = panels(1, WIDTH, HEIGHT, names)
    places = _x_positions(axes, sorted({point.setting for line in lines.values() for point in line}, key=_order))
    for number, line in enumerate(lines.values()):
        colour, marker = colour_and_marker(number)
        bars = [math.nan if point.std is None else point.std for point in line]
        offset = 0.0 if numeric(places) else OFFSET * (number - (len(lines) - 1) / 2)
        x = [places[point.setting] + offset for point in line]
        drawn = axes.errorbar(
            x, [point.mean for point in line], bars, color=colour, marker=marker, markersize=5, capsize=4
        )
        drawn[0].set_linestyle("-" if numeric(places) else "none")
    runs = [point.count for line in lines.values() for point in line]
    seeds = f"{min(runs)}" if min(runs) == max(runs) else f"{min(runs)} to {max(runs)}"
    about = "bars: standard deviation over seeds; " if max(runs) > 1 else ""
    axes.set_title(shortened(f"{measure} by {setting}", 14, WIDTH - 80), pad=24)
    axes.text(0, 1.02, f"{about}runs a point: {seeds}", transform=axes.transAxes, color=FAINT, size=11 * POINT)
    axes.set(xlabel=shortened(setting, 12, WIDTH - 80), ylabel=shortened(measure, 12, HEIGHT - 80))
    if names:
        legend(figure, [(name, *colour_and_marker(number)) for number, name in enumerate(names)])
    return figure


def numeric(values: Iterable[Value]) -> bool:
    """Whether all settings are numbers, so that a line between two of them makes sense."""
    return all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)


def _x_positions(axes: Axes, values: Sequence[Value]) -> dict[Value, float]:
    """Place each setting on the x axis; a tick is left out where its label would overlap."""
    numbers = numeric(values)
    places = {value: float(value) if numbers else float(n) for n, value in enumerate(values)}  # type: ignore[arg-type]
    low, high = min(places.values()), max(places.values())
    logarithmic = numbers and len(values) > 2 and low > 0 and high / low >= LOGARITHMIC
    axes.set_xscale("log" if logarithmic else "linear")
    axes.margins(x=0.06 if numbers else 0.2)
    scale = math.log if logarithmic else float
    units = (WIDTH - 130) / ((scale(high) - scale(low)) or 1.0)
    names = [format(value, "g") if isinstance(value, float) else str(value) for value in values]
    names = names if numbers else [shortened(name, 11, units * 0.95) for name in names]
    ticks: list[tuple[float, str]] = []
    end = -math.inf
    for place, name in zip(places.values(), names):
        middle, half = units * scale(place), text_width(name, 11) / 2
        if middle - half > end:
            ticks.append((place, name))
            end = middle + half + 6
    axes.set_xticks([place for place, _ in ticks], [name for _, name in ticks])
    axes.set_xticks([], minor=True)
    return places


def _order(value: Value) -> tuple[int, float, str]:
    """Sort key: None first, then numbers, then words."""
    if value is None:
        return 0, 0.0, ""
    if isinstance(value, (int, float)):
        return 1, float(value) if math.isfinite(value) else math.inf, ""
    return 2, 0.0, value
