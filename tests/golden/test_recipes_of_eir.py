"""The settings of the paper and its release, in the recipes of EIR."""

from dataclasses import replace
from typing import Any

import pytest

from viewkin.methods.iraug import IRAugConfig
from viewkin.recipes.catalogue import recipe_named
from viewkin.schedules import Progress

SETS = {
    "cifar10": ("isif", 32, "small"),
    "cifar10_rounds": ("isif", 32, "small"),
    "cifar100": ("isif", 32, "small"),
    "stl10": ("isif", 96, "small"),
    "imagenet100": ("npid-in", 224, "imagenet"),
    "cub": ("isif-unseen", 224, "imagenet"),
    "cars": ("isif-unseen", 224, "imagenet"),
}
"""Set to the policy, the side of its images and the stem."""


@pytest.mark.parametrize("name", SETS)
def test_settings_of_eir(name):
    method: Any = recipe_named(f"eir_{name}").method
    assert (method.relation_weight, method.mixture_weight) == (15, 2)
    assert (method.temperature, method.mixture_temperature) == (0.1, 0.1)
    assert (method.relation, method.detach_target, method.queue_size) == ("views", False, None)
    assert (method.mix, method.mix_alpha, method.mix_ratio, method.partner_view) == ("cutmix", 1, None, "second")
    assert (method.negatives, method.mixture_reading, method.detach_mixture) == ("batch", "sumlog", True)
    base = method.base
    assert isinstance(base, IRAugConfig)
    assert (base.reading, base.temperature, base.dim, base.head) == ("sumce", 0.1, 128, "linear")
    assert (base.bank_momentum, base.bank_init, base.bank_view) == (0.5, "normal", "first")


@pytest.mark.parametrize("name", SETS)
def test_every_set_is_learnt_from_scratch_by_resnet18_with_the_same_optimiser(name):
    recipe, (policy, side, stem) = recipe_named(f"eir_{name}"), SETS[name]
    assert (recipe.augment.policy, recipe.augment.image_size, recipe.augment.side) == (policy, side, side)
    assert (recipe.backbone.name, recipe.backbone.stem, recipe.backbone.width) == ("resnet18", stem, 64)
    assert recipe.backbone.pool == "global"  # STL's too, where ISIF's release has a window
    assert (recipe.optim.name, recipe.optim.momentum, recipe.optim.weight_decay) == ("sgd", 0.9, 5e-4)
    assert (recipe.data.batch_size, recipe.data.accumulate, recipe.data.split) == (128, 1, "train")
    assert (recipe.schedule.epochs, recipe.schedule.rounds) == (200, 5 if name.endswith("rounds") else 1)
    assert not recipe.optim.scale_lr


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize(
    ("epoch", "rate"), [(0, 0.03), (119, 0.03), (120, 0.003), (159, 0.003), (160, 0.0003), (199, 0.0003)]
)
def test_rates_of_eir(name, epoch, rate):
    recipe = recipe_named(f"eir_{name}")
    at = Progress(step=epoch, steps=200, epoch=epoch, epochs=200)
    assert recipe.optim.lr * recipe.schedule.factor_at(at) == pytest.approx(rate, rel=1e-12)


@pytest.mark.parametrize("name", [name for name in SETS if name != "cifar10_rounds"])
def test_the_baseline_of_eir_is_its_recipe_without_the_terms(name):
    recipe, base = recipe_named(f"eir_{name}"), recipe_named(f"iraug_{name}")
    assert replace(recipe, name=base.name, about=base.about, method=recipe.method.base) == base


def test_settings_of_the_released_code():
    recipe = recipe_named("eir_moco")
    method: Any = recipe.method
    assert (method.relation, method.negatives) == ("teacher", "base")
    assert (method.relation_weight, method.mixture_weight) == (1, 2)
    assert (method.temperature, method.teacher_temperature, method.queue_size) == (0.1, 0.04, 65536)
    assert (method.mix, method.mix_alpha, method.mix_ratio, method.partner_view) == ("cutmix", 1, None, "second")
    assert method.detach_mixture
    base = method.base
    assert (base.kind, base.head, base.dim, base.queue_size) == ("moco", "mlp", 128, 65536)
    assert (base.momentum, base.temperature, base.symmetric) == (0.999, 0.2, False)
    assert (base.norm, base.shuffle) == ("split:4", True)  # train.sh runs on four devices
    assert (recipe.backbone.name, recipe.backbone.stem) == ("resnet50", "imagenet")
    assert recipe.backbone.init == "kaiming"  # torchvision's
    assert (recipe.augment.policy, recipe.augment.image_size) == ("moco-v2", 224)
    optim, schedule = recipe.optim, recipe.schedule
    assert (optim.name, optim.lr, optim.scale_lr, optim.momentum, optim.weight_decay) == ("sgd", 0.03, False, 0.9, 1e-4)
    assert (schedule.epochs, schedule.kind, schedule.warmup_epochs, schedule.rounds) == (100, "cosine", 0, 1)
    assert (recipe.data.batch_size, recipe.data.accumulate) == (128, 1)
