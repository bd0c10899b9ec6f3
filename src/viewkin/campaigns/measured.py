"""What lies under ``results/CAMPAIGN/ROW-sSEED``: the runs of a campaign that have ended."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from viewkin.campaigns.campaign import Edition, Row, recipe_of
from viewkin.evaluation.results import Result, read_results
from viewkin.runs.record import kind_paths, short, telling
from viewkin.runs.run_settings import RunSettings, read_run_settings, rebuilt
from viewkin.runtime.errors import UserError
from viewkin.runtime.json_text import read_json
from viewkin.settings import setting_paths
from viewkin.training.logs import read_metrics

KEPT = ("recipe.json", "versions.json", "metrics.jsonl")
"""Files of a run that are kept beside its evaluations."""
TAIL = 4096
"""Bytes at the end of a file that are looked at."""
OF_THE_SET = ("data.stored_size", "data.image_column", "data.label_column", "data.labels", "data.value_range")
"""Settings that a run fills in from its images."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One run that has ended."""

    row: str
    """Name of its row."""
    seed: int
    """Its seed."""
    values: Mapping[str, float]
    """Key of a column to what was measured, percent."""
    views: int
    """Views of an image that one step sees."""
    epochs: int
    """Epochs, over all rounds."""
    seconds: int
    """Wall-clock time of training."""
    cpu_seconds: int
    """Processor time of training."""
    threads: int | None
    """Threads that it was trained with."""
    device: str
    """Processor or GPU."""
    commit: str
    """Commit of viewkin."""
    command: str
    """Command that trained it."""
    differing: tuple[str, ...] = ()
    """Settings that are not the row's, with both values."""
    curve: tuple[tuple[float, float], ...] = field(default=(), repr=False)
    """Epoch, and kNN on held-out training images in percent."""


def place_of(results: Path, row: str, seed: int) -> Path:
    """Name the folder of a run's results."""
    return results / f"{row}-s{seed}"


def ended(place: Path, edition: Edition) -> bool:
    """Tell whether a run has ended and was judged in every way."""
    return all((place / name).is_file() for name in (*KEPT, *(one.file for one in edition.evaluations)))


def seeds_in(results: Path, row: str) -> list[int]:
    """List the seeds of a row that have a folder."""
    found = (re.fullmatch(re.escape(row) + r"-s(\d+)", place.name) for place in results.glob(f"{row}-s*"))
    return sorted(int(match[1]) for match in found if match)


def read_all(results: Path, edition: Edition) -> tuple[list[Measured], list[str]]:
    """Read every run that has ended, in the order of the rows, and say which cannot be read.

    Returns:
        The runs; a sentence for each that is damaged.
    """
    runs: list[Measured] = []
    faults: list[str] = []
    for row in edition.rows:
        for seed in seeds_in(results, row.name):
            place = place_of(results, row.name, seed)
            if ended(place, edition):
                try:
                    runs.append(read_run(place, row, seed, edition))
                except UserError as error:
                    faults.append(f"{row.name} with seed {seed} is not in the table: {error}")
    return runs, faults


def read_run(place: Path, row: Row, seed: int, edition: Edition) -> Measured:
    """Read one run that has ended.

    Raises:
        UserError: one of its files is damaged.
    """
    stored = read_run_settings(place)
    log = read_metrics(place / "metrics.jsonl")
    try:
        versions: dict[str, Any] = read_json((place / "versions.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{place / 'versions.json'} is damaged; restore it from a copy.") from error
    results = [result for one in edition.evaluations for result in read_results(place / one.file)]
    schedule = stored.recipe.schedule
    epochs = schedule.epochs * schedule.rounds
    speeds = [float(line["images_per_second"]) for line in log if line.get("images_per_second")]
    slowness = sum(1 / speed for speed in speeds) / max(len(speeds), 1)
    return Measured(
        row=row.name,
        seed=seed,
        values=values_of(results, edition),
        views=len(rebuilt(stored.recipe, stored.images).view_spec),
        epochs=epochs,
        seconds=round(epochs * stored.images * slowness),
        cpu_seconds=round(sum(float(line.get("cpu_seconds", 0)) for line in log)),
        threads=stored.recipe.runtime.threads,
        device=str(versions.get("device") or "not known"),
        commit=str(versions.get("commit") or "not known"),
        command=str(versions.get("command") or "not known"),
        differing=tuple(differing(stored, row, seed, edition, (place / "recipe.json").read_text(encoding="utf-8"))),
        curve=tuple((float(line["epoch"]), 100 * float(line["knn_monitor"])) for line in log if "knn_monitor" in line),
    )


def values_of(results: Sequence[Result], edition: Edition) -> dict[str, float]:
    """Take the columns of an edition from results of evaluations."""
    values: dict[str, float] = {}
    for column in edition.columns:
        for result in results:
            wanted = (result.protocol, short(result.model)) == (column.protocol, column.features)
            if wanted and column.measure in result.values:
                values[column.key] = result.values[column.measure]
    return values


def differing(stored: RunSettings, row: Row, seed: int, edition: Edition, text: str) -> list[str]:
    """Name the settings of a run that are not its row's, but for those that its version of viewkin did not have.

    Args:
        stored: the run's settings.
        row: what it should be.
        seed: its seed.
        edition: of the row.
        text: the run's ``recipe.json``.
    """
    wanted = recipe_of(row, edition, seed)
    now = telling(setting_paths(stored.recipe), kind_paths(stored.recipe.method))
    then = telling(setting_paths(wanted), kind_paths(wanted.method))
    budget = edition.budget.images
    other = [] if budget is None or stored.images == budget else [f"images {stored.images:,} (the row: {budget:,})"]
    for path in (*then, *(path for path in now if path not in then)):
        had = path.endswith(".kind") or f'"{path.rpartition(".")[2]}"' in text or "method." not in path
        if now.get(path) != then.get(path) and had and path not in OF_THE_SET:
            other.append(f"{path} {now.get(path)} (the row: {then.get(path)})")
    return other


def tail_of(file: Path) -> str:
    """Read the end of a text file; nothing if it cannot be read."""
    with contextlib.suppress(OSError), file.open("rb") as stream:
        stream.seek(max(file.stat().st_size - TAIL, 0))
        return stream.read().decode("utf-8", "replace")
    return ""


def epochs_done(place: Path) -> float:
    """Read how many epochs a run has done, over all rounds, from the last whole line of its log."""
    for line in reversed(tail_of(place / "metrics.jsonl").splitlines()):
        with contextlib.suppress(ValueError, TypeError, KeyError):
            return float(json.loads(line)["epoch"])
    return 0.0
