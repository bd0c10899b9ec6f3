"""One measure against one setting, with the spread over seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from viewkin.errors import UserError
from viewkin.figures.axes import Axes, padded
from viewkin.figures.canvas import Canvas, Dot, Line, Mark, Text, legend, shortened, sign_of, text_width

WIDTH, HEIGHT = 480.0, 280.0
Value = str | float | int | bool | None


@dataclass(frozen=True)
class Trial:
    """One run."""

    setting: Value
    """Value of the setting that is looked at."""
    others: str
    """The other settings in which the runs differ, as text; the seed is none of them."""
    measure: float
    """What was measured."""


@dataclass(frozen=True)
class Spread:
    """The runs of one setting."""

    setting: Value
    mean: float
    std: float | None
    """Standard deviation over seeds (n - 1); None of a single run."""
    count: int


def spreads(trials: Sequence[Trial]) -> dict[str, list[Spread]]:
    """Join runs that differ in their seed only: for each combination of other settings a line, by rising setting."""
    lines: dict[str, dict[Value, list[float]]] = {}
    for trial in trials:
        lines.setdefault(trial.others, {}).setdefault(trial.setting, []).append(trial.measure)
    return {
        others: [
            Spread(setting, fmean(values), stdev(values) if len(values) > 1 else None, len(values))
            for setting, values in sorted(line.items(), key=lambda item: _order(item[0]))
        ]
        for others, line in lines.items()
    }


def draw_ablation(lines: dict[str, list[Spread]], setting: str, measure: str) -> Canvas:
    """Draw a line for each combination of other settings; numbers lie at their place, words side by side.

    Raises:
        UserError: no run.
    """
    if not lines:
        raise UserError("There is no run to draw.")
    values = sorted({point.setting for line in lines.values() for point in line}, key=_order)
    numeric = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)
    places = {value: float(value) if numeric else float(n) for n, value in enumerate(values)}  # type: ignore[arg-type]
    reach = [p.mean + sign * (p.std or 0.0) for line in lines.values() for p in line for sign in (-1, 1)]
    x = list(places.values())
    axes = Axes(
        x=74, y=44, width=WIDTH, height=HEIGHT, x_range=padded(x, 0.06 if numeric else 0.2), y_range=padded(reach, 0.1)
    )
    named = [(n, *sign_of(place)) for place, n in enumerate(lines)] if list(lines) != [""] else []
    key, tall = legend(named, 74, HEIGHT + 104, WIDTH)
    canvas = Canvas(WIDTH + 110, HEIGHT + 112 + tall)
    canvas.add(*axes.axes(f"{measure} by {setting}", setting, measure, _ticks(places, axes)))
    for place, line in enumerate(lines.values()):
        canvas.add(*_line(axes, [(places[point.setting], point) for point in line], place))
    runs = [point.count for line in lines.values() for point in line]
    seeds = f"{min(runs)}" if min(runs) == max(runs) else f"{min(runs)} to {max(runs)}"
    bars = "bars: standard deviation over seeds, " if max(runs) > 1 else ""
    canvas.add(Text(74, HEIGHT + 94, f"{bars}runs a point: {seeds}", 11), *key)
    return canvas


def _line(axes: Axes, points: Sequence[tuple[float, Spread]], place: int) -> list[Mark]:
    colour, shape = sign_of(place)
    marks: list[Mark] = [Line(tuple(axes.at(x, point.mean) for x, point in points), colour, 1.6)]
    for x, point in points:
        if point.std is not None:
            (across, low), (_, high) = axes.at(x, point.mean - point.std), axes.at(x, point.mean + point.std)
            marks.append(Line(((across, low), (across, high)), colour, 1.6))
            marks += [Line(((across - 4, end), (across + 4, end)), colour, 1.6) for end in (low, high)]
        marks.append(Dot(*axes.at(x, point.mean), colour, shape, 4.0, 1.0))
    return marks


def _ticks(places: dict[Value, float], axes: Axes) -> list[tuple[float, str]] | None:
    """A tick at every value, where their names do not meet; None: round numbers."""
    room = min(
        (
            abs(axes.at(b, 0)[0] - axes.at(a, 0)[0])
            for a, b in zip(sorted(places.values()), sorted(places.values())[1:])
        ),
        default=WIDTH,
    )
    names = {value: format(value, "g") if isinstance(value, float) else str(value) for value in places}
    if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in places):
        if max(text_width(name, 11) for name in names.values()) + 8 > room:
            return None
        return [(place, names[value]) for value, place in places.items()]
    return [(place, shortened(names[value], 11, room - 6)) for value, place in places.items()]


def _order(value: Value) -> tuple[int, float, str]:
    """Sort none first, then numbers, then words."""
    if value is None:
        return 0, 0.0, ""
    if isinstance(value, (int, float)):
        return 1, float(value) if math.isfinite(value) else math.inf, ""
    return 2, 0.0, value
