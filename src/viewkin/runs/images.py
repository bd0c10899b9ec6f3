"""The images of a run, opened at the size that its network wants."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from viewkin.data.cache import default_folder
from viewkin.data.class_selection import with_classes
from viewkin.data.dataset import Dataset
from viewkin.data.reading import Reading
from viewkin.data.source import Source
from viewkin.encode.model import stored_size
from viewkin.runs.adapt import SMOKE_IMAGES
from viewkin.runtime.draws import generator_for
from viewkin.settings import with_text
from viewkin.training.config import Recipe
from viewkin.training.fabric import processes


def reading_of(recipe: Recipe, flags: Mapping[str, Any], settings: Sequence[str]) -> Reading:
    """Find out how a set is to be read before the recipe is fitted to it.

    Args:
        recipe: what is begun with.
        flags: path to value of settings that were given by a flag.
        settings: ``path=value`` texts, which go before flags.

    Raises:
        UserError: a value of the wrong type.
    """
    names = set(vars(recipe.data.reading))
    given = {name: flags[f"data.{name}"] for name in names if f"data.{name}" in flags}
    recipe = replace(recipe, data=replace(recipe.data, **given))
    for setting in settings:
        path, _, value = setting.partition("=")
        owner, _, name = path.strip().rpartition(".")
        if owner == "data" and name in names:
            recipe = with_text(recipe, f"data.{name}={value}")
    return recipe.data.reading


def as_read(recipe: Recipe, dataset: Dataset, source: Source) -> Recipe:
    """Write into a recipe how its images were read: the columns that were named, and the range of values."""
    named = {name: value for name, value in vars(dataset.reading).items() if value is not None}
    if source.value_range is not None:
        named["value_range"] = source.value_range
    return replace(recipe, data=replace(recipe.data, **named))


def open_training_images(dataset: Dataset, recipe: Recipe, *, smoke: bool) -> Source:
    """Open the images to train on; of several processes one at a time, so that the others find its cache."""
    split = recipe.data.split
    size = recipe.data.stored_size or stored_size(dataset.survey(split), recipe.augment.image_size)
    squash, workers = recipe.augment.chosen().squash, recipe.runtime.workers
    with in_turn(processes(recipe.runtime)[0]):
        source = dataset.source(split, size=size, squash=squash, workers=workers, value_range=recipe.data.value_range)
    if recipe.data.classes is not None:
        source = with_classes(source, recipe.data.classes)
    return few(source, SMOKE_IMAGES) if smoke else source


@contextlib.contextmanager
def in_turn(world: int) -> Generator[None]:
    """Hold a lock beside the cache while other processes of the run wait, where the system has such locks."""
    if world == 1:
        yield
        return
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(ImportError, OSError):
            import fcntl

            folder = default_folder()
            folder.mkdir(parents=True, exist_ok=True)
            fcntl.flock(stack.enter_context((folder / "lock").open("w")), fcntl.LOCK_EX)
        yield


def few(source: Source, count: int) -> Source:
    """Take ``count`` images at most, of all classes alike, always the same."""
    if len(source) <= count:
        return source
    return source.subset(torch.randperm(len(source), generator=generator_for(0, "few"))[:count].sort().values)
