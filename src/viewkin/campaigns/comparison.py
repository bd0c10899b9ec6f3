"""One table across runs: mean and spread over seeds, and what the papers print."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from viewkin.campaigns.published import changes, published
from viewkin.evaluation.results import Result
from viewkin.runs.record import BASELINES, RunRecord, short
from viewkin.runtime.errors import UserError
from viewkin.runtime.files import replacing
from viewkin.training.logs import MONITORS

Key = tuple[str, str, str, str, str, str]
"""Protocol, features, measure, images by name and by fingerprint, settings: what makes a line."""
SPEED = "images/s"
"""What the table calls the log's ``images_per_second``."""


@dataclass(frozen=True)
class Line:
    """One measure of runs that differ in their seed only."""

    runs: tuple[str, ...]
    """Their directories."""
    recipe: str
    """Recipe's name."""
    protocol: str
    """``knn``, ...; ``log`` for what the log says."""
    features: str
    """What was judged: ``backbone``, ``embedding``, a baseline; empty for what the log says."""
    measure: str
    """``knn@200``, ..., and ``knn_monitor`` of the log, in percent; images/s."""
    mean: float
    """Over seeds."""
    std: float | None
    """Standard deviation over seeds (n - 1); None of a single run."""
    seeds: tuple[int, ...]
    """Seeds of the runs."""
    published: str
    """What papers print for it, several with commas between."""
    paper: str
    """Table and setting of these."""
    changed: str
    """Settings of the runs that are not the recipe's."""
    data: str
    """Images that were judged, as they were named."""
    images: str = ""
    """Their fingerprint; empty where it is not known."""
    settings: str = ""
    """Settings of the evaluation, as JSON; empty for what the log says."""


def groups(runs: Sequence[RunRecord]) -> list[list[RunRecord]]:
    """Join runs that differ in their seed only."""
    runs_by_settings: dict[str, list[RunRecord]] = {}
    for run in runs:
        runs_by_settings.setdefault(_key(run.settings), []).append(run)
    return list(runs_by_settings.values())


def lines_of(group: Sequence[RunRecord], *, baselines: bool = False) -> list[Line]:
    """Every measure of runs that differ in their seed only; of one that was taken twice, the later.

    Measures on other images, or by other settings of the evaluation, are lines of their own.
    """
    values: dict[Key, dict[Path, tuple[float, Result | None]]] = {}
    for run in group:
        for result in run.results:
            if short(result.model) in BASELINES and not baselines:
                continue
            for measure, value in result.values.items():
                key = (result.protocol, short(result.model), measure, result.data, result.images, _key(result.settings))
                values.setdefault(key, {})[run.place] = (value, result)
        for name, value in run.logged.items():
            if name in MONITORS:
                data = f"{run.stored.data}: held out of {run.stored.images:,} images"
                key = ("log", "", name, data, run.stored.fingerprint or "", "")
                values.setdefault(key, {})[run.place] = (100 * value, None)
            else:
                values.setdefault(("log", "", SPEED, "", "", ""), {})[run.place] = (value, None)
    return [_line(group, key, taken) for key, taken in values.items()]


def _line(group: Sequence[RunRecord], key: Key, taken: dict[Path, tuple[float, Result | None]]) -> Line:
    protocol, features, measure, data, images, settings = key
    runs = [run for run in group if run.place in taken]
    numbers = [value for value, _ in taken.values()]
    stored, result = runs[0].stored, taken[runs[0].place][1]
    papers = published(stored, data, protocol, measure, features, result.settings if result else None)
    return Line(
        runs=tuple(str(run.place) for run in runs),
        recipe=stored.recipe.name + (" (smoke)" if stored.smoke else ""),
        protocol=protocol,
        features=features,
        measure=measure,
        mean=fmean(numbers),
        std=stdev(numbers) if len(numbers) > 1 else None,
        seeds=tuple(run.stored.recipe.seed for run in runs),
        published=", ".join(f"{paper.value:g}" for paper in papers),
        paper="; ".join(f"{paper.source}: {paper.setting}" for paper in papers),
        changed=changes(stored),
        data=data,
        images=images,
        settings=settings,
    )


def write(out: Path, lines: Sequence[Line]) -> None:
    """Write the table, whole or not at all: CSV or JSON by the suffix, every column."""
    rows = [asdict(line) for line in lines]
    if out.suffix.lower() == ".json":
        finite = [{name: _finite(value) for name, value in row.items()} for row in rows]
        text = json.dumps(finite, indent=2, allow_nan=False) + "\n"
    else:
        stream = io.StringIO()
        table = csv.DictWriter(stream, [field.name for field in fields(Line)], lineterminator="\n")
        table.writeheader()
        for row in rows:
            joined = {name: " ".join(map(str, row[name])) for name in ("runs", "seeds")}
            table.writerow(row | joined)
        text = stream.getvalue()
    try:
        with replacing(out) as part:
            part.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{out} cannot be written ({error.strerror}); choose a place you may write to.") from error


def _key(settings: Any) -> str:
    return json.dumps(settings, sort_keys=True, default=str)


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
