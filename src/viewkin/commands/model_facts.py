"""What is known of a model, for its card: how it was trained, what it began with, what was measured.

No folder of this machine is named.
"""

from __future__ import annotations

import os
import shlex
from contextlib import suppress
from pathlib import Path
from typing import Any

from viewkin.evaluation.results import Result
from viewkin.export.model_card import Measured, Start, Trained
from viewkin.nets.pretrained_names import PACKAGES, TIMM, split_name
from viewkin.runs.record import BASELINES, RunRecord, read_record, short
from viewkin.runtime.errors import UserError
from viewkin.runtime.json_text import read_json
from viewkin.training.logs import read_metrics

BACKBONE = "backbone.safetensors"
"""File of a run with the weights that its evaluations judge."""
MOST = 5
"""Runs that are followed back, each of which started from the one before."""


def record_of(model: str) -> RunRecord | None:
    """Read the run that a model is of: its directory, or the weights that its training left there; None: there is none.

    The weights that training started from lie in the same directory and are not of the run.
    """
    place = Path(model)
    folder = place.parent if place.name == BACKBONE or place.suffix == ".ckpt" else place
    if not place.exists() or not (folder / "recipe.json").is_file():
        return None
    with suppress(UserError):
        return read_record(folder)
    return None


def training_of(record: RunRecord) -> Trained:
    """Say how a run was trained."""
    stored, recipe = record.stored, record.stored.recipe
    return Trained(
        images=stored.images,
        data=without_folders(stored.data),
        recipe=f"{recipe.name} ({recipe.about.rstrip('.')})",
        method=recipe.method.kind,
        epochs=epochs_of(record),
        seed=recipe.seed,
        smoke=stored.smoke,
        made_by=made_by(record.place),
    )


def epochs_of(record: RunRecord) -> str:
    """Say for how many epochs a run trained, and of how many where it was stopped: ``50``, ``12.5 of 50``."""
    schedule = record.stored.recipe.schedule
    planned, log = schedule.epochs * schedule.rounds, record.place / "metrics.jsonl"
    rows = read_metrics(log) if log.exists() else []
    done = float(rows[-1].get("epoch", planned)) if rows else 0.0
    return f"{planned}" if done >= planned else f"{done:g} of {planned}"


def made_by(run: Path) -> str:
    """Give the command of a run and what it ran with, from ``versions.json``; empty where that is missing."""
    try:
        facts = read_json((run / "versions.json").read_text(encoding="utf-8"))
        command = public_command(str(facts["command"]))
        with_what = ", ".join(f"{name} {facts[name]}" for name in ("viewkin", "commit", "torch") if facts.get(name))
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    return f"{command}\n({with_what})"


def starts_of(model: str, record: RunRecord | None) -> list[Start]:
    """Name the weights that a model began with, and those that these began with."""
    starts: list[Start] = []
    source = model if record is None else record.stored.recipe.init.source
    while source and len(starts) < MOST:
        earlier = record_of(source) if record is not None or starts else None
        if record is None and not starts and split_name(source)[0] is None and source not in PACKAGES:
            break  # a file of weights, of which nothing is known
        starts.append(Start(name=without_folders(source), licence=licence_of(source, earlier)))
        source = earlier.stored.recipe.init.source if earlier is not None else None
    return starts


def licence_of(source: str, run: RunRecord | None) -> str:
    """Say what is known of the licence of weights."""
    if source in PACKAGES:
        return PACKAGES[source].note
    if run is not None:
        data = without_folders(run.stored.data)
        return f"These are of another run of viewkin, on {run.stored.images:,} images of {data}."
    name, file = split_name(source)
    if name is not None and file is None:
        with suppress(Exception):  # timm may be missing, and its facts are of many forms
            import timm

            known: Any = timm.models.get_pretrained_cfg(name.removeprefix(TIMM))
            if known.license:
                return f"timm states the licence {known.license}."
    return "Their licence is not known here: look where they came from."


def measured_of(model: str, record: RunRecord | None) -> list[Measured]:
    """Give what was measured of a run, the baselines left out; a checkpoint may have other weights than were judged."""
    if record is None or Path(model).suffix == ".ckpt":
        return []
    return [_row(one) for one in record.results if short(one.model) not in BASELINES]


def _row(result: Result) -> Measured:
    data, _, counts = result.data.rpartition(": ")
    place = without_folders(data or counts)
    made = f"`{public_command(result.command)}`" if result.command else f"no command was kept; {_settings(result)}"
    facts = [made, *([f"seed {result.seed}"] if result.seed is not None else [])]
    facts += [f"commit {result.commit}"] if result.commit else []
    return Measured(
        what=f"{result.protocol}, {result.model}",
        data=f"{place}: {counts}" if data else place,
        values=", ".join(f"{name} {value:.2f}" for name, value in result.values.items()),
        made_by=", ".join(facts),
    )


def _settings(result: Result) -> str:
    """Write the settings of an evaluation, paths without their folders."""
    return "settings " + " ".join(f"{name}={without_folders(str(value))}" for name, value in result.settings.items())


def public_command(command: str) -> str:
    """Write a command without the folders that its files lie in."""
    try:
        words = shlex.split(command)
    except ValueError:
        words = command.split()
    return shlex.join(without_folders(word) for word in words)


def without_folders(word: str) -> str:
    """Write a path, or an option with one, without its folders; other words stay as they are."""
    start, sign, rest = word.partition("=")
    if sign and word.startswith("--"):
        return f"{start}={without_folders(rest)}"
    if sign and os.sep in rest and os.sep not in start:  # --set init.source=/home/me/run
        return f"{start}={without_folders(rest)}"
    name, file = split_name(word)
    if name is not None:
        return f"{name}:{without_folders(file)}" if file else name
    return Path(word).name or word if os.sep in word else word
