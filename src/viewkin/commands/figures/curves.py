"""Figures of what runs logged and measured: curves, and one measure against one setting."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from viewkin.commands.figures.inputs import check_drawing, keep
from viewkin.figures.ablation import Trial, Value, draw_ablation, spreads
from viewkin.figures.curves import OF_LINES, draw_curves, series_of
from viewkin.runs.record import LOGGED, RunRecord, read_record, short
from viewkin.runtime.errors import UserError
from viewkin.training.logs import read_metrics

SHOWN = 6
"""Series that are drawn where none is named."""


def draw_curves_of(runs: Sequence[str], names: Sequence[str], out: Path | None, console: Console) -> None:
    """Draw what several runs logged over the steps.

    Args:
        runs: run directories.
        names: series to draw; none: the loss, kNN and first others of the first run.
        out: file to write.
        console: where to say so.

    Raises:
        UserError: no run, or a series that none of them logged.
    """
    check_drawing(out)
    read = {
        str(run.place): series_of(read_metrics(run.place / "metrics.jsonl"))
        for run in map(read_record, map(Path, runs))
    }
    known = list(dict.fromkeys(name for series in read.values() for name in series))
    if not known:
        raise UserError(f"{' and '.join(read)} logged nothing; name runs that have a metrics.jsonl.")
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or known[:3]
            raise UserError(f"The runs logged no {name!r}; did you mean {', '.join(near)}?")
    first = [name for name in ("loss", "knn_monitor") if name in known]
    chosen = list(names) or list(dict.fromkeys([*first, *(name for name in known if name not in OF_LINES)]))[:SHOWN]
    titles = dict(zip(read, distinct_names([Path(run) for run in read])))
    figure = draw_curves({titles[run]: series for run, series in read.items()}, chosen)
    keep(figure, "curves", f"Training of {', '.join(titles.values())}", tuple(read), out, console)


def distinct_names(places: Sequence[Path]) -> list[str]:
    """Name directories by the end of their paths, as much of it as tells them apart."""
    parts = [place.resolve().parts for place in places]
    for length in range(1, max(map(len, parts))):
        names = ["/".join(some[-length:]) for some in parts]
        if len({*names}) == len({*parts}):
            return names
    return [str(place) for place in places]


def draw_ablation_of(
    runs: Sequence[str], setting: str, measure: str, features: str, out: Path | None, console: Console
) -> None:
    """Draw one measure of several runs against one setting, with the spread over seeds.

    Raises:
        UserError: a setting or measure that the runs do not have.
    """
    check_drawing(out)
    read = [read_record(Path(run)) for run in dict.fromkeys(runs)]
    lines = spreads(trials(read, setting, measure, features))
    name = measure if measure in LOGGED else f"{measure}, {features}"
    figure = draw_ablation(lines, setting, name)
    target = out or Path("ablation.png")
    keep(figure, "ablation", f"{name} by {setting}", tuple(runs), target, console)


def trials(runs: Sequence[RunRecord], setting: str, measure: str, features: str) -> list[Trial]:
    """One trial a run: the setting, the others in which the runs differ, and the measure.

    Raises:
        UserError: a setting or measure that a run does not have; what there is is named.
    """
    every = [run.settings for run in runs]
    known = list(dict.fromkeys(path for settings in every for path in settings))
    if setting not in known:
        near = difflib.get_close_matches(setting, known, n=3, cutoff=0.4) or known[:3]
        raise UserError(f"The runs have no setting {setting!r}; did you mean {', '.join(near)}?")
    differing = [path for path in known if path != setting and _differs(path, setting, every)]
    return [
        Trial(
            value_of(settings.get(setting)),
            ", ".join(f"{path.removeprefix('method.')} {settings.get(path)}" for path in differing),
            measured(run, measure, features),
        )
        for run, settings in zip(runs, every)
    ]


def _differs(path: str, setting: str, every: Sequence[Mapping[str, Any]]) -> bool:
    """Whether runs differ in a path beyond what the setting brings along: a method has settings that others lack."""
    values = {(str(settings.get(setting)), str(settings.get(path))) for settings in every}
    brought = any(path not in settings for settings in every) and len(values) == len({chosen for chosen, _ in values})
    return len({value for _, value in values}) > 1 and not brought


def measured(run: RunRecord, measure: str, features: str) -> float:
    """One measure of a run, the newest if it was taken several times.

    Raises:
        UserError: it was not taken; those that were are named.
    """
    values = {name: value for r in run.results if short(r.model) == features for name, value in r.values.items()}
    values |= run.logged
    if measure not in values:
        there = ", ".join(values) or "none"
        raise UserError(f"{run.place} has no measure {measure!r} of its {features}; it has {there}.")
    return values[measure]


def value_of(setting: object) -> Value:
    """A setting as an axis shows it."""
    return setting if isinstance(setting, (str, float, int, bool)) or setting is None else str(setting)
