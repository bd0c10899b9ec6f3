"""Recipes of learners that came after the four systems' own baselines.

The CIFAR recipes are solo-learn's settings where it has the learner; their accuracies are of its online classifier.
"""

from __future__ import annotations

from dataclasses import replace

from viewkin.augment.multi_crop import MultiCropConfig
from viewkin.methods.barlow import BarlowConfig
from viewkin.methods.base import MethodConfig
from viewkin.methods.diet import DIETConfig
from viewkin.methods.dino import DINOConfig
from viewkin.methods.moco import MoCoConfig
from viewkin.methods.moco_v3 import MoCoV3Config
from viewkin.methods.nnclr import NNCLRConfig
from viewkin.methods.npid import NPIDConfig
from viewkin.methods.sigreg import SIGRegConfig
from viewkin.methods.simsiam import SimSiamConfig
from viewkin.methods.swav import SwAVConfig
from viewkin.methods.vicreg import VICRegConfig
from viewkin.nets.backbone import BackboneConfig
from viewkin.optim import OptimConfig, ScheduleConfig
from viewkin.recipes.shared import CIFAR_SGD, CIFAR_STEPS, LARGE, SMALL, Recipes
from viewkin.training.config import AugmentConfig, DataConfig, Recipe

RECIPES = Recipes()
LARGE_ZERO = replace(LARGE, zero_init_residual=True)


def _lars(lr: float, decay: float, *, small: bool = False) -> OptimConfig:
    """LARS at a rate per 256 images; on CIFAR with solo-learn's eta and clipping."""
    common = OptimConfig(name="lars", lr=lr, scale_lr=True, weight_decay=decay, exclude_norm_and_bias=True)
    return replace(common, lars_eta=0.02, lars_clip=True) if small else common


def _sgd(lr: float, decay: float) -> OptimConfig:
    return OptimConfig(name="sgd", lr=lr, scale_lr=True, momentum=0.9, weight_decay=decay)


def _on_cifar(method: MethodConfig, optim: OptimConfig, policy: str) -> Recipe:
    """ResNet-18, batch 256, 1000 epochs with 10 of warm-up: solo-learn's frame."""
    return Recipe(
        method=method,
        backbone=SMALL,
        augment=AugmentConfig(policy=policy, image_size=32),
        optim=optim,
        schedule=ScheduleConfig(epochs=1000, kind="cosine", warmup_epochs=10),
        data=DataConfig(batch_size=256),
    )


def _on_imagenet(
    method: MethodConfig, optim: OptimConfig, policy: str, batch: int, schedule: ScheduleConfig, *, zero: bool = False
) -> Recipe:
    """ResNet-50 at 224 pixels."""
    return Recipe(
        method=method,
        backbone=LARGE_ZERO if zero else LARGE,
        augment=AugmentConfig(policy=policy),
        optim=optim,
        schedule=schedule,
        data=DataConfig(batch_size=batch),
    )


@RECIPES.add("SimSiam, ResNet-18, 1000 epochs (solo-learn's settings)")
def simsiam_cifar10() -> Recipe:
    """SimSiam on CIFAR-10 as solo-learn runs it: online linear 90.5."""
    return _on_cifar(SimSiamConfig(dim=2048, projector_layers=2), _sgd(0.5, 1e-5), "moco-cifar")


@RECIPES.add("SimSiam, ResNet-50, batch 512, 100 epochs (Chen and He 2021)")
def simsiam_imagenet() -> Recipe:
    """SimSiam (Chen and He, 2021): linear top-1 68.1 at 100 epochs."""
    schedule = ScheduleConfig(epochs=100, kind="cosine")
    return _on_imagenet(SimSiamConfig(norm="gathered"), _sgd(0.05, 1e-4), "moco-v2", 512, schedule, zero=True)


@RECIPES.add("FastSiam: SimSiam with four views, ResNet-18, batch 128, 200 epochs (lightly's settings)")
def fastsiam_cifar10() -> Recipe:
    """FastSiam on CIFAR-10 (lightly): kNN 90.6 at batch 128, 78.8 at 512. It sees as many views as 400 epochs of two.

    The rate is that of lightly's CIFAR benchmark, 0.06 for 128 images, by general knowledge.
    """
    return replace(
        _on_cifar(SimSiamConfig(dim=2048, projector_layers=2, views=4), _sgd(0.12, 5e-4), "simclr-cifar"),
        schedule=ScheduleConfig(epochs=200, kind="cosine"),
        data=DataConfig(batch_size=128),
    )


@RECIPES.add("FastSiam: SimSiam with four views, ResNet-50, batch 32, 25 epochs (Pototzky et al. 2022)")
def fastsiam_imagenet() -> Recipe:
    """FastSiam (Pototzky et al., 2022), whose batch of 32 fits one GPU; the rate is by general knowledge."""
    optim = OptimConfig(name="sgd", lr=0.125, momentum=0.9, weight_decay=1e-4)
    schedule = ScheduleConfig(epochs=25, kind="cosine")
    return _on_imagenet(SimSiamConfig(views=4), optim, "moco-v2", 32, schedule, zero=True)


@RECIPES.add("Barlow Twins, ResNet-18, LARS, 1000 epochs (solo-learn's settings)")
def barlow_cifar10() -> Recipe:
    """Barlow Twins on CIFAR-10 as solo-learn runs it: online linear 92.1."""
    method = BarlowConfig(dim=2048, hidden=2048, scale=0.1, bias_lr_scale=1.0)
    return _on_cifar(method, _lars(0.3, 1e-4, small=True), "byol-cifar")


@RECIPES.add("Barlow Twins, ResNet-50, LARS, batch 2048, 1000 epochs (Zbontar et al. 2021)")
def barlow_imagenet() -> Recipe:
    """Barlow Twins (Zbontar et al., 2021): linear top-1 73.2. The decay is the code's; the paper says 1.5e-6."""
    schedule = ScheduleConfig(epochs=1000, kind="cosine", warmup_epochs=10, final=0.001)
    return _on_imagenet(BarlowConfig(norm="gathered"), _lars(0.2, 1e-6), "byol", 2048, schedule, zero=True)


@RECIPES.add("VICReg, ResNet-18, LARS, 1000 epochs (solo-learn's settings)")
def vicreg_cifar10() -> Recipe:
    """VICReg on CIFAR-10 as solo-learn runs it: online linear 92.1. Its variance has no half: 25 there is 50 here."""
    recipe = _on_cifar(VICRegConfig(dim=2048, hidden=2048, variance=50.0), _lars(0.3, 1e-4, small=True), "byol-cifar")
    return replace(recipe, augment=replace(recipe.augment, least_area=0.2))


@RECIPES.add("VICReg, ResNet-50, LARS, batch 2048, 1000 epochs (Bardes et al. 2022)")
def vicreg_imagenet() -> Recipe:
    """VICReg (Bardes, Ponce and LeCun, 2022): linear top-1 73.2."""
    schedule = ScheduleConfig(epochs=1000, kind="cosine", warmup_epochs=10, final=0.001)
    return _on_imagenet(VICRegConfig(norm="gathered"), _lars(0.2, 1e-6), "byol", 2048, schedule, zero=True)


@RECIPES.add("VICReg, ResNet-50, LARS, batch 512, 100 epochs (the release's short run)")
def vicreg_imagenet_100() -> Recipe:
    """The release's run of 100 epochs."""
    recipe = vicreg_imagenet()
    schedule = replace(recipe.schedule, epochs=100)
    return replace(recipe, optim=replace(recipe.optim, lr=0.3), schedule=schedule, data=DataConfig(batch_size=512))


@RECIPES.add("NNCLR, ResNet-18, LARS, 1000 epochs (solo-learn's settings)")
def nnclr_cifar10() -> Recipe:
    """NNCLR on CIFAR-10 as solo-learn runs it: online linear 91.9. On 50,000 images its queue of 65,536 is halved."""
    method = NNCLRConfig(temperature=0.2, queue_size=65536)
    return _on_cifar(method, _lars(0.4, 1e-5, small=True), "byol-cifar")


@RECIPES.add("NNCLR, ResNet-50, LARS, batch 4096, 1000 epochs (Dwibedi et al. 2021)")
def nnclr_imagenet() -> Recipe:
    """NNCLR (Dwibedi et al., 2021): linear top-1 75.4, by general knowledge."""
    schedule = ScheduleConfig(epochs=1000, kind="cosine", warmup_epochs=10)
    return _on_imagenet(NNCLRConfig(norm="gathered"), _lars(0.3, 1e-6), "byol", 4096, schedule)


@RECIPES.add("SwAV, ResNet-18, LARS, queue from epoch 50, 1000 epochs (solo-learn's settings)")
def swav_cifar10() -> Recipe:
    """SwAV on CIFAR-10 as solo-learn runs it, two views: online linear 89.2. The prototypes are frozen for 2 epochs."""
    method = SwAVConfig(queue_size=3840, queue_epochs=50, freeze_steps=2 * (50000 // 256))
    return _on_cifar(method, _lars(0.6, 1e-6, small=True), "simclr-cifar")


SWAV_CROPS = MultiCropConfig(small=6, size=96, area=(0.05, 0.14), large_area=(0.14, 1.0))


@RECIPES.add("SwAV, ResNet-50, LARS, 2 large and 6 small crops, batch 4096, 800 epochs (Caron et al. 2020)")
def swav_imagenet() -> Recipe:
    """SwAV (Caron et al., 2020): linear top-1 72.1 / 73.9 / 74.6 / 75.3 at 100 / 200 / 400 / 800 epochs."""
    schedule = ScheduleConfig(epochs=800, kind="cosine", warmup_epochs=10, final=0.001)
    return _on_imagenet(SwAVConfig(crops=SWAV_CROPS, norm="gathered"), _lars(0.3, 1e-6), "simclr", 4096, schedule)


@RECIPES.add("SwAV, ResNet-50, LARS, 2 large and 6 small crops, batch 256 and a queue, 200 epochs (Caron et al. 2020)")
def swav_imagenet_256() -> Recipe:
    """SwAV in small batches: linear top-1 72.7 / 74.3 at 200 / 400 epochs."""
    method = SwAVConfig(crops=SWAV_CROPS, norm="gathered", queue_size=3840, queue_epochs=15, freeze_steps=5005)
    schedule = ScheduleConfig(epochs=200, kind="cosine", final=0.001)
    return _on_imagenet(method, _lars(0.6, 1e-6), "simclr", 256, schedule)


@RECIPES.add("DINO, ResNet-18, LARS, 4,096 outputs, 1000 epochs (solo-learn's settings)")
def dino_cifar10() -> Recipe:
    """DINO on CIFAR-10 as solo-learn runs it, two views: online linear 89.5."""
    method = DINOConfig(outputs=4096, momentum=0.9995)
    return _on_cifar(method, _lars(0.3, 1e-6, small=True), "simclr-cifar")


@RECIPES.add("DINO, ResNet-50, SGD, 2 large and 8 small crops, batch 1024, 800 epochs (Caron et al. 2021)")
def dino_imagenet() -> Recipe:
    """DINO (Caron et al., 2021) with ResNet-50: kNN 67.5, linear 75.3. Batch and epochs are by general knowledge."""
    crops = MultiCropConfig(small=8, size=96, area=(0.05, 0.14), large_area=(0.14, 1.0))
    optim = replace(_sgd(0.03, 1e-4), exclude_norm_and_bias=True, clip=3.0)
    schedule = ScheduleConfig(epochs=800, kind="cosine", warmup_epochs=10)
    return _on_imagenet(DINOConfig(crops=crops, norm="gathered"), optim, "byol", 1024, schedule)


@RECIPES.add("DINO, ViT-S/16 of timm, AdamW, 2 large and 8 small crops, batch 1024, 100 epochs (Caron et al. 2021)")
def dino_imagenet_vit() -> Recipe:
    """DINO (Caron et al., 2021) with ViT-S/16: kNN 69.3, linear 74.0 at 100 epochs. The batch is by general knowledge.

    The release's drop path of 0.1 in the student is left out.
    """
    optim = OptimConfig(
        name="adamw",
        lr=5e-4,
        scale_lr=True,
        weight_decay=0.04,
        last_weight_decay=0.4,
        clip=3.0,
        exclude_norm_and_bias=True,
    )
    schedule = ScheduleConfig(epochs=100, kind="cosine", warmup_epochs=10, final=1e-6 / 2e-3)
    crops = MultiCropConfig(small=8, size=96, area=(0.05, 0.4), large_area=(0.4, 1.0))
    recipe = _on_imagenet(DINOConfig(crops=crops), optim, "byol", 1024, schedule)
    return replace(recipe, backbone=BackboneConfig(name="timm/vit_small_patch16_224", any_size=True))


@RECIPES.add("MoCo v3, ResNet-18, LARS, 1000 epochs (solo-learn's frame)")
def moco_v3_cifar10() -> Recipe:
    """MoCo v3 on CIFAR-10 in solo-learn's frame: online linear 93.1. Its rate, 0.3, is by general knowledge."""
    return _on_cifar(MoCoV3Config(temperature=0.2), _lars(0.3, 1e-6, small=True), "byol-cifar")


@RECIPES.add("MoCo v3, ResNet-50, LARS, batch 4096, 100 epochs (Chen et al. 2021)")
def moco_v3_imagenet() -> Recipe:
    """MoCo v3 (Chen, Xie and He, 2021) with ResNet-50, the release's run of 100 epochs, by general knowledge: 68.9."""
    schedule = ScheduleConfig(epochs=100, kind="cosine", warmup_epochs=10)
    recipe = _on_imagenet(MoCoV3Config(norm="gathered"), _lars(0.6, 1e-6), "byol", 4096, schedule)
    return replace(recipe, augment=replace(recipe.augment, least_area=0.2))


def _moco_v2plus(**settings: float | int | str) -> MoCoConfig:
    return MoCoConfig(head="mlp", temperature=0.2, symmetric=True, **settings)  # pyright: ignore[reportArgumentType]


@RECIPES.add("MoCo v2+: in both directions, momentum rising to 0.999, ResNet-18, 1000 epochs (solo-learn's settings)")
def moco_v2plus_cifar10() -> Recipe:
    """MoCo v2+ on CIFAR-10 as solo-learn runs it: online linear 92.9. On 50,000 images its queue of 32,768 stays."""
    method = _moco_v2plus(dim=256, queue_size=32768, momentum=0.99, last_momentum=0.999)
    return _on_cifar(method, _sgd(0.3, 1e-4), "moco-cifar")


@RECIPES.add("MoCo v2+: MoCo v2 in both directions, ResNet-50, queue of 65,536, 200 epochs (Chen and He 2021)")
def moco_v2plus_imagenet() -> Recipe:
    """MoCo v2 with a symmetric loss, as SimSiam's paper (2021, table 4) compares it: 69.9 at 200 epochs, by memory."""
    method = _moco_v2plus(queue_size=65536, momentum=0.999, norm="split:8")
    return _on_imagenet(method, replace(_sgd(0.03, 1e-4)), "moco-v2", 256, ScheduleConfig(epochs=200, kind="cosine"))


@RECIPES.add("DIET: every image a class, ResNet-18, AdamW, 1000 epochs (2024; rate and epochs are our reading)")
def diet_cifar10() -> Recipe:
    """DIET on CIFAR-10. Label smoothing 0.8; rate, decay and epochs are our reading."""
    optim = OptimConfig(name="adamw", lr=0.001, scale_lr=True, weight_decay=0.05)
    return _on_cifar(DIETConfig(), optim, "simclr-cifar")


@RECIPES.add("SIGReg (LeJEPA), ResNet-18, AdamW, 800 epochs (2025; the authors' Imagenette settings)")
def sigreg_cifar10() -> Recipe:
    """SIGReg with the settings of the authors' Imagenette example: four views, lambda 0.02, batch 256."""
    optim = OptimConfig(name="adamw", lr=0.002, weight_decay=0.05)
    recipe = _on_cifar(SIGRegConfig(), optim, "simclr-cifar")
    return replace(recipe, schedule=ScheduleConfig(epochs=800, kind="cosine", warmup_epochs=10))


@RECIPES.add("IR with SqrtKL, ResNet-18, 200 epochs (Cao and Wu 2024; weight and direction are our reading)")
def npid_sqrtkl_cifar10() -> Recipe:
    """IR (NPID) with SqrtKL and a bank encoded by the untrained network; only the positive row moves."""
    return Recipe(
        method=NPIDConfig(loss="softmax", temperature=0.1, bank_init="encoded", sqrt_kl=1.0),
        backbone=SMALL,
        augment=AugmentConfig(policy="npid-cifar", image_size=32),
        optim=CIFAR_SGD,
        schedule=CIFAR_STEPS,
        data=DataConfig(batch_size=128),
    )
