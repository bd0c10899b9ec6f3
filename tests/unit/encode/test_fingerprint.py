from dataclasses import dataclass, replace

import pytest
import torch
from torch import nn

from collected import model
from viewkin.augment.policies import policy, with_least_area
from viewkin.encode.fingerprint import fingerprint_of
from viewkin.runtime.errors import UserError


def test_the_same_weights_have_one_fingerprint_wherever_they_lie():
    assert fingerprint_of(model(0), "backbone") == fingerprint_of(replace(model(0), name="copy"), "backbone")
    assert len(fingerprint_of(model(0), "backbone")) == 32


def test_everything_that_moves_a_vector_moves_the_fingerprint():
    one = model(0)
    others = [
        fingerprint_of(model(1), "backbone"),
        fingerprint_of(one, "embedding"),
        fingerprint_of(replace(one, image_size=24), "backbone"),
        fingerprint_of(replace(one, value_range=(0.0, 4095.0)), "backbone"),
        fingerprint_of(replace(one, policy=replace(one.policy, squash=True)), "backbone"),
        fingerprint_of(replace(one, policy=replace(one.policy, mean=(0.1, 0.2, 0.3))), "backbone"),
        fingerprint_of(replace(one, policy=replace(one.policy, std=(0.1, 0.2, 0.3))), "backbone"),
        fingerprint_of(replace(one, policy=replace(one.policy, test_fraction=0.5)), "backbone"),
    ]
    nudged = model(0)
    with torch.no_grad():
        nudged.encoder.mix[0, 0] += 1e-7
    assert len({fingerprint_of(one, "backbone"), *others, fingerprint_of(nudged, "backbone")}) == 10


def test_how_it_was_trained_does_not():
    one = model(0)
    other = replace(one, policy=with_least_area(policy("moco-cifar"), 0.5))
    assert fingerprint_of(other, "backbone") == fingerprint_of(one, "backbone")


def test_a_method_of_a_network_is_known_by_the_network():
    one = model(0)
    assert fingerprint_of(replace(one, encoder=one.encoder.forward), "x") == fingerprint_of(one, "x")


def test_weights_of_any_type_and_shape_are_hashed():
    net = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 2, 1).bfloat16())
    one = replace(model(0), encoder=net)
    before = fingerprint_of(one, "backbone")
    net[0].num_batches_tracked += 1
    assert fingerprint_of(one, "backbone") != before


def test_settings_of_a_network_count_and_a_new_setting_with_its_default_does_not():
    @dataclass(frozen=True)
    class Old:
        pool: str = "global"

    @dataclass(frozen=True)
    class New:
        pool: str = "global"
        added: int = 1

    def with_settings(config):
        one = model(0)
        one.encoder.config = config
        return fingerprint_of(one, "backbone")

    assert with_settings(Old()) == with_settings(New())
    assert len({with_settings(Old()), with_settings(Old("window7")), with_settings(New(added=2))}) == 3


def test_what_has_no_weights_is_refused():
    with pytest.raises(UserError, match="has no weights"):
        fingerprint_of(replace(model(0), encoder=lambda x: x.flatten(1)), "backbone")
