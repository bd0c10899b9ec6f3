"""Recipes of this library: for a folder of one's own, for a demonstration, for two CPU cores."""

from __future__ import annotations

from dataclasses import replace

from viewkin.memory.graph import GraphConfig
from viewkin.methods.simclr import SimCLRConfig
from viewkin.methods.terms.propagation import PropagationConfig
from viewkin.optim import OptimConfig, ScheduleConfig
from viewkin.recipes.shared import FAST, SMALL, Recipes
from viewkin.schedules import RampConfig
from viewkin.training.config import AugmentConfig, DataConfig, Recipe

RECIPES = Recipes()


@RECIPES.add("a folder of one's own images: SimCLR, ResNet-18, fitted to images and machine")
def photos() -> Recipe:
    """The default for a folder of one's own; image size, epochs and width are fitted to it."""
    return Recipe(
        method=SimCLRConfig(temperature=0.2, hidden=512),
        backbone=SMALL,
        augment=AugmentConfig(policy="moco-v2", image_size=96),
        optim=FAST,
        schedule=ScheduleConfig(epochs=100, kind="cosine", warmup_epochs=5),
        data=DataConfig(batch_size=256),
    )


@RECIPES.add("a folder of one's own images, from weights (--init): SimCLR and the kin that the weights find")
def photos_from_weights() -> Recipe:
    """The default for a folder of one's own where training starts from weights.

    SimCLR, and InvP's term towards the four images that the weights find nearest. It was ahead of plain SimCLR in every
    seed (``docs/results.md``).
    """
    return Recipe(
        method=PropagationConfig(
            base=SimCLRConfig(temperature=0.07, hidden=512),
            edges="start",
            start_size=160,
            weight=0.3,
            candidates=1024,
            graph=GraphConfig(neighbours=4, hops=1, positives=4),
            ramp=RampConfig(share=0.0, gate=False),
            bank_momentum=0.0,
        ),
        backbone=SMALL,
        augment=AugmentConfig(policy="moco-v2", image_size=96),
        optim=OptimConfig(name="adamw", lr=3e-4, weight_decay=0.05, exclude_norm_and_bias=True),
        schedule=ScheduleConfig(epochs=10, kind="cosine", warmup_epochs=0.5),
        data=DataConfig(batch_size=128),
    )


@RECIPES.add("the demonstration: rendered shapes, a few minutes on two CPU cores")
def demo() -> Recipe:
    """The demonstration on the generated set: a few minutes on two cores."""
    return replace(cifar10_cpu(), schedule=ScheduleConfig(epochs=40, kind="cosine", warmup_epochs=2))


@RECIPES.add("CIFAR-10 on two CPU cores in 30 minutes: SimCLR, ResNet-18 of width 16")
def cifar10_cpu() -> Recipe:
    """A narrow ResNet-18 on CIFAR-10 within 30 minutes on two cores; ``docs/log.md`` has how it was chosen."""
    return Recipe(
        method=SimCLRConfig(temperature=0.2, hidden=512),
        backbone=replace(SMALL, width=16),
        augment=AugmentConfig(policy="simclr-cifar", image_size=32, view_size=24, least_area=0.2),
        optim=FAST,
        schedule=ScheduleConfig(epochs=36, kind="cosine", warmup_epochs=1),
        data=DataConfig(batch_size=256),
    )
