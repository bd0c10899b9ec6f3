"""The settings of the paper and its release, in the recipes of AMDIM."""

from typing import Any

import pytest

from viewkin.methods.amdim import AMDIMConfig
from viewkin.recipes.amdim import RECIPES
from viewkin.recipes.catalogue import recipe_named
from viewkin.schedules import Progress

# Name; encoder and its n, r, depth; policy and side of the images; batch; epochs, and after which the rate falls.
TABLE = [
    ("amdim_cifar10", "amdim32", (256, 2048, 10), "amdim-cifar", 32, 480, 300, (250, 280)),
    # From memory: the sizes of the small encoder.
    ("amdim_cifar10_small", "amdim32", (128, 1024, 10), "amdim-cifar", 32, 480, 300, (250, 280)),
    ("amdim_mixture_cifar10", "amdim32", (128, 1024, 10), "amdim-cifar", 32, 480, 300, (250, 280)),
    ("amdim_cifar100", "amdim32", (256, 2048, 10), "amdim-cifar", 32, 480, 300, (250, 280)),
    ("amdim_stl10", "amdim64", (192, 1536, 8), "amdim-stl", 64, 480, 300, (250, 280)),
    ("amdim_imagenet_small", "amdim128", (192, 1536, 8), "amdim-in", 128, 480, 50, (30, 45)),
    # A reading: the batch, and that it takes the longer of the release's two schedules.
    ("amdim_imagenet_medium", "amdim128", (256, 2048, 10), "amdim-in", 128, 480, 100, (60, 90)),
    # From memory: the epochs of the two drops.
    ("amdim_imagenet_large", "amdim128", (320, 2560, 10), "amdim-in-strong", 128, 1008, 150, (90, 135)),
]


@pytest.mark.parametrize(("name", "encoder", "sizes", "policy", "side", "batch", "epochs", "drops"), TABLE)
def test_settings_of_amdim(name, encoder, sizes, policy, side, batch, epochs, drops):
    recipe = recipe_named(name)
    backbone, augment, data, optim = recipe.backbone, recipe.augment, recipe.data, recipe.optim
    assert (backbone.name, (backbone.width, backbone.rkhs, backbone.depth)) == (encoder, sizes)
    assert (backbone.trunk_norm, backbone.norm) == (False, "batch")
    assert (augment.policy, augment.image_size, augment.side, augment.least_area) == (policy, side, side, None)
    assert (optim.name, optim.betas, optim.eps, optim.weight_decay) == ("adam", (0.8, 0.999), 1e-8, 1e-5)
    assert not optim.exclude_norm_and_bias
    assert (recipe.schedule.epochs, recipe.schedule.rounds) == (epochs, 1)
    assert (data.batch_size, data.accumulate) == (batch, 1)  # a batch of negatives is the whole batch
    stl = name == "amdim_stl10"  # with its 100,000 images that nobody labelled
    assert (data.split, data.stored_size) == (("train+unlabeled", 96) if stl else ("train", None))
    # 500 updates of warm-up, and a fifth of the rate after each drop, with 1,000 updates an epoch.
    updates = [1, 250, 500, drops[0] * 1000 - 1, drops[0] * 1000, drops[1] * 1000 - 1, drops[1] * 1000]
    expected = [4e-7, 1e-4, 2e-4, 2e-4, 4e-5, 4e-5, 8e-6]
    assert [rate(recipe, update) for update in updates] == pytest.approx(expected, rel=1e-12)


def rate(recipe: Any, update: int) -> float:
    epochs = recipe.schedule.epochs
    at = Progress(step=update, steps=epochs * 1000, epoch=update // 1000, epochs=epochs)
    return recipe.optim.base_lr(recipe.data.batch_size) * recipe.schedule.factor_at(at)


@pytest.mark.parametrize("name", [row[0] for row in TABLE])
def test_loss_of_amdim(name):
    # 0.05 as released, where the paper has 0.04; 8 components of sharpness 1 are a reading. No setting of the heads.
    mixtures = 8 if name == "amdim_mixture_cifar10" else 1
    expected = AMDIMConfig(
        penalty=0.05, clip=20, mixtures=mixtures, sharpness=1, dim=None, stage7=None, stage5=None, head_norm=False,
        norm="batch",
    )  # fmt: skip
    assert recipe_named(name).method == expected


def test_resnet_learns_as_the_encoders_do():
    recipe, own = recipe_named("amdim_resnet_cifar10"), recipe_named("amdim_cifar10")
    assert (recipe.backbone.name, recipe.backbone.stem, recipe.backbone.width) == ("resnet18", "small", 64)
    for part in ("method", "augment", "optim", "schedule", "data"):
        assert getattr(recipe, part) == getattr(own, part), part


def test_no_recipe_is_left_out():
    assert {make().name for make in RECIPES.values()} == {row[0] for row in TABLE} | {"amdim_resnet_cifar10"}
