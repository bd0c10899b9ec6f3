"""A claim about whole images squashed to a square: those that teach and those that judge are stored alike."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from commandline import images_in
from viewkin.augment.policies import policy
from viewkin.commands.labelled_images import LabelledRequest, labelled_splits
from viewkin.data.dataset import Dataset
from viewkin.encode.model import Model
from viewkin.evaluation.protocols import PROTOCOLS
from viewkin.recipes.catalogue import recipe_named
from viewkin.runs.images import open_training_images
from viewkin.training.config import AugmentConfig


@pytest.mark.parametrize(("name", "squash"), [("isif-unseen", True), ("moco-v2", False)])
def test_the_policy_says_whether_images_are_squashed(tmp_path: Path, monkeypatch, name: str, squash: bool):
    monkeypatch.setenv("VIEWKIN_CACHE", str(tmp_path / "cache"))
    for split in ("train", "test"):
        images_in(tmp_path / "set" / split, 8, size=(60, 30), classes=("a", "b"))
    dataset = Dataset.of(tmp_path / "set")
    recipe = replace(recipe_named("photos"), augment=AugmentConfig(policy=name, image_size=24))
    taught = open_training_images(dataset, recipe, smoke=False)
    model = Model("mine", lambda x: x.flatten(1), 24, policy(name))
    splits = labelled_splits(LabelledRequest(data=dataset), dataset, "knn", PROTOCOLS["knn"], model)
    assert [source is not None and source.facts.squashed for source in (taught, *splits)] == [squash] * 3
