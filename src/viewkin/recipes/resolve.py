"""From what the user said to the whole typed recipe, with a sentence for everything chosen for them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from viewkin import config
from viewkin.data.opening import Survey
from viewkin.errors import UserError
from viewkin.methods.base import Limit
from viewkin.nets.backbone import TIMM
from viewkin.recipes.catalogue import recipe_named
from viewkin.train.config import Recipe
from viewkin.train.fabric import accelerator_of

SMOKE_IMAGES = 256
"""Images that a smoke test trains on."""


@dataclass(frozen=True, kw_only=True)
class TrainRequest:
    """What was asked for; None leaves the choice to the recipe and the data."""

    data: str
    """Images: a folder, Parquet, an archive's folder, or ``generated``."""
    recipe: str | None = None
    """Name in the catalogue."""
    out: Path | None = None
    """Run directory."""
    resume: bool = False
    """Go on with the run in ``out``."""
    smoke: bool = False
    """Shrink everything to end within a minute."""
    epochs: int | None = None
    """Epochs; the schedule keeps its shape."""
    batch_size: int | None = None
    """Images of one optimiser step."""
    backbone: str | None = None
    """Network, such as ``resnet18`` or ``timm/vit_tiny_patch16_224``."""
    image_size: int | None = None
    """Side of a view, pixels."""
    seed: int | None = None
    """Run seed."""
    settings: tuple[str, ...] = ()
    """``path=value`` each."""


@dataclass(frozen=True)
class Resolved:
    """A recipe ready to run, and how it came about."""

    recipe: Recipe
    explicit: frozenset[str]
    """Paths that the user set: these are refused where they do not fit, never changed."""
    notes: tuple[str, ...]
    """Sentences on what was chosen."""


def resolve(request: TrainRequest, survey: Survey) -> Resolved:
    """Choose and adjust a recipe.

    Raises:
        UserError: an unknown recipe or setting, or a value out of range.
    """
    notes: list[str] = []
    recipe = recipe_named(request.recipe or DEFAULT_RECIPE)
    if request.recipe is None:
        recipe, notes = adapted(recipe, survey)
    flags = {
        "data.batch_size": request.batch_size,
        "backbone.name": request.backbone,
        "augment.image_size": request.image_size,
        "seed": request.seed,
    }
    for path, value in flags.items():
        if value is not None:
            recipe = config.with_value(recipe, path, value)
    explicit = {path for path, value in flags.items() if value is not None}
    if request.epochs is not None:
        recipe = with_epochs(recipe, request.epochs)
        explicit.add("schedule.epochs")
    for setting in request.settings:
        path = setting.partition("=")[0].strip()
        if path == "schedule.epochs":
            recipe = with_epochs(recipe, config.parse(setting.partition("=")[2], int, path))
        else:
            recipe = config.with_text(recipe, setting)
        explicit.add(path)
    if request.smoke:
        recipe = smoked(recipe)
        notes.append(f"Smoke test: {recipe.name} shrunk to {recipe.schedule.epochs} epochs of {SMOKE_IMAGES} images.")
    return Resolved(recipe, frozenset(explicit), tuple(notes))


def with_epochs(recipe: Recipe, epochs: int) -> Recipe:
    """Train for another number of epochs; milestones and warm-up keep their share of the run."""
    if epochs < 1:
        raise UserError(f"schedule.epochs is {epochs}; it must be at least 1.")
    return replace(recipe, schedule=recipe.schedule.scaled(epochs))


DEFAULT_RECIPE = "photos"
"""The recipe for a user who names none."""


def adapted(recipe: Recipe, survey: Survey) -> tuple[Recipe, list[str]]:
    """Fit image size, stem and epochs to the images and the machine."""
    cpu = accelerator_of(recipe.runtime) == "cpu"
    side = survey.shorter_side
    sizes = (32, 64, 96) if cpu else (32, 64, 96, 128, 224)
    size = min(sizes, key=lambda s: abs(s - side)) if side < sizes[-1] else sizes[-1]
    stem = "small" if size <= 64 else "imagenet"
    epochs = round(min(max((1_000_000 if cpu else 20_000_000) / survey.count, 20), 400 if cpu else 800))
    recipe = replace(
        with_epochs(recipe, epochs),
        augment=replace(recipe.augment, image_size=size),
        backbone=replace(recipe.backbone, stem=stem, width=32 if cpu else 64),
    )
    notes = [
        f"Image size {size} (the shorter side is {side} px{', and there is no GPU' if cpu else ''}): --image-size.",
        f"{epochs} epochs of {survey.count:,} images: --epochs.",
    ]
    if cpu:
        notes.append("A half-width ResNet-18, since there is no GPU: --set backbone.width=64 for the full one.")
    return recipe, notes


def smoked(recipe: Recipe) -> Recipe:
    """Shrink a recipe so that it ends within a minute on two cores and still writes every file."""
    small = not recipe.backbone.name.startswith(TIMM)
    return replace(
        with_epochs(replace(recipe, schedule=replace(recipe.schedule, rounds=1)), 2),
        backbone=replace(recipe.backbone, width=8) if small else recipe.backbone,
        augment=replace(recipe.augment, image_size=min(recipe.augment.image_size, 64)) if small else recipe.augment,
        data=replace(recipe.data, batch_size=32, accumulate=min(recipe.data.accumulate, 2)),
        runtime=replace(recipe.runtime, log_every=2),
    )


def fit_to_data(resolved: Resolved, count: int) -> Resolved:
    """Shrink defaults that ``count`` images do not allow; refuse explicit values that they do not allow.

    Raises:
        UserError: an explicit value is too large, or there are too few images to train on at all.
    """
    recipe, notes = resolved.recipe, list(resolved.notes)
    parts = int(os.environ.get("WORLD_SIZE", "1")) * recipe.data.accumulate
    if count < 2 * parts:
        raise UserError(f"{count} images are too few for {parts} parts of a batch; add images or use fewer parts.")
    whole = Limit(count // parts * parts, "the images of the set")
    recipe, notes = _limited(recipe, "data", {"batch_size": whole}, resolved.explicit, notes)
    if recipe.data.batch_size % parts:
        if "data.batch_size" in resolved.explicit:
            raise UserError(
                f"data.batch_size is {recipe.data.batch_size}; it must be a multiple of {parts} "
                "(processes x data.accumulate)."
            )
        recipe = config.with_value(recipe, "data.batch_size", recipe.data.batch_size // parts * parts)
        notes.append(f"The batch is {recipe.data.batch_size}, a multiple of {parts} (processes x data.accumulate).")
    limits = recipe.method.limits(count, recipe.data.batch_size)
    recipe, notes = _limited(recipe, "method", limits, resolved.explicit, notes)
    return Resolved(recipe, resolved.explicit, tuple(notes))


def _limited(
    recipe: Recipe, owner: str, limits: Mapping[str, Limit], explicit: frozenset[str], notes: list[str]
) -> tuple[Recipe, list[str]]:
    for name, limit in limits.items():
        path = f"{owner}.{name}"
        value = getattr(getattr(recipe, owner), name)
        if value <= limit.largest:
            continue
        if path in explicit:
            raise UserError(f"{path} is {value}, more than {limit.why} allow; use at most {limit.largest}.")
        recipe = config.with_value(recipe, path, limit.largest)
        notes = [*notes, f"{path} is {limit.largest} instead of {value}, as {limit.why} allow no more."]
    return recipe, notes
