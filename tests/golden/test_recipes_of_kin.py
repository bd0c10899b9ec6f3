"""The settings that METHODS 3.4 and 7.2 list, in the recipes of InvP and ISIF."""

from typing import Any

import pytest

from viewkin.recipes.catalogue import RECIPES, recipe_named
from viewkin.recipes.compose import with_method
from viewkin.schedules import Progress


@pytest.mark.parametrize(
    ("name", "tau", "head", "hops", "positives", "epochs", "kind", "decay", "policy"),
    [
        ("invp_cifar10", 0.2, "mlp", 3, 20, 800, "cosine", 5e-4, "npid-cifar"),
        ("invp_cifar10_linear", 0.1, "linear", 3, 20, 200, "step", 5e-4, "npid-cifar"),
        ("invp_cifar100", 0.2, "mlp", 4, 20, 800, "cosine", 5e-4, "npid-cifar"),
        ("invp_imagenet", 0.2, "mlp", 3, 50, 800, "cosine", 1e-4, "moco-v2"),
        ("invp_imagenet_linear", 0.07, "linear", 3, 50, 200, "step", 1e-4, "npid-in"),
    ],
)
def test_settings_of_invp(name, tau, head, hops, positives, epochs, kind, decay, policy):
    recipe = recipe_named(name)
    method: Any = recipe.method
    assert (method.temperature, method.head, method.graph.hops, method.graph.positives) == (tau, head, hops, positives)
    assert (method.graph.neighbours, method.weight, method.candidates, method.bank_momentum) == (4, 0.6, 4096, 0.5)
    assert method.mix_weight == (1.0 if name == "invp_cifar10_linear" else 0.0)
    assert (method.denominator, method.graph.search, method.exclusive) == ("code", "walk", True)
    weights = [method.ramp.weight_at(Progress(step=t, steps=epochs, epoch=t, epochs=epochs)) for t in (29, 30)]
    assert weights == [0, 1]  # T = 30 epochs, whatever the length
    assert (recipe.schedule.epochs, recipe.schedule.kind) == (epochs, kind)
    assert recipe.schedule.milestones == ((160, 190) if kind == "step" else ())
    assert (recipe.optim.name, recipe.optim.lr, recipe.optim.momentum, recipe.data.batch_size) == (
        "sgd",
        0.03,
        0.9,
        128,
    )
    assert (recipe.optim.weight_decay, recipe.augment.policy, recipe.backbone.init) == (decay, policy, "kaiming")


@pytest.mark.parametrize("name", ["isif_cifar10", "isif_cifar100", "isif_stl10"])
@pytest.mark.parametrize(
    ("epoch", "rate"), [(0, 0.03), (119, 0.03), (120, 0.003), (160, 0.0015), (200, 0.0003), (300, 0.0003)]
)
def test_rates_of_isif(name, epoch, rate):
    recipe = recipe_named(name)
    at = Progress(step=epoch, steps=301, epoch=epoch, epochs=301)
    assert recipe.optim.lr * recipe.schedule.factor_at(at) == pytest.approx(rate, rel=1e-12)
    assert (recipe.augment.policy, recipe.data.batch_size, recipe.optim.weight_decay) == ("isif", 128, 5e-4)
    assert recipe.backbone.pool == ("window7" if name == "isif_stl10" else "global")
    assert recipe.data.split == ("train+unlabeled" if name == "isif_stl10" else "train")


@pytest.mark.parametrize("name", ["isif_cub", "isif_cars"])
@pytest.mark.parametrize(("epoch", "rate"), [(0, 1e-3), (19, 1e-3), (20, 1e-4), (40, 1e-5), (59, 1e-5)])
def test_rates_of_isif_for_unseen_categories(name, epoch, rate):
    recipe = recipe_named(name)
    at = Progress(step=epoch, steps=60, epoch=epoch, epochs=60)
    assert recipe.optim.lr * recipe.schedule.factor_at(at) == pytest.approx(rate, rel=1e-12)
    assert (recipe.augment.policy, recipe.data.batch_size) == ("isif-unseen", 64)
    method: Any = recipe.method
    assert method.neighbour_view == (0.5 if name == "isif_cub" else 0)


@pytest.mark.parametrize("method", ["isif", "iraug", "eir"])
@pytest.mark.parametrize(("images", "classes"), [("cub", "0:100"), ("cars", "0:98")])
def test_classes_that_retrieval_is_judged_on_are_left_out_and_images_are_squashed(method, images, classes):
    recipe = recipe_named(f"{method}_{images}")
    assert recipe.data.classes == classes
    assert recipe.augment.chosen().squash


def test_term_wraps_what_a_recipe_trains():
    recipe = with_method(RECIPES["moco_cifar10"](), "propagation(moco)")
    method: Any = recipe.method
    assert method.kind == "propagation"
    assert method.base == RECIPES["moco_cifar10"]().method
