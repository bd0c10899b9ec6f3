"""Every recipe survives a smoke test on images of 16 pixels, or refuses it in a sentence and writes nothing."""

from pathlib import Path

import pytest

from commandline import images_in, viewkin
from viewkin.recipes.catalogue import RECIPES
from viewkin.runs.execute import backbone_facts, built, check_sizes, network
from viewkin.runs.plan import planned
from viewkin.runs.resolve import TrainRequest
from viewkin.runtime.errors import UserError
from viewkin.training.fabric import make_fabric
from viewkin.training.loop import Trainer

FIXED = {"isif_stl10": "use 96-pixel images"}
"""Recipe to what its refusal says, where a network takes no images of 16 pixels."""


def reason(recipe: str) -> str | None:
    return "set --image-size" if recipe.startswith("amdim") and "resnet" not in recipe else FIXED.get(recipe)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sets of 64 and of 12 images."""
    place = tmp_path_factory.mktemp("small")
    for count in (64, 12):
        images_in(place / str(count) / "train", count, size=(16, 16), classes=("a", "b", "c"))
    return place


def one_step(request: TrainRequest) -> None:
    plan = planned(request)
    recipe = plan.stored.recipe
    backbone = network(recipe)
    check_sizes(backbone, recipe)
    fabric = make_fabric(recipe.runtime, backbone)
    method, views = built(recipe, backbone, len(plan.source)), recipe.augment.chosen()
    facts = backbone_facts(recipe, views, method)
    trainer = Trainer(recipe, plan.source, method, views, fabric, plan.out, facts)
    method.train()
    method.start(trainer.encode, trainer.at)
    method.epoch(trainer.encode, trainer.at)
    steps, norm = trainer.step(next(iter(trainer.loader.epoch(0))))
    assert norm.isfinite()
    assert all(step.loss.isfinite() for step in steps)


@pytest.mark.parametrize("count", [64, 12])
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_takes_a_step_on_small_images_or_says_why_not(small, workplace, recipe, count):
    data = str(small / str(count))
    asked = TrainRequest(data=data, recipe=recipe, smoke=True, out=workplace / "run", image_size=16, epochs=1)
    split = "imagenet" in recipe and ("moco" in recipe or recipe.startswith("pcl")) and "v3" not in recipe
    few = "12 images are too few" if count == 12 and split else None
    refusal = few or reason(recipe)
    if refusal is None:
        one_step(asked)
        return
    with pytest.raises(UserError, match=refusal) as caught:
        one_step(asked)
    assert "\n" not in str(caught.value)
    assert not (workplace / "run").exists()


@pytest.mark.grid
@pytest.mark.parametrize("recipe", [name for name in RECIPES if reason(name) is None])
def test_a_recipe_runs_to_its_end_on_small_images(small, workplace, recipe):
    ended = viewkin("train", small / "64", "--recipe", recipe, "--smoke", "--image-size", 16, "--out", "run")
    assert (ended.code, ended.err) == (0, "")
