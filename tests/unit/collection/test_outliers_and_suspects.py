"""Claims about outliers, doubtful labels and labels that are passed on: each against a loop over its definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from viewkin.collection.leave_one_out import BIAS, PENALTIES, leave_one_out
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


def test_leave_one_out_is_what_as_many_fits_without_one_image_give():
    vectors, labels = blobs(30, 3)
    rows, target = torch.from_numpy(vectors).double(), torch.nn.functional.one_hot(torch.from_numpy(labels)).double()
    found = leave_one_out(torch.from_numpy(vectors), torch.from_numpy(labels), 3)
    centred = torch.nn.functional.normalize(rows - rows.mean(0), dim=1)
    x = torch.cat([centred, torch.full((30, 1), BIAS, dtype=torch.float64)], 1)
    fits = []
    for penalty in PENALTIES:
        predicted = []
        for row in range(30):
            rest = torch.arange(30) != row
            gram = x[rest].T @ x[rest] + penalty * 30 * torch.eye(25, dtype=torch.float64)
            predicted.append(x[row] @ torch.linalg.solve(gram, x[rest].T @ target[rest]))
        fits.append(torch.stack(predicted))
    closest = min(float((found - fit).abs().max()) for fit in fits)
    assert closest < 1e-3
    accuracy = [float((fit.argmax(1).numpy() == labels).mean()) for fit in fits]
    assert float((found.argmax(1).numpy() == labels).mean()) == pytest.approx(max(accuracy))


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
