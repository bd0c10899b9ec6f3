"""Recipes of the learners that the four systems build on or compare with."""

from __future__ import annotations

from dataclasses import replace

from viewkin.methods.byol import BYOLConfig
from viewkin.methods.iraug import IRAugConfig
from viewkin.methods.moco import MoCoConfig
from viewkin.methods.npid import NPIDConfig
from viewkin.methods.simclr import SimCLRConfig
from viewkin.optim import OptimConfig, ScheduleConfig
from viewkin.recipes.shared import (
    CIFAR_SGD,
    CIFAR_STEPS,
    IMAGENET_SGD,
    LARGE,
    LARGE_KAIMING,
    SMALL,
    SMALL_KAIMING,
    Recipes,
)
from viewkin.training.config import AugmentConfig, DataConfig, Recipe

RECIPES = Recipes()


@RECIPES.add("NPID / IR with the full softmax, ResNet-18, 200 epochs (Wu et al. 2018)")
def npid_cifar10() -> Recipe:
    """NPID / IR, full softmax (Wu et al., 2018): kNN(200) 80.8."""
    return Recipe(
        method=NPIDConfig(loss="softmax", temperature=0.1, bank_init="uniform"),
        backbone=SMALL,
        augment=AugmentConfig(policy="npid-cifar", image_size=32),
        optim=CIFAR_SGD,
        schedule=CIFAR_STEPS,
        data=DataConfig(batch_size=128),
    )


@RECIPES.add("IRaug: NPID on two views, EIR's baseline, ResNet-18, 200 epochs (2021)")
def iraug_cifar10() -> Recipe:
    """IRaug, the baseline of EIR (2021, table 1): kNN(200) 83.4. Augmentation unstated; isif is our reading."""
    return replace(
        npid_cifar10(),
        method=IRAugConfig(temperature=0.1),
        augment=AugmentConfig(policy="isif", image_size=32),
    )


@RECIPES.add("SimCLR, ResNet-18, LARS, 1000 epochs (Chen et al. 2020)")
def simclr_cifar10() -> Recipe:
    """SimCLR on CIFAR-10 (Chen et al., 2020, appendix B.9): linear about 91."""
    return Recipe(
        method=SimCLRConfig(temperature=0.5),
        backbone=SMALL,
        augment=AugmentConfig(policy="simclr-cifar", image_size=32),
        optim=OptimConfig(name="lars", lr=1.0, momentum=0.9, weight_decay=1e-4, exclude_norm_and_bias=True),
        schedule=ScheduleConfig(epochs=1000, kind="cosine", warmup_epochs=10),
        data=DataConfig(batch_size=512),
    )


@RECIPES.add("MoCo, ResNet-18 with split BatchNorm, 200 epochs (the authors' CIFAR demo)")
def moco_cifar10() -> Recipe:
    """MoCo's CIFAR-10 demo: kNN(200) 82.6 / 86.3 / 88.7 at 200 / 400 / 800 epochs.

    All convolutions start by ``kaiming``; the demo's first one, which replaces torchvision's, by PyTorch's default.
    """
    return Recipe(
        method=MoCoConfig(head="linear", queue_size=4096, momentum=0.99, temperature=0.1, norm="split:8"),
        backbone=SMALL_KAIMING,
        augment=AugmentConfig(policy="moco-cifar", image_size=32),
        optim=OptimConfig(name="sgd", lr=0.06, momentum=0.9, weight_decay=5e-4),
        schedule=ScheduleConfig(epochs=200, kind="cosine"),
        data=DataConfig(batch_size=512),
    )


@RECIPES.add("MoCo in both directions, ResNet-18 with split BatchNorm, 200 epochs (the authors' CIFAR demo)")
def moco_cifar10_symmetric() -> Recipe:
    """The same with both views as queries: kNN(200) 85.3 / 88.5 / 89.7."""
    base = moco_cifar10()
    return replace(base, method=replace(base.method, symmetric=True))  # type: ignore[type-var]


@RECIPES.add("BYOL, ResNet-18, LARS, 1000 epochs (solo-learn's settings)")
def byol_cifar10() -> Recipe:
    """BYOL on CIFAR-10 as solo-learn runs it: online linear 92.6."""
    return Recipe(
        method=BYOLConfig(dim=256, hidden=4096, momentum=0.99),
        backbone=SMALL,
        augment=AugmentConfig(policy="byol-cifar", image_size=32),
        optim=OptimConfig(
            name="lars",
            lr=1.0,
            scale_lr=True,
            weight_decay=1e-5,
            exclude_norm_and_bias=True,
            lars_eta=0.02,
            lars_clip=True,
        ),
        schedule=ScheduleConfig(epochs=1000, kind="cosine", warmup_epochs=10),
        data=DataConfig(batch_size=256),
    )


@RECIPES.add("NPID with noise-contrastive estimation, ResNet-50, 200 epochs (Wu et al. 2018)")
def npid_imagenet() -> Recipe:
    """NPID with the original NCE (Wu et al., 2018): linear top-1 54.0 with ResNet-50."""
    return Recipe(
        method=NPIDConfig(loss="nce", temperature=0.07, negatives=4096, shared_negatives=False, bank_init="uniform"),
        backbone=LARGE,
        augment=AugmentConfig(policy="npid-in"),
        optim=IMAGENET_SGD,
        schedule=CIFAR_STEPS,
    )


@RECIPES.add("NPIDv2: MLP head, 16,384 sampled negatives, ResNet-50, 200 epochs (InterCLR 2022)")
def npidv2_imagenet() -> Recipe:
    """NPIDv2, the first base of InterCLR (2022, table 1): linear top-1 64.6 with ResNet-50, 200 epochs.

    Negatives are drawn once a batch; ``method.shared_negatives=false`` draws them for each query, at 40 times the cost.
    """
    return Recipe(
        method=NPIDConfig(loss="infonce", head="mlp", temperature=0.1, negatives=16384),
        backbone=LARGE,
        augment=AugmentConfig(policy="npidv2"),
        optim=IMAGENET_SGD,
        schedule=ScheduleConfig(epochs=200, kind="cosine"),
    )


@RECIPES.add("MoCo v1: linear head, ResNet-50, queue of 65,536, 200 epochs (He et al. 2020)")
def moco_v1_imagenet() -> Recipe:
    """MoCo v1 (He et al., 2020): linear top-1 60.6 with ResNet-50."""
    return Recipe(
        method=MoCoConfig(head="linear", queue_size=65536, momentum=0.999, temperature=0.07, norm="split:8"),
        backbone=LARGE_KAIMING,
        augment=AugmentConfig(policy="npid-in"),
        optim=IMAGENET_SGD,
        schedule=CIFAR_STEPS,
    )


@RECIPES.add("MoCo v2, ResNet-50, queue of 65,536, 200 epochs (Chen et al. 2020)")
def moco_v2_imagenet() -> Recipe:
    """MoCo v2 (Chen et al., 2020): linear top-1 67.5 with ResNet-50, 200 epochs."""
    return Recipe(
        method=MoCoConfig(head="mlp", queue_size=65536, momentum=0.999, temperature=0.2, norm="split:8"),
        backbone=LARGE_KAIMING,
        augment=AugmentConfig(policy="moco-v2"),
        optim=IMAGENET_SGD,
        schedule=ScheduleConfig(epochs=200, kind="cosine"),
    )


@RECIPES.add("SimCLR, ResNet-50, LARS, batch 4096, 100 epochs (Chen et al. 2020)")
def simclr_imagenet() -> Recipe:
    """SimCLR (Chen et al., 2020): linear top-1 61.9 at batch 256, 69.3 at 4096 and 1000 epochs."""
    return Recipe(
        method=SimCLRConfig(temperature=0.1, norm="gathered"),
        backbone=LARGE,
        augment=AugmentConfig(policy="simclr"),
        optim=OptimConfig(name="lars", lr=0.3, scale_lr=True, weight_decay=1e-6, exclude_norm_and_bias=True),
        schedule=ScheduleConfig(epochs=100, kind="cosine", warmup_epochs=10),
        data=DataConfig(batch_size=4096),
    )


@RECIPES.add("BYOL, ResNet-50, LARS, batch 4096 in 16 parts, 200 epochs (InterCLR's settings)")
def byol_imagenet() -> Recipe:
    """BYOL (Grill et al., 2020) at InterCLR's 200 epochs: linear top-1 70.6."""
    return Recipe(
        method=BYOLConfig(dim=256, hidden=4096, momentum=0.99, norm="gathered"),
        backbone=LARGE,
        augment=AugmentConfig(policy="byol"),
        optim=OptimConfig(name="lars", lr=0.3, scale_lr=True, weight_decay=1e-6, exclude_norm_and_bias=True),
        schedule=ScheduleConfig(epochs=200, kind="cosine", warmup_epochs=10),
        data=DataConfig(batch_size=4096, accumulate=16),
    )
