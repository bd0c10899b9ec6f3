"""The settings of the papers and their releases, in the recipes of InvP and ISIF."""

from typing import Any

import pytest

from viewkin.recipes.catalogue import RECIPES, recipe_named
from viewkin.runs.method_expression import with_method
from viewkin.schedules import Progress

# Epochs of InvP's runs, and the rate at some of them: no warm-up; tenfold drops, or half a cosine that ends at 0.
RATES = {
    200: [(0, 0.03), (159, 0.03), (160, 0.003), (189, 0.003), (190, 0.0003), (199, 0.0003)],
    800: [(0, 0.03), (200, 0.015 * (1 + 0.5**0.5)), (400, 0.015), (800, 0)],
}


@pytest.mark.parametrize(
    ("name", "tau", "head", "hops", "positives", "epochs", "decay", "policy"),
    [
        ("invp_cifar10", 0.2, "mlp", 3, 20, 800, 5e-4, "npid-cifar"),
        ("invp_cifar10_linear", 0.1, "linear", 3, 20, 200, 5e-4, "npid-cifar"),
        ("invp_cifar100", 0.2, "mlp", 4, 20, 800, 5e-4, "npid-cifar"),
        ("invp_cifar100_linear", 0.1, "linear", 4, 20, 200, 5e-4, "npid-cifar"),
        ("invp_svhn_linear", 0.1, "linear", 3, 20, 200, 5e-4, "npid-cifar"),
        ("invp_svhn", 0.2, "mlp", 3, 20, 800, 5e-4, "npid-cifar"),
        ("invp_imagenet", 0.2, "mlp", 3, 50, 800, 1e-4, "moco-v2"),
        ("invp_imagenet_linear", 0.07, "linear", 3, 50, 200, 1e-4, "npid-in"),
    ],
)
def test_settings_of_invp(name, tau, head, hops, positives, epochs, decay, policy):
    recipe = recipe_named(name)
    method: Any = recipe.method
    backbone, optim, graph = recipe.backbone, recipe.optim, method.graph
    network, stem, side = ("resnet50", "imagenet", 224) if "imagenet" in name else ("resnet18", "small", 32)
    init = "kaiming" if "imagenet" in name else "default"  # the release's networks for CIFAR set no start of their own
    assert (backbone.name, backbone.stem, backbone.init) == (network, stem, init)
    assert (recipe.augment.policy, recipe.augment.image_size, recipe.augment.side) == (policy, side, side)
    assert (method.temperature, method.head, method.head_init, method.dim) == (tau, head, init, 128)
    assert (graph.neighbours, graph.hops, graph.positives, graph.search, graph.easy) == (
        4,
        hops,
        positives,
        "walk",
        False,
    )
    assert (method.weight, method.candidates, method.denominator, method.exclusive) == (0.6, 4096, "code", True)
    assert (method.bank_momentum, method.bank_init) == (0.5, "uniform")  # the release's rows, as NPID's
    mixed = head == "linear" and "imagenet" not in name
    assert (method.mix_weight, method.mix_alpha) == (float(mixed), 0.75)
    weights = [method.ramp.weight_at(Progress(step=t, steps=epochs, epoch=t, epochs=epochs)) for t in (29, 30)]
    assert weights == [0, 1]  # T = 30 epochs, whatever the length
    assert not method.ramp.gated  # as published
    assert (optim.name, optim.momentum, optim.nesterov, optim.weight_decay) == ("sgd", 0.9, False, decay)
    assert not optim.exclude_norm_and_bias
    assert (recipe.data.batch_size, recipe.schedule.epochs, recipe.schedule.rounds) == (128, epochs, 1)
    for epoch, rate in RATES[epochs]:
        at = Progress(step=epoch, steps=epochs, epoch=epoch, epochs=epochs)
        assert optim.base_lr(128) * recipe.schedule.factor_at(at) == pytest.approx(rate, rel=1e-12, abs=1e-15), epoch


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
