"""The weights that a run starts from: put into its recipe, loaded, kept in its directory."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from viewkin.augment.views import test_view
from viewkin.data.source import Source
from viewkin.nets.backbone import BackboneConfig
from viewkin.nets.backbone_place import exists
from viewkin.nets.held import held_norms, hold_statistics
from viewkin.nets.pretrained import Pretrained, of_backbone, read_pretrained
from viewkin.runs.models import backbone_of
from viewkin.runtime.draws import generator_for
from viewkin.runtime.errors import UserError
from viewkin.settings import below, with_values
from viewkin.training.config import Recipe, nested

RECALIBRATED = 2048
"""Images at most by which BatchNorm's statistics are computed anew."""
STATISTICS = {
    "held": "BatchNorm keeps its statistics, as computing them anew on other images costs accuracy",
    "trained": "BatchNorm's statistics follow the images (--set init.statistics=held keeps them)",
    "recalibrated": "BatchNorm's statistics are computed anew on the images, then kept",
}


def with_start(recipe: Recipe, given: Set[str]) -> tuple[Recipe, Set[str], list[str]]:
    """Fit a recipe to the weights that it starts from; one without any stays as it is.

    Args:
        recipe: its ``init.source`` names the weights.
        given: paths that the user set.

    Returns:
        The recipe; paths that are settled by the weights, and those given; sentences.

    Raises:
        UserError: nothing is there, or the user's settings are those of another network.
    """
    source = recipe.init.source
    if source is None:
        lone = next((path for path in given if path.startswith("init.")), None)
        if lone is not None:
            raise UserError(f"{lone} means nothing without weights to start from; add --init SOURCE.")
        return recipe, given, []
    if source == "":
        raise UserError("--init names no weights; give a run, a file of weights, timm/NAME or efficientnet_lite0.")
    start = read_start(source, recipe.backbone.name if "backbone.name" in given else None)
    check_same_weights(recipe, start)
    backbone = replace(start.config, norm=recipe.backbone.norm if "backbone.norm" in given else "batch")
    _check_network(recipe, backbone, source, given)
    place = str(Path(source).absolute()) if exists(source) else source
    # The whole network at once: its settings are only valid together.
    recipe = replace(recipe, backbone=backbone)
    chosen: dict[str, Any] = {"init.source": place, "init.weights": start.fingerprint}
    usual: dict[str, Any] = {"augment.mean": start.mean, "augment.std": start.std}
    if start.only_size:
        usual["augment.image_size"] = start.size
    if "squash" in start.extra:
        usual["augment.squash"] = start.extra["squash"]
    if recipe.init.weights is None:  # weights find few kin at sides that they do not know
        for owner, method in nested(recipe.method):
            for path, side in below(owner, method.sizes()).items():
                usual[path] = None if start.only_size else min(side, start.size)
    chosen |= {path: value for path, value in usual.items() if path not in given}
    settled = {f"backbone.{name}" for name in asdict(backbone)} | chosen.keys() | given
    statistics = f"{STATISTICS[recipe.init.statistics]}."
    return (
        with_values(recipe, chosen),
        settled,
        [f"Training starts from {source}: {backbone.name}. {statistics} {start.note}".strip()],
    )


def read_start(source: str, backbone: str | None) -> Pretrained:
    """Read weights to start from; of a run's directory, what is not damaged.

    Raises:
        UserError: nothing is there, or it does not fit the network.
    """
    path = Path(source)
    return of_backbone(source, backbone_of(path)) if path.is_dir() else read_pretrained(source, backbone)


def check_same_weights(recipe: Recipe, start: Pretrained) -> None:
    """Refuse weights that are not those of a recipe that was run before.

    Raises:
        UserError: they are others.
    """
    if recipe.init.weights not in (None, start.fingerprint):
        raise UserError(
            f"The weights {start.name} are not those that the recipe was run with; name the old ones with --init, or "
            "take these with --set init.weights=none."
        )


def _check_network(recipe: Recipe, backbone: BackboneConfig, source: str, given: Set[str]) -> None:
    for path in sorted(given):
        owner, _, name = path.partition(".")
        if owner == "backbone" and name != "norm" and getattr(recipe.backbone, name) != getattr(backbone, name):
            raise UserError(
                f"{path} is {getattr(recipe.backbone, name)!r}, and the weights {source} are of a network with "
                f"{getattr(backbone, name)!r}; leave it out."
            )


def load_start(recipe: Recipe, backbone: nn.Module, source: Source) -> None:
    """Load the weights that a run starts from into a fresh network.

    Raises:
        UserError: they are gone, or others.
    """
    init = recipe.init
    if init.source is None:
        return
    start = read_start(init.source, recipe.backbone.name)
    check_same_weights(recipe, start)
    backbone.load_state_dict(dict(start.weights))
    if init.statistics == "recalibrated":
        recalibrate(backbone, source, recipe)


@torch.no_grad()
def recalibrate(backbone: nn.Module, source: Source, recipe: Recipe) -> None:
    """Compute BatchNorm's statistics anew: the plain average over batches of test views."""
    view = partial(test_view, size=recipe.augment.image_size, policy=recipe.augment.chosen())
    hold_statistics(backbone)
    norms: set[Any] = held_norms(backbone)
    momenta = {norm: norm.momentum for norm in norms}
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average
    chosen = torch.randperm(len(source), generator=generator_for(recipe.seed, "recalibration"))[:RECALIBRATED]
    backbone.train()
    for index in chosen.split(max(min(recipe.data.batch_size, len(chosen)), 2)):
        if len(index) > 1:
            backbone(view(source.images(index)))
    for norm, momentum in momenta.items():
        norm.momentum = momentum


def averaged(start: dict[str, Tensor], end: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    """Average two state dicts: ``share`` of the first, the rest of the second; counters are the second's."""
    return {
        name: torch.lerp(value, start[name].to(value), share) if value.is_floating_point() else value
        for name, value in end.items()
    }
