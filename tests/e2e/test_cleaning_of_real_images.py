"""Claims about cleaning on real images: planted copies, foreign images, faults and flipped labels are found."""

from __future__ import annotations

import numpy as np
import pytest
from cleaning import embedded, faults, judged
from cleaning_peers import ours
from planted import SETS, features, plant_copies, plant_faults
from sklearn.metrics import average_precision_score

from viewkin.collection.outliers import outliers
from viewkin.collection.reader import Reader
from viewkin.collection.suspects import suspects
from viewkin.commands.quality import QualityRequest, quality

pytestmark = pytest.mark.data


@pytest.mark.parametrize("name", SETS)
def test_planted_copies_are_found_and_little_else(tmp_path, name):
    folder = plant_copies(tmp_path / name, name, 400, 60)
    embedded(folder)
    found = judged(folder, ours(folder))
    assert found["precision"] >= 0.99, found
    assert min(found["recall"][kind] for kind in ("exact", "jpeg", "resized")) >= 0.95, found
    assert min(found["recall"][kind] for kind in ("crop", "centre")) >= 0.8, found


def test_foreign_images_are_outliers(tmp_path):
    cars = Reader(embedded(plant_copies(tmp_path / "cars", "cars", 500, 0))[0]).vectors
    foreign = Reader(embedded(plant_copies(tmp_path / "mini", "mini", 5, 0))[0]).vectors
    truth = np.r_[np.zeros(500), np.ones(5)]
    assert average_precision_score(truth, outliers(np.concatenate([cars, foreign])).distance) >= 0.9


@pytest.mark.parametrize("name", ["cars", "mini"])
def test_planted_faults_are_found_and_clean_photographs_are_not(tmp_path, name):
    folder = plant_faults(tmp_path / name, name, 400, 20)
    place, _ = embedded(folder)
    found = faults(folder, [(row["key"], row["issue"]) for row in quality(QualityRequest(collection=place))])
    assert min(found["recall"].values()) >= 0.9, found
    assert found["false alarms"] <= 0.02, found
    assert found["flat called blurred"] == 0


def test_flipped_labels_come_before_a_ranking_by_neighbours(tmp_path):
    vectors, labels = features(tmp_path, "cifar_train")
    random = np.random.default_rng(7)
    flipped = random.random(len(labels)) < 0.05
    given = np.where(flipped, (labels + random.integers(1, 10, len(labels))) % 10, labels)
    plain = 1 - (given[outliers(vectors, 50).neighbours] == given[:, None]).mean(1)
    assert average_precision_score(flipped, suspects(vectors, given).score) > average_precision_score(flipped, plain)
