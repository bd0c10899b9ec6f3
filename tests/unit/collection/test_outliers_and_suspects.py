"""Claims about outliers, doubtful labels and labels that are passed on: each against a loop over its definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from viewkin.collection.held_out import PARTS, WIDTH, dealt, held_out_probabilities, reduced
from viewkin.collection.outliers import outliers
from viewkin.collection.propagation import TEMPERATURE, propagated
from viewkin.collection.suspects import suspects


def blobs(count: int, classes: int, seed: int = 0, spread: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """Unit rows around as many centres as classes, and their classes."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    rows = random.normal(size=(classes, 24))[labels] + spread * random.normal(size=(count, 24))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), labels.astype(np.int64)


def average_precision(score: np.ndarray, positive: np.ndarray) -> float:
    hits = positive[np.argsort(-score, kind="stable")]
    return float((np.cumsum(hits) / np.arange(1, len(hits) + 1))[hits].mean())


def test_the_distance_is_that_to_the_kth_nearest_other():
    rows, _ = blobs(40, 4)
    found = outliers(rows, 3)
    for row in range(40):
        similarity = rows @ rows[row]
        similarity[row] = -2
        nearest = np.argsort(-similarity, kind="stable")[:3]
        assert found.neighbours[row].tolist() == nearest.tolist()
        assert found.distance[row] == pytest.approx(1 - similarity[nearest[2]], abs=1e-6)
    assert np.all(np.diff(found.distance[found.order]) <= 0)


def test_images_of_another_kind_come_first():
    rows, _ = blobs(400, 4)
    rows[:4] = blobs(4, 4, seed=9)[0]
    planted = np.arange(400) < 4
    assert average_precision(outliers(rows).distance, planted) > 0.9


def test_fewer_images_than_neighbours_are_enough():
    found = outliers(blobs(3, 3)[0], 10)
    assert found.neighbours.shape == (3, 2)


def test_every_image_is_judged_by_a_classifier_that_was_taught_by_the_other_parts():
    vectors, labels = blobs(60, 3, spread=1.0)
    rows, classes = torch.from_numpy(vectors), torch.from_numpy(labels)
    found = held_out_probabilities(rows, classes, 3)
    centred = torch.nn.functional.normalize(rows - rows.mean(0), dim=1)
    part = dealt(classes, 0)
    for one in range(PARTS):
        oracle = LogisticRegression(C=1.0, tol=1e-8, max_iter=1000).fit(centred[part != one], classes[part != one])
        np.testing.assert_allclose(found[part == one], oracle.predict_proba(centred[part == one]), atol=2e-3)


def test_parts_have_as_many_of_each_class_and_depend_on_the_seed():
    labels = torch.arange(100) % 4
    part = dealt(labels, 0)
    assert all(len(set(part[labels == c].bincount(minlength=PARTS).tolist())) == 1 for c in range(4))
    assert not torch.equal(part, dealt(labels, 1))


def test_many_numbers_are_reduced_to_the_main_directions():
    generator = torch.Generator().manual_seed(0)
    plain = torch.randn(80, 10, generator=generator) @ torch.randn(10, WIDTH + 44, generator=generator)
    rows = torch.nn.functional.normalize(plain, dim=1)
    kept = reduced(rows)
    centred = torch.nn.functional.normalize(rows - rows.mean(0), dim=1)
    assert kept.shape == (80, WIDTH)
    torch.testing.assert_close(kept @ kept.T, centred @ centred.T, atol=1e-4, rtol=0)


def test_flipped_labels_come_before_others_and_the_true_class_is_suggested():
    rows, labels = blobs(500, 5, spread=1.2)
    random = np.random.default_rng(1)
    flipped = random.random(500) < 0.05
    given = np.where(flipped, (labels + random.integers(1, 5, 500)) % 5, labels)
    found = suspects(rows, given)
    neighbours = outliers(rows, 10).neighbours
    plain = 1 - (given[neighbours] == given[:, None]).mean(1)
    ours = average_precision(found.score, flipped)
    assert ours > 0.8
    assert ours >= average_precision(plain, flipped)
    assert (found.suggested[flipped] == labels[flipped]).mean() > 0.8
    assert (found.suggested != given).all()
    assert (found.agreeing == (given[neighbours] == given[:, None]).sum(1)).all()
    assert np.all(np.diff(found.score[found.order]) <= 0)
    assert found.contradicted[flipped].mean() > 0.8 > 0.2 > found.contradicted[~flipped].mean()


def test_labels_are_passed_on_by_the_weighted_votes_of_the_nearest():
    rows, labels = blobs(60, 3, spread=1.0)
    given = np.where(np.arange(60) < 15, labels, -1)
    number, confidence = propagated(rows, given, k=4)
    centred = rows - rows.mean(0)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    for row in range(15, 60):
        similarity = centred[:15] @ centred[row]
        nearest = np.argsort(-similarity, kind="stable")[:4]
        votes = np.zeros(3)
        for one in nearest:
            votes[labels[one]] += np.exp(similarity[one] / TEMPERATURE)
        assert number[row] == votes.argmax()
        assert confidence[row] == pytest.approx(votes.max() / votes.sum(), abs=1e-4)
    assert number[:15].tolist() == labels[:15].tolist()
    assert (confidence[:15] == 1).all()


def test_confident_labels_are_right_more_often():
    rows, labels = blobs(600, 6, spread=2.0)
    given = np.where(np.arange(600) < 60, labels, -1)
    number, confidence = propagated(rows, given)
    right, rest = number[60:] == labels[60:], confidence[60:]
    half = np.argsort(-rest)[:270]
    assert right[half].mean() > right.mean() + 0.05


def test_nothing_to_pass_on_to_is_no_error():
    rows, labels = blobs(6, 2)
    assert propagated(rows, labels)[0].tolist() == labels.tolist()
