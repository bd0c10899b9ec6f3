"""Plan a run: from a request and images to settings, a directory, and what will be said."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from viewkin.data.dataset import Dataset
from viewkin.data.source import Source
from viewkin.runs.directory_lock import LOCK
from viewkin.runs.images import as_read, open_training_images, reading_of
from viewkin.runs.resolve import TrainRequest, fit_to_data, resolve, started
from viewkin.runs.run_settings import RunSettings, read_run_settings
from viewkin.runtime.errors import UserError
from viewkin.runtime.places import remedy, shortened, why_not
from viewkin.runtime.progress import announce
from viewkin.runtime.wording import counted
from viewkin.training.checkpoint import LAST, PREVIOUS, has_checkpoint
from viewkin.training.config import Recipe

LISTING = "images.parquet"
"""The run's own list of its images: position to key and content id."""
LEFT = (LAST, PREVIOUS, "best.ckpt", "backbone.safetensors", "metrics.jsonl", "report.html")
"""Files that only a run that began leaves."""


@dataclass(frozen=True)
class Plan:
    """A run that can start."""

    out: Path
    """Run directory."""
    stored: RunSettings
    """What ``recipe.json`` says, or will say."""
    dataset: Dataset
    """The set that was named."""
    source: Source
    """The images of it to train on."""
    notes: tuple[str, ...]
    """Sentences on what was chosen and left out; they have been said."""
    changed: bool = False
    """Whether a run goes on with other images than it began with."""


def planned(request: TrainRequest) -> Plan:
    """Plan a new run, and say what is chosen as soon as it is known.

    Raises:
        UserError: the request, the images and the place do not go together.
    """
    check_place(request)
    dataset = Dataset.of(request.data, reading_of(started(request)[0], request.flags, request.settings))
    resolved = resolve(request, dataset.survey())
    first = [named(request, resolved.recipe), *resolved.notes]
    announce(*first)
    source = open_training_images(dataset, resolved.recipe, smoke=resolved.smoke)
    resolved = fit_to_data(resolved, len(source))
    then = [
        *source.notes,
        *unguided(dataset, source),
        *(note for note in resolved.notes if note not in first),
        training(resolved.recipe, source),
    ]
    announce(*then)
    recipe, smoke = as_read(resolved.recipe, dataset, source), resolved.smoke
    stored = RunSettings(
        data=dataset.name, address=dataset.address, images=len(source), recipe=recipe, smoke=smoke, demo=request.demo
    )
    out = request.out or free_directory(dataset, recipe)
    return Plan(out, stored, dataset, source, (*first, *then))


def check_place(request: TrainRequest) -> None:
    """Refuse a run directory that is taken or cannot be made, before anything is read.

    Raises:
        UserError: it is.
    """
    out = request.out or Path("runs")
    try:
        there = out.is_dir()
    except OSError as error:
        raise UserError(f"--out {shortened(str(out))} cannot be made ({why_not(error)}): {remedy(error)}.") from None
    if request.out is not None and there:
        mine = (out / "recipe.json").exists() and read_run_settings(out).demo
        if request.demo and any(path.name != LOCK for path in out.iterdir()) and not mine:
            raise UserError(f"{out} exists and is no demo's directory; name another --out.")
        if not request.demo and any((out / name).exists() for name in LEFT):
            resume = "add --resume to go on with it, or " if has_checkpoint(out) else ""
            raise UserError(f"{out} already holds a run; {resume}choose another --out.")
        if isinstance(request.data, (str, Path)) and Path(request.data).exists() and out.samefile(request.data):
            raise UserError(f"--out {out} is the folder of the images; name another one.")
    place = next(path for path in (out.absolute(), *out.absolute().parents) if path.exists())
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        why = "no folder" if not place.is_dir() else "not yours to write"
        raise UserError(f"{out} cannot be made, because {place} is {why}; name another --out.")


def named(request: TrainRequest, recipe: Recipe) -> str:
    """Say which recipe is taken."""
    chosen = "" if request.recipe else " (the default; see 'viewkin recipes')"
    return f"Recipe {recipe.name}{chosen}: {recipe.about}."


def unguided(dataset: Dataset, source: Source) -> list[str]:
    """Say it where nothing tells classes or splits apart."""
    if source.labels is not None or source.targets is not None or dataset.splits != ("train",):
        return []
    ignored = "" if dataset.reading.labels else " (--no-labels)"
    other = "other " * any(note.startswith("Split train of train") for note in source.notes)
    return [f"No labels{ignored} and no {other}splits: every image is for training."]


def training(recipe: Recipe, source: Source) -> str:
    """Say what will be trained, how long and on what."""
    steps = len(source) // recipe.data.batch_size
    return (
        f"Training {recipe.backbone.name} for {counted(recipe.schedule.epochs, 'epoch')} of {counted(steps, 'step')} "
        f"on {len(source):,} images of {source.name}, views of {recipe.augment.side} px, "
        f"batches of {recipe.data.batch_size}."
    )


def free_directory(dataset: Dataset, recipe: Recipe) -> Path:
    """Choose ``runs/<recipe>-<data>``, with a number behind it when that is taken."""
    name = dataset.name.partition(":")[0]
    stem = re.sub(r"[^\w.-]+", "-", Path(name).resolve().name) or "images"
    base = Path("runs") / f"{recipe.name}-{stem}"
    numbers = (base if n == 1 else base.with_name(f"{base.name}-{n}") for n in range(1, 10_000))
    return next(path for path in numbers if not path.exists())
