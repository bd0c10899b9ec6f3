"""Claims about how a model encodes images for those that judge it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from seen import coloured
from viewkin.augment.policies import policy
from viewkin.augment.views import ViewMaker
from viewkin.encode.model import Model
from viewkin.runs.models import open_model
from viewkin.runs.run_settings import read_run_settings
from viewkin.runtime.draws import generator_for

DEVICE = torch.device("cpu")


def test_random_views_are_new_every_epoch_and_a_function_of_seed_and_epoch(monkeypatch):
    monkeypatch.setattr("viewkin.encode.model.BLOCK", 7)
    source = coloured(20, seed=0)
    model = Model("pixels", lambda x: x.flatten(1), 8, policy("isif"))
    first = model.augmented(source, DEVICE, 0, 3)
    assert torch.equal(first, model.augmented(source, DEVICE, 0, 3))
    for seed, epoch in ((0, 4), (1, 3)):
        assert not torch.equal(first, model.augmented(source, DEVICE, seed, epoch))
    maker = ViewMaker(policy("isif"), 8, {"view": "first"})
    draws = maker.sample(20, generator_for(0, "views of heads", 3), source.size)
    assert torch.equal(first, maker(source.images(torch.arange(20)), draws)["view"].flatten(1))


@pytest.mark.parametrize("features", ["backbone", "embedding"])
def test_a_model_has_the_views_that_trained_it(trained: Path, features: str):
    augment = read_run_settings(trained).recipe.augment
    assert augment.least_area is not None, "the test means to meet a crop of the recipe's own"
    assert open_model(str(trained), features, DEVICE).policy == augment.chosen()
    assert open_model(str(trained), features, DEVICE).policy != policy(augment.policy)
