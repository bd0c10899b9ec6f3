"""Recipes of EIR (Exploring Instance Relations, 2021) and of its baseline where only EIR has it."""

from __future__ import annotations

from dataclasses import replace

from viewkin.methods.moco import MoCoConfig
from viewkin.methods.terms.eir import EIRConfig
from viewkin.nets.backbone import BackboneConfig
from viewkin.optim import ScheduleConfig
from viewkin.recipes.baselines import iraug_cifar10
from viewkin.recipes.shared import IMAGENET_SGD, LARGE_KAIMING, Recipes
from viewkin.training.config import AugmentConfig, DataConfig, Recipe

RECIPES = Recipes()
RESNET18 = BackboneConfig(name="resnet18", stem="imagenet")


def _around(base: Recipe) -> Recipe:
    """EIR as published around the method of another recipe."""
    return replace(base, method=EIRConfig(base=base.method))


@RECIPES.add("EIR on IRaug, ResNet-18, 200 epochs (2021)")
def eir_cifar10() -> Recipe:
    """EIR on CIFAR-10 (table 1): kNN(200) 87.6; IRaug 83.4, with the relation alone 86.3, with mixtures alone 85.5."""
    return _around(iraug_cifar10())


@RECIPES.add("EIR on IRaug in five rounds of 200 epochs (2021)")
def eir_cifar10_rounds() -> Recipe:
    """EIR in five rounds of 200 epochs: kNN(200) 89.1. What a round keeps is AND's way."""
    base = eir_cifar10()
    return replace(base, schedule=replace(base.schedule, rounds=5))


@RECIPES.add("IRaug on CIFAR-100: the settings of CIFAR-10 (EIR 2021)")
def iraug_cifar100() -> Recipe:
    """IRaug on CIFAR-100, the baseline of table 5."""
    return iraug_cifar10()


@RECIPES.add("EIR on CIFAR-100: the settings of CIFAR-10 (EIR 2021)")
def eir_cifar100() -> Recipe:
    """EIR on CIFAR-100: kNN(200) 61.4 with both terms, 58.7 with the relation alone."""
    return eir_cifar10()


@RECIPES.add("IRaug on STL-10, 96 px, ResNet-18, 200 epochs (EIR 2021)")
def iraug_stl10() -> Recipe:
    """IRaug on STL-10: kNN(200) 70.0 from the 5,000 labelled images, 81.0 from all 105,000."""
    return replace(iraug_cifar10(), augment=AugmentConfig(policy="isif", image_size=96))


@RECIPES.add("EIR on STL-10, 96 px, ResNet-18, 200 epochs (2021)")
def eir_stl10() -> Recipe:
    """EIR on STL-10: kNN(200) 78.2 from the 5,000 labelled images, 84.7 from all 105,000. Pooling is our reading."""
    return _around(iraug_stl10())


@RECIPES.add("IRaug on ImageNet-100, ResNet-18, 200 epochs (EIR 2021)")
def iraug_imagenet100() -> Recipe:
    """IRaug on ImageNet-100: linear 61.5, kNN 61.5."""
    return replace(iraug_cifar10(), backbone=RESNET18, augment=AugmentConfig(policy="npid-in", image_size=224))


@RECIPES.add("EIR on ImageNet-100, ResNet-18, 200 epochs (2021)")
def eir_imagenet100() -> Recipe:
    """EIR on ImageNet-100: linear 66.4, kNN 66.5. The augmentation is our reading."""
    return _around(iraug_imagenet100())


@RECIPES.add("IRaug on CUB-200, ResNet-18 from scratch (EIR 2021)")
def iraug_cub() -> Recipe:
    """IRaug on classes 1-100 of CUB-200, from scratch: R@1 11.1 on the other hundred."""
    base = iraug_imagenet100()
    return replace(
        base,
        augment=AugmentConfig(policy="isif-unseen", image_size=224),
        data=replace(base.data, classes="0:100"),
    )


@RECIPES.add("EIR on CUB-200, ResNet-18 from scratch (2021)")
def eir_cub() -> Recipe:
    """EIR on classes 1-100 of CUB-200: R@1 14.6 on the other hundred."""
    return _around(iraug_cub())


@RECIPES.add("IRaug on Cars-196, ResNet-18 from scratch (EIR 2021)")
def iraug_cars() -> Recipe:
    """IRaug on classes 1-98 of Cars-196, from scratch: R@1 23.1 on the other half."""
    base = iraug_cub()
    return replace(base, data=replace(base.data, classes="0:98"))


@RECIPES.add("EIR on Cars-196, ResNet-18 from scratch (2021)")
def eir_cars() -> Recipe:
    """EIR on classes 1-98 of Cars-196: R@1 28.5 on the other half."""
    return _around(iraug_cars())


@RECIPES.add("EIR's released code: MoCo v2 with a weak teacher view, ResNet-50, 100 epochs")
def eir_moco() -> Recipe:
    """The released code: MoCo v2 on ImageNet-100 with a weak teacher view and a second queue; linear 78.8 over 66.2.

    Its script trains on four devices, so BatchNorm has the statistics of fourths of the batch.
    """
    method = MoCoConfig(head="mlp", queue_size=65536, momentum=0.999, temperature=0.2, norm="split:4")
    return Recipe(
        method=EIRConfig(
            base=method,
            relation="teacher",
            relation_weight=1.0,
            temperature=0.1,
            teacher_temperature=0.04,
            queue_size=65536,
            mixture_weight=2.0,
            negatives="base",
        ),
        backbone=LARGE_KAIMING,
        augment=AugmentConfig(policy="moco-v2", image_size=224),
        optim=IMAGENET_SGD,
        schedule=ScheduleConfig(epochs=100, kind="cosine"),
        data=DataConfig(batch_size=128),
    )
