"""From what the user said to the whole typed recipe, with a sentence for everything chosen for them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from viewkin.data.class_selection import beyond
from viewkin.data.dataset import Images, Survey
from viewkin.nets.backbone_place import exists
from viewkin.nets.resnet import RESNETS
from viewkin.recipes.catalogue import RECIPES, recipe_named
from viewkin.runs.adapt import SMOKE_IMAGES, adapted, smoked, suggested_start, with_epochs
from viewkin.runs.method_expression import with_method
from viewkin.runs.run_settings import read_run_settings
from viewkin.runs.starting_weights import with_start
from viewkin.runtime.errors import UserError, require
from viewkin.schedules import Progress
from viewkin.settings import Limit, read_assignment, setting_paths, with_value, with_values
from viewkin.training.config import Recipe, delays, nested
from viewkin.training.fabric import processes

DEFAULT_RECIPE, FROM_WEIGHTS = "photos", "photos_from_weights"
"""The recipes for a user who names none, without and with weights to start from."""
EPOCHS = "schedule.epochs"


@dataclass(frozen=True, kw_only=True)
class TrainRequest:
    """What was asked for; None leaves the choice to the recipe and the data."""

    data: Images
    """Images: a folder, Parquet, an archive's folder, a list of paths, pictures or arrays, or ``generated``."""
    recipe: str | Recipe | None = None
    """Name in the catalogue, a ``recipe.json``, a run directory, or a recipe itself."""
    method: str | None = None
    """Method to put in the recipe's place: ``moco``, ``eir(interclr(byol))``."""
    out: Path | None = None
    """Run directory."""
    resume: bool = False
    """Go on with the run in ``out``."""
    auto_resume: bool = False
    """Start a run, or go on with the one in ``out`` if there is one; a finished one is left alone."""
    accept_changes: bool = False
    """Go on although images were added, removed or changed, where the method keeps no row for each image."""
    smoke: bool = False
    """Shrink everything to end within a minute."""
    demo: bool = False
    """Fit the run into a few minutes; an earlier demonstration in ``out`` is replaced."""
    epochs: int | None = None
    """Epochs; the schedule keeps its shape."""
    batch_size: int | None = None
    """Images of one optimiser step."""
    backbone: str | None = None
    """Network, such as ``resnet18`` or ``timm/vit_tiny_patch16_224``."""
    init: str | None = None
    """Weights to start from: a run, a file, ``timm/NAME``, ``efficientnet_lite0``."""
    image_size: int | None = None
    """Side of the images, pixels."""
    seed: int | None = None
    """Run seed."""
    image_column: str | None = None
    """Column of Parquet files that holds the images."""
    label_column: str | None = None
    """Column of Parquet files that holds the labels."""
    labels: bool | None = None
    """Whether to take labels from folders, columns and annotations."""
    settings: tuple[str, ...] = ()
    """``path=value`` each."""

    @property
    def flags(self) -> dict[str, Any]:
        """Path to value of the settings that have a flag of their own and were given."""
        values = {
            "data.batch_size": self.batch_size,
            "backbone.name": self.backbone,
            "init.source": self.init,
            "augment.image_size": self.image_size,
            "seed": self.seed,
            EPOCHS: self.epochs,
            "data.image_column": self.image_column,
            "data.label_column": self.label_column,
            "data.labels": self.labels,
        }
        return {path: value for path, value in values.items() if value is not None}


@dataclass(frozen=True)
class Resolved:
    """A recipe ready to run, and how it came about."""

    recipe: Recipe
    explicit: frozenset[str]
    """Paths that the user set: these are refused where they do not fit, never changed."""
    notes: tuple[str, ...]
    """Sentences on what was chosen."""
    smoke: bool
    """Whether to train on few of the images."""


def resolve(request: TrainRequest, survey: Survey) -> Resolved:
    """Choose and adjust a recipe.

    Raises:
        UserError: an unknown recipe or setting, or a value out of range.
    """
    recipe, smoke = started(request)
    if request.method is not None:
        recipe = with_method(recipe, request.method)
    given = request.flags
    for setting in request.settings:
        path, value = read_assignment(recipe, setting)
        given[path] = value
    if EPOCHS in given:  # first, so that milestones and warm-up may be given beside it
        recipe = with_epochs(recipe, given[EPOCHS])
    recipe = with_values(recipe, {path: value for path, value in given.items() if path != EPOCHS})
    recipe, settled, started_from = with_start(recipe, given.keys())
    notes: list[str] = []
    if request.recipe is None:
        recipe, notes = adapted(recipe, survey, settled, demo=request.demo)
        chooses = not any(path.startswith("backbone.") for path in given)
        if recipe.init.source is None and chooses and not request.demo and not smoke:
            notes += suggested_start(survey)
    if smoke:
        recipe = smoked(recipe, settled)
        notes = [f"A smoke test: every size shrunk, {SMOKE_IMAGES} images at most."]
    notes = [*started_from, *notes]
    _check_ramps(recipe, given)
    split = recipe.data.split
    if split not in survey.splits and "data.split" not in given:
        recipe = with_value(recipe, "data.split", "train")
        notes.append(f"The train split is used, as there is no split {split}.")
    classes = recipe.data.classes
    if classes is not None and "data.classes" not in given:
        if beyond(classes, survey.classes):
            recipe = with_value(recipe, "data.classes", None)
            notes.append(f"All images are used, as there are no classes {classes}.")
        else:
            notes.append(f"Images of the classes {classes} alone are used (--set data.classes=none: all).")
    return Resolved(recipe, frozenset(given), tuple(notes), smoke)


def _check_ramps(recipe: Recipe, given: Mapping[str, Any]) -> None:
    """Refuse a ramp that would keep a term out to the end."""
    epochs = recipe.schedule.epochs
    last = Progress(epochs=epochs, round=recipe.schedule.rounds - 1)
    ramps = {path: length for path, length in delays(recipe.method, last).items() if ".ramp." in path}
    for path, length in ramps.items():
        why = f"less, as the term would begin after {length:g} epochs of {epochs}"
        require(path not in given or length < epochs, path, given.get(path), why)


def started(request: TrainRequest) -> tuple[Recipe, bool]:
    """Find the recipe to start from, and whether to make a smoke test of it."""
    if isinstance(request.recipe, Recipe):
        return request.recipe, request.smoke
    usual = DEFAULT_RECIPE if request.init is None else FROM_WEIGHTS
    name = usual if request.recipe is None else request.recipe
    if name not in RECIPES and exists(name) and (name.endswith(".json") or Path(name).is_dir()):
        stored = read_run_settings(Path(name))
        return stored.recipe, stored.smoke or request.smoke
    return recipe_named(name), request.smoke


def fit_to_data(resolved: Resolved, count: int) -> Resolved:
    """Shrink defaults that ``count`` images do not allow; refuse explicit values that they do not allow.

    Raises:
        UserError: an explicit value is too large, or there are too few images to train on at all.
    """
    recipe, notes = resolved.recipe, list(resolved.notes)
    parts, least, why = batch_parts(recipe)
    if count < least:
        few = f"{count} images are too few, as a batch must have {least} at least ({why})"
        raise UserError(f"{few}; add images, or lower one of these.")
    whole = Limit(count // parts * parts, "the images of the set")
    recipe, notes = _limited(recipe, "data", {"batch_size": whole}, resolved.explicit, notes)
    size = recipe.data.batch_size
    if size % parts or size < least:
        if "data.batch_size" in resolved.explicit or size < least:
            raise UserError(f"data.batch_size is {size}; it must be a multiple of {parts}, {least} at least ({why}).")
        recipe = with_value(recipe, "data.batch_size", size // parts * parts)
        notes.append(f"The batch is {recipe.data.batch_size} instead of {size}, a multiple of {parts} ({why}).")
    limits = recipe.method.limits(count, recipe.data.batch_size)
    recipe, notes = _limited(recipe, "method", limits, resolved.explicit, notes)
    recipe, notes = _lasting(recipe, frozenset() if resolved.smoke else resolved.explicit, notes)
    recipe, notes = _chosen(recipe, count, notes)
    return Resolved(recipe, resolved.explicit, tuple(notes), resolved.smoke)


def _chosen(recipe: Recipe, count: int, notes: list[str]) -> tuple[Recipe, list[str]]:
    """Put in what a method, and each that it wraps, chooses by the number of images where that is left open."""
    for path, method in nested(recipe.method):
        for name, (value, why) in method.choices(count).items():
            recipe = with_value(recipe, f"{path}.{name}", value)
            notes = [*notes, f"{path}.{name} is {value}, as {why}."]
    return recipe, notes


def _lasting(recipe: Recipe, explicit: frozenset[str], notes: list[str]) -> tuple[Recipe, list[str]]:
    """Leave every part of a method, and of each that it wraps, some epochs to act in; a smoke test shrinks instead."""
    schedule = recipe.schedule
    for path, method in nested(recipe.method):
        recipe, notes = _limited(recipe, path, method.lasting(schedule.epochs, schedule.rounds), explicit, notes)
    return recipe, notes


def batch_parts(recipe: Recipe) -> tuple[int, int, str]:
    """Say what the batch must be a multiple of, how large it must be, and why."""
    shares = processes(recipe.runtime)[0] * recipe.data.accumulate
    norms = (str(value) for path, value in setting_paths(recipe).items() if path.endswith("norm"))
    groups = math.lcm(*(int(norm.removeprefix("split:")) for norm in norms if norm.startswith("split:")))
    parts = shares * groups
    # BatchNorm has no statistics of a single value: a head's of a row, a network's of a row whose last map is 1x1.
    least = max(parts, 2 * shares) if last_map(recipe) > 1 else 2 * parts
    return parts, least, "processes x data.accumulate x groups of norm=split"


def last_map(recipe: Recipe) -> int:
    """Side of a ResNet's last map, positions; of other networks nobody knows: 2."""
    if recipe.backbone.name not in RESNETS:
        return 2
    return -(-recipe.augment.side // (8 if recipe.backbone.stem == "small" else 32))


def _limited(
    recipe: Recipe, owner: str, limits: Mapping[str, Limit], explicit: frozenset[str], notes: list[str]
) -> tuple[Recipe, list[str]]:
    for name, limit in limits.items():
        path = f"{owner}.{name}"
        value = setting_paths(recipe)[path]
        if value is None or (max(value) if isinstance(value, tuple) else value) <= limit.largest:
            continue
        if path in explicit:
            raise UserError(f"{path} is {value}, more than {limit.why} allow; use at most {limit.largest}.")
        instead = limit.largest if limit.instead is None else limit.instead
        recipe = with_value(recipe, path, instead)
        notes = [*notes, f"{path} is {instead} instead of {value}, more than {limit.why} allow."]
    return recipe, notes
