"""Plan a run: from a request and images to settings, a directory, and what will be said."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

from viewkin.data.dataset import Dataset
from viewkin.data.frozen_listing import FrozenListing, differences, read_listing
from viewkin.data.source import Source
from viewkin.runs.images import open_training_images
from viewkin.runs.resolve import Resolved, TrainRequest, fit_to_data, resolve
from viewkin.runs.run_settings import RunSettings, read_run_settings
from viewkin.runtime.errors import UserError
from viewkin.runtime.wording import counted
from viewkin.settings import with_text
from viewkin.training.config import Recipe

LISTING = "images.parquet"
"""The run's own list of its images: position to key and content id."""
LEFT = ("last.ckpt", "best.ckpt", "backbone.safetensors", "metrics.jsonl", "report.html")
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
    """Sentences to print before."""


def planned(request: TrainRequest) -> Plan:
    """Plan a new run.

    Raises:
        UserError: the request, the images and the place do not go together.
    """
    check_place(request)
    dataset = Dataset.of(request.data)
    resolved = resolve(request, dataset.survey())
    source = open_training_images(dataset, resolved.recipe, smoke=resolved.smoke)
    resolved = fit_to_data(resolved, len(source))
    recipe, smoke = resolved.recipe, resolved.smoke
    stored = RunSettings(
        data=dataset.name, address=dataset.address, images=len(source), recipe=recipe, smoke=smoke, demo=request.demo
    )
    out = request.out or free_directory(dataset, recipe)
    return Plan(out, stored, dataset, source, (*announced(request, resolved, source), *source.notes))


def reopened(request: TrainRequest) -> Plan:
    """Take up a stored run: its recipe decides; only ``runtime`` settings may change.

    Raises:
        UserError: no ``--out``, no run there, other images, or a setting that would change the result.
    """
    if request.out is None:
        raise UserError("--resume needs --out DIR, the directory of the run to go on with.")
    stored = read_run_settings(request.out)
    flags = ("recipe", "method", "epochs", "batch_size", "backbone", "image_size", "seed")
    fixed = [f"--{name.replace('_', '-')}" for name in flags if getattr(request, name) is not None]
    fixed += ["--smoke"] * (request.smoke and not stored.smoke)
    fixed += [f"--set {setting}" for setting in request.settings if not setting.strip().startswith("runtime.")]
    if fixed:
        raise UserError(f"{fixed[0]} would change the run that is resumed; leave it out, or start a new run.")
    for setting in request.settings:
        stored = replace(stored, recipe=with_text(stored.recipe, setting))
    dataset = Dataset.of(request.data)
    source = open_training_images(dataset, stored.recipe, smoke=stored.smoke)
    check_same_images(request.out, stored, dataset, source)
    notes = [f"Going on with {stored.recipe.name} in {request.out}."]
    if not (request.out / LISTING).is_file():
        notes.append("The run keeps no list of its images, as older versions did not; their number alone was checked.")
    return Plan(request.out, stored, dataset, source, tuple(notes))


def check_same_images(out: Path, stored: RunSettings, dataset: Dataset, source: Source) -> None:
    """Refuse images that are not those a run was trained on.

    Raises:
        UserError: there are others; what differs is named.
    """
    same = "name the same images, or start a new run"
    if (out / LISTING).is_file():
        now = FrozenListing(list(source.keys), dataset.content_ids(stored.recipe.data.split, keys=source.keys))
        different = differences(read_listing(out / LISTING), now)
        if different:
            raise UserError(
                f"The images of {dataset.name} are not those of the run: {different.sentence().rstrip('.')}; {same}."
            )
    elif len(source) != stored.images:
        raise UserError(
            f"The run was trained on {stored.images:,} images, not on the {len(source):,} of {dataset.name}; {same}."
        )


def check_place(request: TrainRequest) -> None:
    """Refuse a run directory that is taken or cannot be made, before anything is read.

    Raises:
        UserError: it is.
    """
    out = request.out or Path("runs")
    if request.out is not None and out.is_dir():
        if request.demo and any(out.iterdir()) and not ((out / "recipe.json").exists() and read_run_settings(out).demo):
            raise UserError(f"{out} exists and is no demo's directory; name another --out.")
        if not request.demo and any((out / name).exists() for name in LEFT):
            resume = "add --resume to go on with it, or " if (out / "last.ckpt").exists() else ""
            raise UserError(f"{out} already holds a run; {resume}choose another --out.")
        if isinstance(request.data, (str, Path)) and Path(request.data).exists() and out.samefile(request.data):
            raise UserError(f"--out {out} is the folder of the images; name another one.")
    place = next(path for path in (out.absolute(), *out.absolute().parents) if path.exists())
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        why = "no folder" if not place.is_dir() else "not yours to write"
        raise UserError(f"{out} cannot be made, because {place} is {why}; name another --out.")


def announced(request: TrainRequest, resolved: Resolved, source: Source) -> list[str]:
    """Sentences that say what will happen."""
    recipe = resolved.recipe
    chosen = "" if request.recipe else " (the default; see 'viewkin recipes')"
    steps = len(source) // recipe.data.batch_size
    return [
        f"Recipe {recipe.name}{chosen}: {recipe.about}.",
        *resolved.notes,
        f"Training {recipe.backbone.name} for {counted(recipe.schedule.epochs, 'epoch')} of {counted(steps, 'step')} "
        f"on {len(source):,} images of {source.name}, views of {recipe.augment.side} px, "
        f"batches of {recipe.data.batch_size}.",
    ]


def free_directory(dataset: Dataset, recipe: Recipe) -> Path:
    """Choose ``runs/<recipe>-<data>``, with a number behind it when that is taken."""
    name = dataset.name.partition(":")[0]
    stem = re.sub(r"[^\w.-]+", "-", Path(name).resolve().name) or "images"
    base = Path("runs") / f"{recipe.name}-{stem}"
    numbers = (base if n == 1 else base.with_name(f"{base.name}-{n}") for n in range(1, 10_000))
    return next(path for path in numbers if not path.exists())
