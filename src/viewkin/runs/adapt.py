"""Recipes that fit images and machine, and recipes shrunk to try."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import replace
from typing import Any

import torch

from viewkin.data.dataset import Survey
from viewkin.nets.amdim import AMDIM_SIDES, least_rkhs
from viewkin.nets.backbone import TIMM, build_backbone
from viewkin.nets.held import stages_of
from viewkin.runtime.errors import UserError
from viewkin.runtime.processor import has_bf16
from viewkin.settings import with_values
from viewkin.training.config import AugmentConfig, Recipe
from viewkin.training.fabric import accelerator_of

SMOKE_IMAGES = 256
"""Images that a smoke test trains on."""
SEEN_ON_CPU, SEEN_ON_GPU = 800_000, 20_000_000
"""Images that a fitted run sees over all epochs: 20 to 60 minutes on two cores, two hours on one large GPU. A processor
without bfloat16 sees half as many in that time."""
FEW = 20_000
"""Below this number of images, pretrained weights are suggested."""
SMALLEST_PHOTO = 48
"""Shorter side of images below which weights of photographs fit badly, pixels."""
FROM_WEIGHTS_ON_CPU, FROM_WEIGHTS_ON_GPU = 50_000, 2_000_000
"""The same for a run that starts from weights, which needs less and mostly trains larger networks."""
FROZEN = 2 / 3
"""Share of the stages that such a run leaves as they are without a GPU: it costs half, and no accuracy was lost."""
DEMO_SHARE = 8
"""A demonstration sees this many times fewer."""


def with_epochs(recipe: Recipe, epochs: int) -> Recipe:
    """Train for another number of epochs; milestones and warm-up keep their share of the run."""
    if epochs < 1:
        raise UserError(f"schedule.epochs is {epochs}; it must be at least 1.")
    return replace(recipe, schedule=recipe.schedule.scaled(epochs))


def adapted(recipe: Recipe, survey: Survey, given: Set[str], *, demo: bool) -> tuple[Recipe, list[str]]:
    """Fit size, network, batch and epochs to the images and the machine, but for what is ``given`` by path.

    Returns:
        The recipe, and a sentence for each choice.
    """
    cpu = accelerator_of(recipe.runtime) == "cpu"
    chosen, notes = _network(recipe, survey.shorter_side, cpu, given)
    if "data.batch_size" not in given:
        # Too few steps an epoch teach little: at least four, as far as batches stay useful.
        fitting = [n for n in (256, 128, 64, 32) if 4 * n <= survey.count and n <= recipe.data.batch_size]
        chosen["data.batch_size"] = fitting[0] if fitting else 16
    started = recipe.init.source is not None
    if started and cpu and "init.frozen" not in given:
        with torch.device("meta"):
            stages = len(stages_of(build_backbone(recipe.backbone)))
        chosen["init.frozen"] = round(FROZEN * stages)
        notes.append(
            f"The first {chosen['init.frozen']} of the network's {stages} stages are not trained, as there is no GPU "
            "(--set init.frozen=0 trains all)."
        )
    recipe = with_values(recipe, chosen)
    if "schedule.epochs" not in given:
        recipe = with_epochs(recipe, epochs := _epochs(survey.count, cpu=cpu, demo=demo, started=started))
        notes.append(f"{epochs} epochs, to see about {_rounded(epochs * survey.count)} images (--epochs).")
    return recipe, notes


def _epochs(count: int, *, cpu: bool, demo: bool, started: bool) -> int:
    """Choose how often each image is seen."""
    if started:
        return round(min(max((FROM_WEIGHTS_ON_CPU if cpu else FROM_WEIGHTS_ON_GPU) / count, 3), 30 if cpu else 200))
    seen = (SEEN_ON_CPU if cpu else SEEN_ON_GPU) // (DEMO_SHARE if demo else 1)
    seen //= 2 if cpu and not has_bf16() else 1
    return round(min(max(seen / count, 10 if cpu else 20), 400 if cpu else 800))


def suggested_start(survey: Survey) -> list[str]:
    """Suggest to start from weights, where images are few and large enough for a network of photographs."""
    if survey.count >= FEW or 0 < survey.shorter_side < SMALLEST_PHOTO:
        return []
    return [
        f"With fewer than {FEW:,} images, features are better sooner if training starts from pretrained weights: "
        "--init efficientnet_lite0, or another file of weights."
    ]


def _network(recipe: Recipe, side: int, cpu: bool, given: Set[str]) -> tuple[dict[str, Any], list[str]]:
    """Choose image size, stem and width: path to value, and sentences."""
    chosen: dict[str, Any] = {}
    notes: list[str] = []
    if recipe.backbone.name in AMDIM_SIDES:
        return _amdim_network(recipe, cpu, given)
    size, slow = recipe.augment.image_size, " and there is no GPU" if cpu else ""
    ours = not recipe.backbone.name.startswith(TIMM)
    if "augment.image_size" not in given:
        sizes = (32, 64, 96) if cpu else (32, 64, 96, 128, 224)
        size = min(sizes, key=lambda s: abs(s - side)) if 0 < side < sizes[-1] else sizes[-1]
        chosen["augment.image_size"] = size
        notes.append(f"Images of {size} px, as the shorter side is {side} px{slow} (--image-size).")
        if cpu and ours and "augment.view_size" not in given:
            chosen["augment.view_size"] = 3 * size // 4  # half the work (docs/decisions/0003)
    if not ours:
        return chosen, notes
    small = size <= 64
    if "backbone.stem" not in given:
        chosen["backbone.stem"] = "small" if small else "imagenet"
    if cpu and "backbone.width" not in given:
        # The small stem keeps the full resolution, which costs fifteen times as much a pixel.
        chosen["backbone.width"] = 16 if chosen.get("backbone.stem", recipe.backbone.stem) == "small" else 32
        full = f"--set backbone.width={recipe.backbone.width} for the full one"
        notes.append(f"A narrow network of width {chosen['backbone.width']}, as there is no GPU ({full}).")
    return chosen, notes


def _amdim_network(recipe: Recipe, cpu: bool, given: Set[str]) -> tuple[dict[str, Any], list[str]]:
    """The same for one of AMDIM's encoders, each of which takes one size."""
    chosen: dict[str, Any] = {}
    notes: list[str] = []
    name = recipe.backbone.name
    if "augment.image_size" not in given:
        chosen["augment.image_size"] = AMDIM_SIDES[name]
        notes.append(f"Images of {AMDIM_SIDES[name]} px, the only ones that {name} takes.")
    narrow = {"backbone.width": 16, "backbone.rkhs": 256, "backbone.depth": 1}
    if cpu and not given & narrow.keys():
        chosen |= narrow
        full = f"--set backbone.width={recipe.backbone.width} for the full one, with backbone.rkhs and backbone.depth"
        notes.append(f"A narrow network of width 16, as there is no GPU ({full}).")
    return chosen, notes


def _rounded(count: int) -> str:
    return f"{round(count, 1 - len(str(count))):,}"


def _small_views(augment: AugmentConfig) -> dict[str, Any]:
    """Views of at most 64 pixels: path to value."""
    view = None if augment.view_size is None else min(augment.view_size, 64)
    return {"augment.image_size": min(augment.image_size, 64), "augment.view_size": view}


def smoked(recipe: Recipe, given: Set[str]) -> Recipe:
    """Shrink a recipe so that it ends within a minute on two cores and still writes every file."""
    augment, values = recipe.augment, dict[str, Any]()
    if not recipe.backbone.name.startswith(TIMM):
        values["backbone.width"] = 8
        if recipe.backbone.name in AMDIM_SIDES:
            width = recipe.backbone.width if "backbone.width" in given else values["backbone.width"]
            values |= {"backbone.rkhs": least_rkhs(recipe.backbone.name, width), "backbone.depth": 1}
        else:
            values |= _small_views(augment)
    elif recipe.backbone.any_size:
        values |= _small_views(augment)
    values["data.batch_size"] = min(recipe.data.batch_size, 32)
    values["data.accumulate"] = min(recipe.data.accumulate, 2)
    values["schedule.rounds"] = 1
    values["runtime.log_every"] = 2
    recipe = with_values(recipe, {path: value for path, value in values.items() if path not in given})
    return recipe if "schedule.epochs" in given else with_epochs(recipe, 2)
