"""Figures of what runs logged and measured: curves, and one measure against one setting."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

from viewkin.commands.figures.inputs import Drawing
from viewkin.figures.curves import NOT_DRAWN, draw_curves, series_of
from viewkin.runs.record import read_record
from viewkin.runtime.errors import UserError
from viewkin.training.logs import read_metrics

SHOWN = 6
"""Series that are drawn where none is named."""


def draw_curves_of(runs: Sequence[str], names: Sequence[str]) -> Drawing:
    """Draw what several runs logged over the steps.

    Args:
        runs: run directories.
        names: series to draw; none: the loss, kNN and first others of the first run.

    Raises:
        UserError: no run, or a series that none of them logged.
    """
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
    chosen = list(names) or list(dict.fromkeys([*first, *(name for name in known if name not in NOT_DRAWN)]))[:SHOWN]
    titles = dict(zip(read, distinct_names([Path(run) for run in read])))
    figure = draw_curves({titles[run]: series for run, series in read.items()}, chosen)
    return Drawing(figure, "curves", f"Training of {', '.join(titles.values())}", tuple(read))


def distinct_names(places: Sequence[Path]) -> list[str]:
    """Name directories by the end of their paths, as much of it as tells them apart."""
    parts = [place.resolve().parts for place in places]
    for length in range(1, max(map(len, parts))):
        names = ["/".join(some[-length:]) for some in parts]
        if len({*names}) == len({*parts}):
            return names
    return [str(place) for place in places]
