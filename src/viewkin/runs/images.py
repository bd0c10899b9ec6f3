"""The images of a run, opened at the size that its network wants."""

from __future__ import annotations

import contextlib
from collections.abc import Generator

import torch

from viewkin.data.cache import default_folder
from viewkin.data.class_selection import with_classes
from viewkin.data.dataset import Dataset
from viewkin.data.source import Source
from viewkin.encode.model import stored_size
from viewkin.runs.adapt import SMOKE_IMAGES
from viewkin.runtime.draws import generator_for
from viewkin.training.config import Recipe
from viewkin.training.fabric import processes


def open_training_images(dataset: Dataset, recipe: Recipe, *, smoke: bool) -> Source:
    """Open the images to train on; of several processes one at a time, so that the others find its cache."""
    split = recipe.data.split
    size = recipe.data.stored_size or stored_size(dataset.survey(split), recipe.augment.image_size)
    squash, workers = recipe.augment.chosen().squash, recipe.runtime.workers
    with in_turn(processes(recipe.runtime)[0]):
        source = dataset.source(split, size=size, squash=squash, workers=workers)
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
