"""The published settings of the learners' recipes, from the papers, their releases and solo-learn's benchmark."""

import dataclasses
from typing import Any

import pytest

from viewkin.recipes.catalogue import recipe_named
from viewkin.schedules import Progress

# name: (optimiser, rate per 256 images, decay, batch, epochs, warm-up, final share, policy)
CIFAR = {
    "simsiam_cifar10": ("sgd", 0.5, 1e-5, 256, 1000, 10, 0, "moco-cifar"),
    "fastsiam_cifar10": ("sgd", 0.12, 5e-4, 128, 200, 0, 0, "simclr-cifar"),
    "barlow_cifar10": ("lars", 0.3, 1e-4, 256, 1000, 10, 0, "byol-cifar"),
    "vicreg_cifar10": ("lars", 0.3, 1e-4, 256, 1000, 10, 0, "byol-cifar"),
    "nnclr_cifar10": ("lars", 0.4, 1e-5, 256, 1000, 10, 0, "byol-cifar"),
    "swav_cifar10": ("lars", 0.6, 1e-6, 256, 1000, 10, 0, "simclr-cifar"),
    "dino_cifar10": ("lars", 0.3, 1e-6, 256, 1000, 10, 0, "simclr-cifar"),
    "moco_v2plus_cifar10": ("sgd", 0.3, 1e-4, 256, 1000, 10, 0, "moco-cifar"),
}
IMAGENET = {
    "simsiam_imagenet": ("sgd", 0.05, 1e-4, 512, 100, 0, 0, "moco-v2"),
    "barlow_imagenet": ("lars", 0.2, 1e-6, 2048, 1000, 10, 0.001, "byol"),
    "vicreg_imagenet": ("lars", 0.2, 1e-6, 2048, 1000, 10, 0.001, "byol"),
    "vicreg_imagenet_100": ("lars", 0.3, 1e-6, 512, 100, 10, 0.001, "byol"),
    "nnclr_imagenet": ("lars", 0.3, 1e-6, 4096, 1000, 10, 0, "byol"),
    "swav_imagenet": ("lars", 0.3, 1e-6, 4096, 800, 10, 0.001, "simclr"),
    "swav_imagenet_256": ("lars", 0.6, 1e-6, 256, 200, 0, 0.001, "simclr"),
    "dino_imagenet": ("sgd", 0.03, 1e-4, 1024, 800, 10, 0, "byol"),
    "moco_v2plus_imagenet": ("sgd", 0.03, 1e-4, 256, 200, 0, 0, "moco-v2"),
}
METHODS: dict[str, dict[str, Any]] = {
    "simsiam_cifar10": {"dim": 2048, "predictor_hidden": 512, "views": 2, "constant_predictor_rate": True},
    "simsiam_imagenet": {"dim": 2048, "projector_layers": 3, "predictor_hidden": 512, "norm": "gathered"},
    "fastsiam_cifar10": {"views": 4},
    "barlow_cifar10": {"dim": 2048, "hidden": 2048, "scale": 0.1, "weight": 0.0051},
    "barlow_imagenet": {"dim": 8192, "hidden": 8192, "layers": 3, "scale": 1.0, "bias_lr_scale": 0.0048 / 0.2},
    "vicreg_cifar10": {"dim": 2048, "hidden": 2048, "invariance": 25, "variance": 50, "covariance": 1},
    "vicreg_imagenet": {"dim": 8192, "hidden": 8192, "layers": 3, "invariance": 25, "variance": 25, "covariance": 1},
    "nnclr_cifar10": {"temperature": 0.2, "queue_size": 65536, "dim": 256},
    "nnclr_imagenet": {"temperature": 0.1, "queue_size": 98304, "hidden": 2048, "predictor_hidden": 4096, "dim": 256},
    "swav_cifar10": {"prototypes": 3000, "queue_size": 3840, "queue_epochs": 50, "freeze_steps": 390},
    "swav_imagenet": {"prototypes": 3000, "queue_size": None, "freeze_steps": 313, "epsilon": 0.05, "iterations": 3},
    "swav_imagenet_256": {"queue_size": 3840, "queue_epochs": 15, "freeze_steps": 5005, "temperature": 0.1},
    "dino_cifar10": {"outputs": 4096, "hidden": 2048, "dim": 256, "momentum": 0.9995},
    "dino_imagenet": {"outputs": 65536, "student_temperature": 0.1, "teacher_temperature": 0.04, "momentum": 0.996},
    "moco_v2plus_cifar10": {
        "temperature": 0.2,
        "queue_size": 32768,
        "momentum": 0.99,
        "last_momentum": 0.999,
        "symmetric": True,
    },
    "moco_v2plus_imagenet": {"symmetric": True, "queue_size": 65536, "momentum": 0.999, "temperature": 0.2},
    "diet_cifar10": {"smoothing": 0.8},
    "sigreg_cifar10": {"weight": 0.02, "views": 4, "dim": 16},
}


@pytest.mark.parametrize(("name", "expected"), [*CIFAR.items(), *IMAGENET.items()])
def test_optimiser_schedule_and_views(name, expected):
    recipe = recipe_named(name)
    optim, schedule = recipe.optim, recipe.schedule
    kind, lr, decay, batch, epochs, warm, final, policy = expected
    assert (optim.name, optim.weight_decay, recipe.data.batch_size) == (kind, decay, batch)
    assert optim.base_lr(batch) == pytest.approx(lr * batch / 256)
    assert (schedule.epochs, schedule.kind, schedule.warmup_epochs, schedule.final) == (epochs, "cosine", warm, final)
    end = Progress(step=epochs, steps=epochs, epoch=epochs, epochs=epochs)
    assert schedule.factor_at(end) == pytest.approx(final, abs=1e-12)
    assert recipe.augment.policy == policy
    small = name in CIFAR
    assert (recipe.backbone.name, recipe.backbone.stem) == (
        ("resnet18", "small") if small else ("resnet50", "imagenet")
    )
    assert recipe.augment.image_size == (32 if small else 224)
    if kind == "lars":
        assert optim.exclude_norm_and_bias
        assert (optim.lars_eta, optim.lars_clip) == ((0.02, True) if small else (0.001, False))


@pytest.mark.parametrize(("name", "expected"), METHODS.items())
def test_settings_of_the_method(name, expected):
    method = recipe_named(name).method
    assert {key: getattr(method, key) for key in expected} == expected


def test_crops_of_swav_and_dino():
    swav, dino = (recipe_named(name).method.crops for name in ("swav_imagenet", "dino_imagenet"))  # type: ignore[attr-defined]
    assert dataclasses.astuple(swav) == (6, 96, (0.05, 0.14), (0.14, 1.0))
    assert dataclasses.astuple(dino) == (8, 96, (0.05, 0.14), (0.14, 1.0))


def test_residual_norms_start_at_zero_where_the_releases_do_so():
    zero = {name for name in IMAGENET if recipe_named(name).backbone.zero_init_residual}
    assert zero == {"simsiam_imagenet", "barlow_imagenet", "vicreg_imagenet", "vicreg_imagenet_100"}


def test_dino_with_a_vision_transformer():
    recipe = recipe_named("dino_imagenet_vit")
    optim, schedule = recipe.optim, recipe.schedule
    assert (recipe.backbone.name, recipe.backbone.any_size) == ("timm/vit_small_patch16_224", True)
    assert (optim.name, optim.weight_decay, optim.last_weight_decay, optim.clip) == ("adamw", 0.04, 0.4, 3.0)
    assert optim.exclude_norm_and_bias
    assert optim.base_lr(1024) == pytest.approx(0.002)
    end = Progress(step=100, steps=100, epoch=100, epochs=100)
    assert optim.base_lr(1024) * schedule.factor_at(end) == pytest.approx(1e-6)
    assert dataclasses.astuple(recipe.method.crops) == (8, 96, (0.05, 0.4), (0.4, 1.0))  # type: ignore[attr-defined]
