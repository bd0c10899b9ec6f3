"""Recipes of ISIF."""

from __future__ import annotations

from dataclasses import replace

from viewkin.methods.isif import ISIFConfig
from viewkin.optim import ScheduleConfig
from viewkin.recipes.shared import CIFAR_SGD, SMALL, Recipes
from viewkin.training.config import AugmentConfig, DataConfig, Recipe

RECIPES = Recipes()


@RECIPES.add("ISIF, ResNet-18, 301 epochs (Ye et al. 2019)")
def isif_cifar10() -> Recipe:
    """ISIF on CIFAR-10 (Ye et al., 2019): kNN(200) about 83.6."""
    return Recipe(
        method=ISIFConfig(temperature=0.1),
        backbone=SMALL,
        augment=AugmentConfig(policy="isif", image_size=32),
        optim=CIFAR_SGD,
        schedule=ScheduleConfig(epochs=301, kind="step", milestones=(120, 160, 200), factor=(0.1, 0.05, 0.01)),
        data=DataConfig(batch_size=128),
    )


@RECIPES.add("ISIF, ResNet-18, 301 epochs (Ye et al. 2019)")
def isif_cifar100() -> Recipe:
    """The same on CIFAR-100."""
    return isif_cifar10()


@RECIPES.add("aISIF, experimental: ISIF with synthetic negatives and extrapolated positives (EIR 2021, table 1)")
def aisif_cifar10() -> Recipe:
    """AISIF on CIFAR-10: kNN(200) 86.6. No code is public: both shares and the form of positives are our guess."""
    return replace(isif_cifar10(), method=ISIFConfig(temperature=0.1, synthetic=0.5, extrapolate=0.5))


@RECIPES.add("ISIF, ResNet-18 with the release's pooling, 96 px, 301 epochs (Ye et al. 2019)")
def isif_stl10() -> Recipe:
    """ISIF on STL-10, 105,000 images: the release pools only the last map's top-left 7x7 positions."""
    return replace(
        isif_cifar10(),
        backbone=replace(SMALL, pool="window7"),
        augment=AugmentConfig(policy="isif", image_size=96),
        data=DataConfig(batch_size=128, split="train+unlabeled"),
    )


@RECIPES.add("ISIF for unseen categories, ResNet-18 from scratch, 60 epochs (Ye et al. 2019)")
def isif_cub() -> Recipe:
    """ISIF for unseen categories, on CUB's classes 1-100, from scratch; Inception-v1 is not here.

    The second view comes from the nearest neighbour half of the time, as in the release.
    """
    return Recipe(
        method=ISIFConfig(temperature=0.1, neighbour_view=0.5),
        backbone=replace(SMALL, stem="imagenet"),
        augment=AugmentConfig(policy="isif-unseen"),
        optim=replace(CIFAR_SGD, lr=0.001),
        schedule=ScheduleConfig(epochs=60, kind="step", milestones=(20, 40), factor=0.1),
        data=DataConfig(batch_size=64, classes="0:100"),
    )


@RECIPES.add("ISIF for unseen categories, ResNet-18 from scratch, 60 epochs (Ye et al. 2019)")
def isif_cars() -> Recipe:
    """The same on Cars-196, classes 1-98, both views of the image itself."""
    return replace(
        isif_cub(),
        method=ISIFConfig(temperature=0.1),
        data=DataConfig(batch_size=64, classes="0:98"),
    )
