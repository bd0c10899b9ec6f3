"""One measure of several runs against one setting."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from viewkin.commands.figures.inputs import Drawing
from viewkin.figures.ablation import Trial, Value, draw_ablation, summarise
from viewkin.runs.record import LOGGED, RunRecord, read_record, short
from viewkin.runtime.errors import UserError
from viewkin.settings import current_path


def draw_ablation_of(runs: Sequence[str], setting: str, measure: str, features: str) -> Drawing:
    """Draw one measure of several runs against one setting, with the spread over seeds.

    Raises:
        UserError: a setting or measure that the runs do not have.
    """
    read = [read_record(Path(run)) for run in dict.fromkeys(runs)]
    lines = summarise(trials(read, setting, measure, features))
    name = measure if measure in LOGGED else f"{measure}, {features}"
    figure = draw_ablation(lines, setting, name)
    return Drawing(figure, "ablation", f"{name} by {setting}", tuple(runs))


def trials(runs: Sequence[RunRecord], setting: str, measure: str, features: str) -> list[Trial]:
    """One trial a run: the setting, the others in which the runs differ, and the measure.

    Raises:
        UserError: a setting or measure that a run does not have; what there is is named.
    """
    setting = current_path(runs[0].stored.recipe, setting)
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
