"""Recipes of InvP."""

from __future__ import annotations

from dataclasses import replace

from viewkin.memory.graph import GraphConfig
from viewkin.methods.invp import InvPConfig
from viewkin.optim import ScheduleConfig
from viewkin.recipes.shared import CIFAR_SGD, IMAGENET_SGD, LARGE_KAIMING, SMALL, Recipes
from viewkin.schedules import RampConfig
from viewkin.training.config import AugmentConfig, DataConfig, Recipe

RECIPES = Recipes()
COSINE = ScheduleConfig(epochs=800, kind="cosine")
STEPS = ScheduleConfig(epochs=200, kind="step", milestones=(160, 190), factor=0.1)
LONG, SHORT = RampConfig(share=30 / 800, gate=False), RampConfig(share=30 / 200, gate=False)
"""The paper's T of 30 epochs, as a share, so that it keeps its place in a shorter run."""
CIFAR = InvPConfig(
    temperature=0.2, graph=GraphConfig(positives=20), ramp=LONG, bank_init="uniform", head_init="default"
)
"""Networks for CIFAR start by PyTorch's defaults in the release, those for ImageNet by ``kaiming``."""
OLDER = replace(CIFAR, head="linear", temperature=0.1, mix_weight=1.0, ramp=SHORT)
IMAGENET = InvPConfig(temperature=0.2, graph=GraphConfig(positives=50), ramp=LONG, bank_init="uniform")


@RECIPES.add("InvP, MLP head, ResNet-18, 800 epochs (the current release)")
def invp_cifar10() -> Recipe:
    """InvP on CIFAR-10 as the current release runs it (its training loop does 799 epochs); no number is published."""
    return Recipe(
        method=CIFAR,
        backbone=SMALL,
        augment=AugmentConfig(policy="npid-cifar", image_size=32),
        optim=CIFAR_SGD,
        schedule=COSINE,
        data=DataConfig(batch_size=128),
    )


@RECIPES.add("InvP with MixContrast, linear head, ResNet-18, 200 epochs (the older release)")
def invp_cifar10_linear() -> Recipe:
    """InvP on CIFAR-10 as the older release runs it: linear head, tau 0.1, MixContrast."""
    return replace(invp_cifar10(), method=OLDER, schedule=STEPS)


@RECIPES.add("InvP with 4 hops, MLP head, ResNet-18, 800 epochs (the current release)")
def invp_cifar100() -> Recipe:
    """InvP on CIFAR-100: 4 hops, which a remark in the code calls best, where its README's command leaves 3."""
    return replace(
        invp_cifar10(),
        method=replace(CIFAR, graph=GraphConfig(positives=20, hops=4)),
    )


@RECIPES.add("InvP, MLP head, ResNet-18, 800 epochs (the current release)")
def invp_svhn() -> Recipe:
    """The settings of CIFAR-10 on SVHN, which is read as a folder of images."""
    return invp_cifar10()


@RECIPES.add("InvP with MixContrast and 4 hops, linear head, ResNet-18, 200 epochs (the older release)")
def invp_cifar100_linear() -> Recipe:
    """The older release's settings on CIFAR-100, with the hops of :func:`invp_cifar100`."""
    return replace(
        invp_cifar10_linear(),
        method=replace(OLDER, graph=GraphConfig(positives=20, hops=4)),
    )


@RECIPES.add("InvP with MixContrast, linear head, ResNet-18, 200 epochs (the older release)")
def invp_svhn_linear() -> Recipe:
    """The older release's settings on SVHN, which is read as a folder of images."""
    return invp_cifar10_linear()


@RECIPES.add("InvP, MLP head, ResNet-50, 800 epochs (Wang et al. 2020)")
def invp_imagenet() -> Recipe:
    """InvP with an MLP head (Wang et al., 2020): linear top-1 71.3, of this recipe by inference from the README."""
    return Recipe(
        method=IMAGENET,
        backbone=LARGE_KAIMING,
        augment=AugmentConfig(policy="moco-v2"),
        optim=IMAGENET_SGD,
        schedule=COSINE,
        data=DataConfig(batch_size=128),
    )


@RECIPES.add("InvP, linear head, ResNet-50, 200 epochs (Wang et al. 2020)")
def invp_imagenet_linear() -> Recipe:
    """InvP with a linear head, tau 0.07; the schedule is the older release's default."""
    return replace(
        invp_imagenet(),
        method=replace(IMAGENET, head="linear", temperature=0.07, ramp=SHORT),
        augment=AugmentConfig(policy="npid-in"),
        schedule=STEPS,
    )
