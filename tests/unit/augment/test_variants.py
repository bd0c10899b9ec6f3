"""Variants of a policy that a recipe may ask for."""

from __future__ import annotations

import pytest
import torch

from viewkin.augment.policies import policy, with_least_area
from viewkin.augment.views import ViewMaker
from viewkin.runtime.errors import UserError
from viewkin.training.config import AugmentConfig


def smallest_box(chosen, draws=4000, side=32):
    maker = ViewMaker(chosen, side, {"one": "first"})
    box = maker.sample(draws, torch.Generator().manual_seed(0), side).views["one"][0]["box"]
    return float((box[:, 2] * box[:, 3]).min()) / side**2


def test_least_area_bounds_every_crop_of_every_role():
    changed = with_least_area(policy("simclr-cifar"), 0.5)
    for role in changed.roles:
        assert changed.pipeline(role)[0].scale == (0.5, 1.0)
    # A box is whole pixels, so its area may fall short by a rounded edge.
    assert smallest_box(changed) > 0.45
    assert smallest_box(policy("simclr-cifar")) < 0.15


def test_least_area_leaves_the_other_operations_alone():
    before, after = policy("byol"), with_least_area(policy("byol"), 0.3)
    for role in before.roles:
        assert before.pipeline(role)[1:] == after.pipeline(role)[1:]


def test_views_may_be_smaller_than_the_images_they_serve():
    assert AugmentConfig(policy="simclr-cifar", image_size=32, view_size=24).side == 24
    assert AugmentConfig(policy="simclr-cifar", image_size=32).side == 32


@pytest.mark.parametrize("bad", [{"least_area": 0.0}, {"least_area": 1.5}, {"view_size": 4}, {"image_size": 4}])
def test_impossible_views_are_refused(bad):
    with pytest.raises(UserError, match="must be"):
        AugmentConfig(**bad)
