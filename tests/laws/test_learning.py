"""Law 5: every method learns, so that nearest neighbours are of the same class more often than before and in pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor

from lawbook import GRID, METHODS, recipe_for, trainer_for
from viewkin.augment.policies import policy
from viewkin.augment.views import test_view as seen_at_test
from viewkin.data.formats.generated import GeneratedConfig, open_generated
from viewkin.data.source import Source
from viewkin.evaluation.probes.knn import KnnConfig, knn
from viewkin.methods.base import Method, MethodConfig
from viewkin.optim import OptimConfig, ScheduleConfig
from viewkin.settings import setting_paths, with_values
from viewkin.training.config import AugmentConfig, DataConfig

POINTS = 5.0
"""Percentage points that kNN must gain over the untrained network and over raw pixels."""
SIZE = 24
"""Side of the plain rendered textures, pixels."""


@cache
def textures() -> tuple[Source, Source]:
    """Images to learn from, and others to be judged on."""
    drawn = GeneratedConfig(images=1000, size=SIZE, plain=1)
    return open_generated(drawn), open_generated(replace(drawn, images=2000), "test")


def accuracy(train: Tensor, test: Tensor) -> float:
    """Nearest-neighbour accuracy, percent."""
    sources = textures()
    labels = [source.labels for source in sources]
    assert labels[0] is not None
    assert labels[1] is not None
    return 100 * knn(KnnConfig(k=20), train, labels[0], test, labels[1]).top1[20]


def of_both(features: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """Features of all images: uint8 (B, 3, S, S) -> (B, D)."""
    train, test = (torch.cat([features(images) for _, images in source.blocks(256)]) for source in textures())
    return train, test


@torch.no_grad()
def judged(method: Method) -> float:
    """Accuracy of a method's backbone."""
    method.eval()
    found = of_both(lambda images: method.backbone(seen_at_test(images, size=SIZE, policy=policy("simclr-cifar"))))
    method.train()
    return accuracy(*found)


def with_larger_memories(method: MethodConfig) -> MethodConfig:
    """The lawbook's queues and negatives are of 20 rows, for 24 images; these are for 1,000.

    Its kin are pulled at once; here a graph is there before. Its three clusters would each hold three classes and more.
    """
    tiny = [path for path, value in setting_paths(method).items() if value == 20]
    ramps = [path for path in setting_paths(method) if path.endswith("ramp.share")]
    numbers = (path for path, value in setting_paths(method).items() if isinstance(value, int))
    clusters = [path for path in numbers if path.endswith(("clusters.number", "clusters"))]
    components = [path for path in setting_paths(method) if path == "components"]
    larger = (
        dict.fromkeys(components, 64)
        | dict.fromkeys(tiny, 256)
        | dict.fromkeys(ramps, 0.15)
        | dict.fromkeys(clusters, 40)
    )
    return with_values(method, larger)


FIRST = [
    name if name not in GRID and "-" not in name else pytest.param(name, marks=pytest.mark.grid)
    for name in METHODS
    if name != "dino-crops"
]
"""One form of every method and wrapper; the others belong to the grid.

DINO with crops of 8 of 24 pixels gained 4 points or lost 5, by the seed (``docs/log.md``): such crops hold too little.
"""


SLOW = dict.fromkeys(("npid-infonce-each", "npid-nce", "propagation(npid)"), (0.002, 24)) | {
    "invp-paper": (0.005, 16),
    "dino": (0.01, 10),
}
"""Rate and epochs of those that 8 epochs at 0.005 leave where they were, or not, by the seed: their answers are an
epoch old (docs/log.md), and NCE's constant is that of the first batch; DINO's teacher is slow."""


def gained(name: str, seed: int, out: Path, lr: float = 0.005, epochs: int = 8) -> float:
    """Train, 15 steps an epoch; percentage points above the untrained network and raw pixels."""
    recipe = recipe_for(with_larger_memories(METHODS[name]), epochs=epochs)
    recipe = replace(
        recipe,
        augment=AugmentConfig(policy="simclr-cifar", image_size=SIZE, view_size=16, least_area=0.5),
        optim=OptimConfig(name="adamw", lr=lr, weight_decay=0.01),
        schedule=ScheduleConfig(epochs=epochs, warmup_epochs=1),
        data=DataConfig(batch_size=64),
        seed=seed,
        runtime=replace(recipe.runtime, log_every=10, checkpoint_steps=None),
    )
    trainer = trainer_for(recipe, textures()[0], out, seed=seed)
    before = judged(trainer.method)
    trainer.run()
    pixels = accuracy(*of_both(lambda images: images.flatten(1).float()))
    return judged(trainer.method) - max(before, pixels)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", FIRST)
def test_law_5_every_method_learns(name: str, seed: int, tmp_path: Path):
    assert gained(name, seed, tmp_path, *SLOW.get(name, ())) >= POINTS


def test_law_5_finds_a_network_that_stands_still(tmp_path: Path):
    assert gained("npid", 0, tmp_path, lr=1e-7) < POINTS
