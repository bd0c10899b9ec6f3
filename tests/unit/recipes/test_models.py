"""Claims about how a model encodes images for those that judge it."""

from __future__ import annotations

import torch

from seen import coloured
from viewkin.augment.policies import policy
from viewkin.augment.views import ViewMaker
from viewkin.draws import generator_for
from viewkin.recipes.models import Model

DEVICE = torch.device("cpu")


def test_random_views_are_new_every_epoch_and_a_function_of_seed_and_epoch(monkeypatch):
    monkeypatch.setattr("viewkin.recipes.models.BLOCK", 7)
    source = coloured(20, seed=0)
    model = Model("pixels", lambda x: x.flatten(1), 8, policy("isif"))
    first = model.augmented(source, DEVICE, 0, 3)
    assert torch.equal(first, model.augmented(source, DEVICE, 0, 3))
    for seed, epoch in ((0, 4), (1, 3)):
        assert not torch.equal(first, model.augmented(source, DEVICE, seed, epoch))
    maker = ViewMaker(policy("isif"), 8, {"view": "first"})
    draws = maker.sample(20, generator_for(0, "views of heads", 3), source.size)
    assert torch.equal(first, maker(source.images(torch.arange(20)), draws)["view"].flatten(1))
