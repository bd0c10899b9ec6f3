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

from rich.console import Console
from rich.table import Table

from viewkin.campaigns.published import changes, published
from viewkin.cli.output import say
from viewkin.commands.evaluate import check_file
from viewkin.evaluation.results import Result
from viewkin.runs.record import BASELINES, RunRecord, read_record, short
from viewkin.runtime.errors import UserError
from viewkin.runtime.files import replacing

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
    """``knn@200``, ... in percent; of the log ``knn_monitor``, a share, and images/s."""
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
    """Images that were judged."""


def compare(places: Sequence[str], out: Path | None, *, baselines: bool, console: Console) -> list[Line]:
    """Print one table across runs, and write it as CSV or JSON.

    Raises:
        UserError: no run there, nothing measured, or a file that is neither CSV nor JSON.
    """
    if out is not None:
        check_file(out)
        if out.suffix.lower() not in (".csv", ".json"):
            raise UserError(f"--out {out} must end in .csv or .json.")
    runs = [read_record(Path(place)) for place in dict.fromkeys(places)]
    lines = [line for group in groups(runs) for line in lines_of(group, baselines=baselines)]
    if not lines:
        raise UserError(f"Nothing was measured in {', '.join(places)}; judge a run with: viewkin evaluate knn RUN DATA")
    show(lines, console)
    if out is not None:
        write(out, lines)
        say(console, f"Written to {out}")
    return lines


def groups(runs: Sequence[RunRecord]) -> list[list[RunRecord]]:
    """Join runs that differ in their seed only."""
    found: dict[str, list[RunRecord]] = {}
    for run in runs:
        found.setdefault(_key(run.settings), []).append(run)
    return list(found.values())


def lines_of(group: Sequence[RunRecord], *, baselines: bool = False) -> list[Line]:
    """Every measure of runs that differ in their seed only; of one that was taken twice, the later."""
    values: dict[tuple[str, ...], dict[Path, tuple[float, Result | None]]] = {}
    for run in group:
        for result in run.results:
            if short(result.model) in BASELINES and not baselines:
                continue
            for measure, value in result.values.items():
                key = (result.protocol, short(result.model), measure, result.data, _key(result.settings))
                values.setdefault(key, {})[run.place] = (value, result)
        for name, value in run.logged.items():
            measure = SPEED if name == "images_per_second" else name
            values.setdefault(("log", "", measure, "", ""), {})[run.place] = (value, None)
    return [_line(group, key, found) for key, found in values.items()]


def _line(group: Sequence[RunRecord], key: tuple[str, ...], found: dict[Path, tuple[float, Result | None]]) -> Line:
    protocol, features, measure, data, _ = key
    runs = [run for run in group if run.place in found]
    numbers = [value for value, _ in found.values()]
    stored, result = runs[0].stored, found[runs[0].place][1]
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
    )


def show(lines: Sequence[Line], console: Console) -> None:
    """Print the table, measure by measure, and below it what the runs are, what papers trained and what differs."""
    table = Table()
    for name in ("measure", "features", "runs", "mean", "std", "n", "published"):
        table.add_column(name, justify="right" if name in ("mean", "std", "n", "published") else "left")
    before = None
    for line in sorted(lines, key=lambda line: _order(line, lines)):
        if before not in (None, (line.measure, line.features)):
            table.add_section()
        new = before != (line.measure, line.features)
        before = (line.measure, line.features)
        std = "-" if line.std is None else _number(line.std, line)
        first = (line.measure, line.features or "-") if new else ("", "")
        table.add_row(*first, _name(line), _number(line.mean, line), std, str(len(line.runs)), line.published or "-")
    console.print(table, markup=False, highlight=False)
    for name, recipe, seeds, changed in dict.fromkeys((_name(a), a.recipe, a.seeds, a.changed) for a in lines):
        differs = f"; changed: {changed}" if changed else ""
        noun = "seed" if len(seeds) == 1 else "seeds"
        say(console, f"{name}: recipe {recipe}, {noun} {' '.join(map(str, seeds))}{differs}")
    papers = dict.fromkeys((line.recipe, line.paper) for line in lines if line.paper)
    say(console, *(f"Published for {recipe}: {paper}" for recipe, paper in papers))
    say(console, *(f"Judged on {data}" for data in dict.fromkeys(line.data for line in lines if line.data)))


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


def _name(line: Line) -> str:
    """Name runs by the folder of the first and how many more there are."""
    first, *more = line.runs
    return Path(first).name + (f" +{len(more)}" if more else "")


def _order(line: Line, lines: Sequence[Line]) -> tuple[int, int]:
    """Bring the same measure of the same features together, in the order in which they first appear."""
    names = [(other.measure, other.features) for other in lines]
    return names.index((line.measure, line.features)), lines.index(line)


def _number(value: float, line: Line) -> str:
    """Percent and images/s with two digits, the log's shares with three."""
    return f"{value:,.{2 if line.protocol != 'log' or line.measure == SPEED else 3}f}"


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
