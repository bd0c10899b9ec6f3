"""``viewkin recipes``: groups, what a method is good for, what it costs, and filters."""

import json

import pytest

from commandline import viewkin
from viewkin.commands import recipes
from viewkin.commands.recipes import counted_cost, offer
from viewkin.methods.byol import BYOLConfig
from viewkin.methods.catalogue import METHOD_CONFIGS
from viewkin.methods.moco import MoCoConfig
from viewkin.methods.npid import NPIDConfig
from viewkin.recipes.catalogue import RECIPES
from viewkin.recipes.learners import SWAV_CROPS, swav_imagenet
from viewkin.recipes.shared import data_of
from viewkin.runtime.errors import UserError


def test_every_recipe_is_offered_once_with_group_cost_and_use():
    offered = offer().recipes
    assert sorted(one.name for one in offered) == sorted(RECIPES)
    assert all(one.good_for and one.cost > 0 and one.about for one in offered)
    order = [one.group for one in offered]
    assert order == sorted(order, key=recipes.GROUPS.index)
    methods = [(one.group, one.method) for one in offered]
    assert len([1 for place, one in enumerate(methods) if place == 0 or methods[place - 1] != one]) == len(set(methods))


def test_every_method_says_what_it_is_good_for():
    assert all(config.good_for for config in METHOD_CONFIGS.values())


def test_filters():
    found = {one.name for one in offer(group="redundancy", data="cifar10").recipes}
    assert found == {"barlow_cifar10", "vicreg_cifar10", "sigreg_cifar10"}
    assert {one.data for one in offer(data="imagenet100").recipes} == {"imagenet100"}
    assert "photos" in {one.name for one in offer(data="photos").recipes}


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"group": "redundant"}, "No recipe has the group 'redundant'; choose one of instance, redundancy"),
        ({"data": "coco"}, "No recipe has the data 'coco'"),
        ({"group": "redundancy", "data": "cub"}, "No recipe of the group redundancy is made for cub"),
    ],
)
def test_filters_that_leave_nothing(filters, message):
    with pytest.raises(UserError, match=message):
        offer(**filters)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("interclr_moco_imagenet100", "imagenet100"),
        ("invp_cifar100_linear", "cifar100"),
        ("cifar10_cpu", "cifar10"),
        ("photos_from_weights", "photos"),
    ],
)
def test_a_recipe_names_its_images(name, data):
    assert data_of(name) == data


def test_costs_are_counted_passes():
    # SimCLR: two views, forward and (twice as dear) backward: 6. NPID one view: 3. MoCo one, and a key: 4. BYOL: 8.
    assert counted_cost(NPIDConfig(), 32) == pytest.approx(3 / 6)
    assert counted_cost(MoCoConfig(), 32) == pytest.approx(4 / 6)
    assert counted_cost(BYOLConfig(), 32) == pytest.approx(8 / 6)
    assert SWAV_CROPS.passes(224) == pytest.approx(3.10, abs=0.005)
    assert counted_cost(swav_imagenet().method, 224) == pytest.approx(3.10 / 2, abs=0.005)


def test_measured_costs_replace_counted_ones(tmp_path, monkeypatch):
    case = {"method": "simclr", "ours": {"images_per_second": {"median": 600.0}}}
    slow = {"method": "moco", "ours": {"images_per_second": {"median": 400.0}}}
    (tmp_path / "speeds.json").write_text(json.dumps({"cases": [case, slow]}))
    monkeypatch.setattr(recipes, "MEASURED", tmp_path / "speeds.json")
    found = {one.name: (one.cost, one.measured) for one in offer(data="cifar10").recipes}
    assert found["moco_cifar10"] == (pytest.approx(1.5), True)
    assert found["moco_cifar10_symmetric"] == (pytest.approx(8 / 6), False)  # it was not what was measured
    assert found["byol_cifar10"] == (pytest.approx(8 / 6), False)
    monkeypatch.setattr(recipes, "MEASURED", tmp_path / "none.json")
    assert not any(one.measured for one in offer().recipes)


def test_the_list_is_printed_by_groups():
    ended = viewkin("recipes", "--group", "redundancy", "--data", "cifar10")
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert lines[1].startswith("REDUNDANCY: features agree")
    assert lines[2].startswith("  barlow: ")
    assert lines[3].split()[:2] == ["barlow_cifar10", "1.0"]
    assert "counted passes" in ended.out
    refused = viewkin("recipes", "--group", "red")
    assert refused.code == 2
    assert "choose one of instance" in refused.err
