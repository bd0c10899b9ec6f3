"""The settings of the paper and its release, in the recipes of InterCLR and of its bases."""

from typing import Any

import pytest

from viewkin.recipes.catalogue import recipe_named
from viewkin.schedules import Progress

IMAGENET = ("npidv2_imagenet", "npidv2_imagenet_1000", "moco_imagenet", "byol_imagenet", "byol_imagenet_1000")
CLUSTERS = {
    **dict.fromkeys(IMAGENET, 10_000),
    "moco_cifar10": 100,
    "npidv2_cifar10": 100,
    "byol_cifar10": 100,
    "moco_cifar100": 1000,
    "moco_imagenet100": 1000,
}
"""What a recipe's name ends in to K_c: on small sets ten to a class."""


@pytest.mark.parametrize("name", CLUSTERS)
def test_settings_of_the_inter_branch(name):
    method: Any = recipe_named(f"interclr_{name}").method
    clusters, negatives = method.clusters, method.negatives
    assert (method.base_weight, method.margin.value, method.margin.kind) == (0.75, -0.5, "cosine")
    assert (clusters.number, clusters.min_size, negatives.pool) == (CLUSTERS[name], 20, 0.1)
    assert (negatives.sampler, negatives.form, method.positive_self) == ("semihard", "auto", True)
    assert (clusters.labels, clusters.rule, clusters.of, method.warmup_epochs) == ("online", "dot", "key", 0)
    assert (method.head, method.directions, method.temperature) == ("shared", "all", None)
    assert getattr(method.base, "margin", 0) == 0
    # omega: 0.5 in NPID's own bank, 1 in one that is made here.
    assert method.bank_momentum == 0
    assert getattr(method.base, "bank_momentum", 0.5) == 0.5


@pytest.mark.parametrize("name", CLUSTERS)
def test_negatives_are_the_papers_on_imagenet_and_as_many_as_fit_on_small_sets(name):
    method: Any = recipe_named(f"interclr_{name}").method
    around_contrast = not name.startswith("byol")
    assert method.negatives.number == (16_384 if name in IMAGENET and around_contrast else None)
    if name == "moco_imagenet100":
        assert method.choices(126_689)["negatives.number"].value == 4096


@pytest.mark.parametrize("name", CLUSTERS)
def test_centroids_are_computed_every_ten_iterations_or_at_every_step_that_is_more(name):
    method: Any = recipe_named(f"interclr_{name}").method
    assert method.clusters.refresh_steps == (1 if name.startswith("byol_imagenet") else 10)


@pytest.mark.parametrize(("name", "epochs"), [("npidv2_imagenet", 200), ("npidv2_imagenet_1000", 1000)])
@pytest.mark.parametrize("inter", [False, True])
def test_settings_of_npidv2(name, epochs, inter):
    recipe = recipe_named(f"interclr_{name}" if inter else name)
    method: Any = recipe.method.base if inter else recipe.method
    assert (method.kind, method.loss, method.head, method.dim) == ("npid", "infonce", "mlp", 128)
    assert (method.temperature, method.negatives, method.bank_momentum) == (0.1, 16_384, 0.5)
    by_sgd(recipe, epochs, "npidv2")


@pytest.mark.parametrize(
    "name",
    [f"{base}_imagenet" for base in ("moco_v1", "moco_v2", "interclr_moco")]
    + ["interclr_moco_imagenet100", "moco_cifar10", "moco_cifar10_symmetric", "interclr_moco_cifar10"],
)
def test_mocos_networks_start_as_torchvisions(name):
    assert recipe_named(name).backbone.init == "kaiming"


@pytest.mark.parametrize("name", ["moco_v2_imagenet", "interclr_moco_imagenet", "interclr_moco_imagenet100"])
def test_settings_of_moco_v2(name):
    recipe = recipe_named(name)
    method: Any = getattr(recipe.method, "base", recipe.method)
    assert (method.kind, method.head, method.dim, method.symmetric) == ("moco", "mlp", 128, False)
    assert (method.queue_size, method.temperature, method.momentum) == (65_536, 0.2, 0.999)
    assert (method.norm, method.shuffle) == ("split:8", True)  # BatchNorm of each of eight devices
    by_sgd(recipe, 200, "moco-v2")


def by_sgd(recipe: Any, epochs: int, policy: str) -> None:
    """Rate 0.03 along a cosine, batch 256."""
    optim, schedule = recipe.optim, recipe.schedule
    assert (optim.name, optim.lr, optim.scale_lr, optim.momentum, optim.weight_decay) == ("sgd", 0.03, False, 0.9, 1e-4)
    assert (schedule.epochs, schedule.kind, schedule.warmup_epochs, schedule.rounds) == (epochs, "cosine", 0, 1)
    assert (recipe.data.batch_size, recipe.data.accumulate) == (256, 1)
    seen_by_resnet50(recipe, policy)


def seen_by_resnet50(recipe: Any, policy: str) -> None:
    """Views of 224 pixels for the ImageNet network."""
    assert (recipe.augment.policy, recipe.augment.side) == (policy, 224)
    assert (recipe.backbone.name, recipe.backbone.stem, recipe.backbone.width) == ("resnet50", "imagenet", 64)


@pytest.mark.parametrize(
    ("name", "epochs", "rate", "decay", "momentum"),
    [("byol_imagenet", 200, 0.3, 1e-6, 0.99), ("byol_imagenet_1000", 1000, 0.2, 1.5e-6, 0.996)],
)
@pytest.mark.parametrize("inter", [False, True])
def test_settings_of_byol(name, epochs, rate, decay, momentum, inter):
    recipe = recipe_named(f"interclr_{name}" if inter else name)
    method: Any = recipe.method.base if inter else recipe.method
    assert (method.kind, method.dim, method.hidden, method.norm) == ("byol", 256, 4096, "gathered")
    assert (method.momentum, method.bank_view) == (momentum, "first")
    optim, schedule, data = recipe.optim, recipe.schedule, recipe.data
    assert (optim.name, optim.lr, optim.scale_lr, optim.weight_decay) == ("lars", rate, True, decay)
    assert optim.exclude_norm_and_bias
    assert (data.batch_size, data.accumulate) == (4096, 16)  # micro-batches of 256
    assert (schedule.epochs, schedule.kind, schedule.warmup_epochs) == (epochs, "cosine", 10)
    seen_by_resnet50(recipe, "byol")
    if epochs == 200:
        at = Progress(step=10, steps=200, epoch=10, epochs=200)
        assert optim.base_lr(data.batch_size) * schedule.factor_at(at) == pytest.approx(4.8, rel=1e-12)


@pytest.mark.parametrize("name", ["moco_cifar10", "moco_cifar100"])
def test_the_small_base_is_mocos_demo(name):
    recipe = recipe_named(f"interclr_{name}")
    method: Any = recipe.method
    assert method.base == recipe_named("moco_cifar10").method
    assert (method.base.queue_size, method.base.momentum, method.base.temperature) == (4096, 0.99, 0.1)
    assert (method.base.norm, method.base.symmetric) == ("split:8", False)
    assert (recipe.optim.name, recipe.optim.lr, recipe.optim.weight_decay) == ("sgd", 0.06, 5e-4)
    assert (recipe.data.batch_size, recipe.schedule.epochs, recipe.schedule.kind) == (512, 200, "cosine")
    small(recipe, "moco-cifar")


def test_the_small_npidv2_has_the_studys_negatives_and_what_small_images_ask_for():
    recipe = recipe_named("interclr_npidv2_cifar10")
    base: Any = recipe.method.base
    assert (base.kind, base.loss, base.head, base.temperature) == ("npid", "infonce", "mlp", 0.1)
    assert (base.negatives, base.bank_momentum) == (4096, 0.5)
    assert (recipe.optim.name, recipe.optim.lr, recipe.optim.weight_decay) == ("sgd", 0.03, 5e-4)
    assert (recipe.data.batch_size, recipe.schedule.epochs, recipe.schedule.kind) == (256, 200, "cosine")
    small(recipe, "moco-cifar")


def test_the_small_byol_is_solo_learns():
    recipe = recipe_named("interclr_byol_cifar10")
    base: Any = recipe.method.base
    assert (base.kind, base.dim, base.hidden, base.momentum) == ("byol", 256, 4096, 0.99)
    optim = recipe.optim
    assert (optim.name, optim.lr, optim.scale_lr, optim.weight_decay) == ("lars", 1.0, True, 1e-5)
    assert (optim.lars_eta, optim.lars_clip, optim.exclude_norm_and_bias) == (0.02, True, True)
    assert (recipe.data.batch_size, recipe.schedule.epochs, recipe.schedule.kind) == (256, 1000, "cosine")
    small(recipe, "byol-cifar")


def small(recipe: Any, policy: str) -> None:
    """Views of 32 pixels for the CIFAR network."""
    assert (recipe.augment.policy, recipe.augment.side) == (policy, 32)
    assert (recipe.backbone.name, recipe.backbone.stem, recipe.backbone.width) == ("resnet18", "small", 64)
