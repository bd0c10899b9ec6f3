"""Recipes of InterCLR (Xie et al., 2022) and of the bases that only InterCLR has.

On small sets: ten clusters a class and otherwise the inter branch of ImageNet, around bases that have the
settings small images are known to need (docs/methods/interclr.md lists them); nothing is published there.
"""

from __future__ import annotations

from dataclasses import replace

from viewkin.memory.cluster_config import ClusterConfig
from viewkin.memory.negatives_config import NegativesConfig
from viewkin.methods.byol import BYOLConfig
from viewkin.methods.npid import NPIDConfig
from viewkin.methods.terms.interclr import InterCLRConfig
from viewkin.optim import OptimConfig, ScheduleConfig
from viewkin.recipes import baselines
from viewkin.recipes.shared import CIFAR_SGD, SMALL, Recipes
from viewkin.training.config import AugmentConfig, DataConfig, Recipe

RECIPES = Recipes()
LONG = ScheduleConfig(epochs=1000, kind="cosine")
ACCUMULATED: dict[str, int] = {"clusters": 10000, "refresh_steps": 1}
"""A step of BYOL's on ImageNet is 16 iterations of 256 images, where centroids are to be computed every tenth."""


def _around(base: Recipe, *, clusters: int, negatives: int | None = None, refresh_steps: int = 10) -> Recipe:
    """InterCLR around the method of another recipe, which stays as it is otherwise."""
    method = InterCLRConfig(
        base=base.method,
        clusters=ClusterConfig(number=clusters, refresh_steps=refresh_steps),
        negatives=NegativesConfig(number=negatives),
    )
    return replace(base, method=method)


@RECIPES.add("NPIDv2, ResNet-50, 1000 epochs (InterCLR 2022)")
def npidv2_imagenet_1000() -> Recipe:
    """NPIDv2 for 1000 epochs (table 1): linear top-1 68.2."""
    return replace(baselines.npidv2_imagenet(), schedule=LONG)


@RECIPES.add("BYOL, ResNet-50, LARS, batch 4096 in 16 parts, 1000 epochs (InterCLR's settings)")
def byol_imagenet_1000() -> Recipe:
    """BYOL for 1000 epochs by InterCLR's settings (table 1): linear top-1 73.4."""
    base = baselines.byol_imagenet()
    return replace(
        base,
        method=BYOLConfig(dim=256, hidden=4096, momentum=0.996, norm="gathered"),
        optim=OptimConfig(name="lars", lr=0.2, scale_lr=True, weight_decay=1.5e-6, exclude_norm_and_bias=True),
        schedule=replace(base.schedule, epochs=1000),
    )


@RECIPES.add("InterCLR on NPIDv2, ResNet-50, 200 epochs (2022)")
def interclr_npidv2_imagenet() -> Recipe:
    """NPIDv2-InterCLR (table 1): linear top-1 65.7, VOC07 mAP 82.8; NPIDv2 alone 64.6, 81.7."""
    base = baselines.npidv2_imagenet()
    return _around(base, clusters=10000, negatives=16384)


@RECIPES.add("InterCLR on NPIDv2, ResNet-50, 1000 epochs (2022)")
def interclr_npidv2_imagenet_1000() -> Recipe:
    """NPIDv2-InterCLR for 1000 epochs (table 1): linear top-1 69.6; NPIDv2 alone 68.2."""
    return _around(npidv2_imagenet_1000(), clusters=10000, negatives=16384)


@RECIPES.add("InterCLR on MoCo v2, ResNet-50, 200 epochs (2022)")
def interclr_moco_imagenet() -> Recipe:
    """MoCo v2-InterCLR (table 1 and the released code): linear top-1 68.0, VOC07 mAP 85.3; MoCo v2 alone 67.5, 84.2."""
    base = baselines.moco_v2_imagenet()
    return _around(base, clusters=10000, negatives=16384)


@RECIPES.add("InterCLR on BYOL, ResNet-50, 200 epochs (2022)")
def interclr_byol_imagenet() -> Recipe:
    """BYOL-InterCLR (table 1): linear top-1 73.5, VOC07 mAP 86.5; BYOL alone 70.6, 85.1. It has no negatives."""
    return _around(baselines.byol_imagenet(), **ACCUMULATED)


@RECIPES.add("InterCLR on BYOL, ResNet-50, 1000 epochs (2022)")
def interclr_byol_imagenet_1000() -> Recipe:
    """BYOL-InterCLR for 1000 epochs (table 1): linear top-1 74.5; BYOL alone 73.4."""
    return _around(byol_imagenet_1000(), **ACCUMULATED)


@RECIPES.add("InterCLR on MoCo's CIFAR demo, ResNet-18, 200 epochs (scaled from ImageNet)")
def interclr_moco_cifar10() -> Recipe:
    """InterCLR on MoCo's CIFAR-10 demo, whose kNN(200) is 82.6."""
    return _around(baselines.moco_cifar10(), clusters=100)


@RECIPES.add("InterCLR on NPIDv2, ResNet-18, 200 epochs (scaled from ImageNet)")
def interclr_npidv2_cifar10() -> Recipe:
    """NPIDv2-InterCLR, scaled to CIFAR-10: the empirical study in hours instead of weeks, with its K = 4,096."""
    base = Recipe(
        name="npidv2_cifar10",
        about="",
        method=NPIDConfig(loss="infonce", head="mlp", temperature=0.1, negatives=4096),
        backbone=SMALL,
        augment=AugmentConfig(policy="moco-cifar", image_size=32),
        optim=CIFAR_SGD,
        schedule=ScheduleConfig(epochs=200, kind="cosine"),
        data=DataConfig(batch_size=256),
    )
    return _around(base, clusters=100)


@RECIPES.add("InterCLR on BYOL, ResNet-18, LARS, 1000 epochs (scaled from ImageNet)")
def interclr_byol_cifar10() -> Recipe:
    """InterCLR on BYOL as solo-learn runs it on CIFAR-10."""
    return _around(baselines.byol_cifar10(), clusters=100)


@RECIPES.add("InterCLR on MoCo, CIFAR-100, ResNet-18, 200 epochs (scaled from ImageNet)")
def interclr_moco_cifar100() -> Recipe:
    """InterCLR on MoCo, CIFAR-100."""
    return _around(baselines.moco_cifar10(), clusters=1000)


@RECIPES.add("InterCLR on MoCo v2, ImageNet-100, ResNet-50, 200 epochs (scaled from ImageNet)")
def interclr_moco_imagenet100() -> Recipe:
    """InterCLR on MoCo v2, ImageNet-100."""
    return _around(baselines.moco_v2_imagenet(), clusters=1000)
