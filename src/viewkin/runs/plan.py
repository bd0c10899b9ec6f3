"""Plan a run: from a request and images to settings, a directory, and what will be said."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from viewkin.data.dataset import generated_config, is_generated, survey
from viewkin.data.source import Source
from viewkin.runs.images import opened
from viewkin.runs.resolve import Resolved, TrainRequest, fit_to_data, resolve
from viewkin.runs.run_settings import RunSettings, read_run_settings
from viewkin.runtime.errors import UserError
from viewkin.runtime.wording import counted
from viewkin.settings import with_text
from viewkin.training.config import Recipe

LEFT = ("last.ckpt", "best.ckpt", "backbone.safetensors", "metrics.jsonl", "report.html")
"""Files that only a run that began leaves."""


@dataclass(frozen=True)
class Plan:
    """A run that can start."""

    out: Path
    """Run directory."""
    stored: RunSettings
    """What ``recipe.json`` says, or will say."""
    source: Source
    """The images to train on."""
    notes: tuple[str, ...]
    """Sentences to print before."""


def planned(request: TrainRequest) -> Plan:
    """Plan a new run.

    Raises:
        UserError: the request, the images and the place do not go together.
    """
    check_place(request)
    found = survey(request.data)
    resolved = resolve(request, found)
    source = opened(request.data, resolved.recipe, found, smoke=resolved.smoke)
    resolved = fit_to_data(resolved, len(source))
    recipe, smoke = resolved.recipe, resolved.smoke
    stored = RunSettings(data=request.data, images=len(source), recipe=recipe, smoke=smoke, demo=request.demo)
    out = request.out or free_directory(request.data, recipe)
    return Plan(out, stored, source, (*announced(request, resolved, source), *source.notes))


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
    if is_generated(request.data) and is_generated(stored.data):
        wanted, before = (generated_config(data, None) for data in (request.data, stored.data))
        if wanted != before:  # their images have the same names
            raise UserError(f"The run was trained on {stored.data}, not {request.data}; name the same images.")
    for setting in request.settings:
        stored = replace(stored, recipe=with_text(stored.recipe, setting))
    source = opened(request.data, stored.recipe, survey(request.data), smoke=stored.smoke)
    if len(source) != stored.images:
        raise UserError(
            f"The run was trained on {stored.images:,} images, not on the {len(source):,} of {request.data}; name the "
            "same images."
        )
    return Plan(request.out, stored, source, (f"Going on with {stored.recipe.name} in {request.out}.",))


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
        if Path(request.data).exists() and out.samefile(request.data):
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


def free_directory(data: str, recipe: Recipe) -> Path:
    """Choose ``runs/<recipe>-<data>``, with a number behind it when that is taken."""
    stem = "generated" if is_generated(data) else Path(data).resolve().name or "images"
    base = Path("runs") / f"{recipe.name}-{stem}"
    numbers = (base if n == 1 else base.with_name(f"{base.name}-{n}") for n in range(1, 10_000))
    return next(path for path in numbers if not path.exists())
