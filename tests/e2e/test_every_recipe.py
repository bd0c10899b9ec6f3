"""Every recipe runs from end to end, shrunk."""

import json

import pytest

from commandline import metrics_of, viewkin
from viewkin.recipes.catalogue import RECIPES


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_smoke_test_of_every_recipe_ends_well(workplace, recipe):
    ended = viewkin("train", "generated:images=64", "--recipe", recipe, "--smoke", "--out", "run", "--epochs", 1)
    assert (ended.code, ended.err) == (0, "")
    assert "Learnt: naming one of 10 classes" in ended.out
    assert json.loads((workplace / "run" / "recipe.json").read_text())["recipe"]["name"] == recipe
    losses = [line["loss"] for line in metrics_of(workplace / "run")]
    assert losses
    assert all(isinstance(loss, float) for loss in losses)
