"""Claims about clusters, their names, and the choice of images to label."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from viewkin.collection.clustering import (
    centred,
    chosen_count,
    clusters,
    kmeans,
    names_of,
    silhouette,
    words_of,
)
from viewkin.collection.selection import METHODS, selected


def blobs(sizes: list[int], seed: int = 0, spread: float = 0.2) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(sizes)), sizes)
    rows = random.normal(size=(len(sizes), 32))[labels] + spread * random.normal(size=(len(labels), 32))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), labels


def test_clear_clusters_are_found_and_counted_and_the_largest_is_first():
    rows, labels = blobs([20, 60, 40, 30, 50])
    found = clusters(rows)
    assert found.count == 5
    assert found.silhouette > 0.5
    for number, size in zip(range(1, 6), (60, 50, 40, 30, 20)):
        members = found.members(number)
        assert len(members) == size
        assert len(set(labels[members])) == 1
        assert np.all(np.diff(found.similarity[members]) <= 0)


def test_a_number_is_taken_as_given_and_the_seed_decides():
    rows, _ = blobs([30, 30])
    assert clusters(rows, 7).count == 7
    assert clusters(rows, 1).count == 1
    assert (clusters(rows, 7).number == clusters(rows, 7).number).all()
    assert (clusters(rows, 7, seed=1).number != clusters(rows, 7).number).any()


def test_two_rough_halves_are_no_clusters_but_two_clear_ones_are():
    assert chosen_count(centred(blobs([50, 50])[0]), 0) == 2
    random = np.random.default_rng(0).normal(size=(300, 32)).astype(np.float32)
    random[:, 0] *= 3  # a cigar, whose halves are the best clusters by far, and are none
    two = silhouette(centred(random), *kmeans(centred(random), 2, 0))
    assert 0.25 > two > silhouette(centred(random), *kmeans(centred(random), 6, 0))
    assert chosen_count(centred(random), 0) > 3


def test_the_silhouette_compares_the_own_middle_with_the_nearest_other():
    rows, labels = torch.tensor([[0.0, 0], [1, 0], [4, 0]]), torch.tensor([0, 0, 1])
    middles = torch.tensor([[0.5, 0], [4, 0]])
    assert silhouette(rows, labels, middles) == pytest.approx(np.mean([1 - 0.5 / 4, 1 - 0.5 / 3, 1]))


def test_clusters_are_named_by_words_that_other_paths_have_not():
    keys = [f"photos/beach/IMG_{n}.jpg" for n in range(10)] + [f"photos/old-town/IMG_{n}.jpg" for n in range(20)]
    number = np.array([2] * 10 + [1] * 20)
    assert names_of(keys, number) == {1: "old town", 2: "beach"}
    assert names_of([f"IMG_{n}.jpg" for n in range(30)], number) == {}
    assert words_of("a/Big_Cat/x12 grey.jpeg") == ["big", "cat", "grey"]


@pytest.mark.parametrize("method", METHODS)
def test_a_selection_is_of_unlabelled_images_each_once_and_repeats_itself(method):
    rows, _ = blobs([30, 20, 10])
    labelled = np.array([0, 1, 35])
    chosen = selected(rows, 25, labelled, method)
    assert len(set(chosen)) == 25
    assert not set(chosen) & set(labelled.tolist())
    assert chosen == selected(rows, 25, labelled, method)
    assert sorted(selected(rows, 57, labelled, method)) == sorted(set(range(60)) - set(labelled.tolist()))


def test_typical_images_stand_for_every_cluster_without_a_label():
    rows, labels = blobs([40, 30, 20, 10])
    assert sorted(labels[selected(rows, 4, np.zeros(0, np.int64))]) == [0, 1, 2, 3]
    assert sorted(labels[selected(rows, 2, np.array([0, 41]))]) == [2, 3]  # clusters 0 and 1 have a label
    x = centred(rows).numpy()
    similarity = x @ x.T
    np.fill_diagonal(similarity, -2)
    closeness = np.sort(similarity, 1)[:, -20:].mean(1)  # to the 20 nearest, all in one cluster
    assert selected(rows, 1, np.zeros(0, np.int64)) == [int(closeness.argmax())]


def test_k_centre_takes_the_farthest_from_all_that_are_there():
    rows, _ = blobs([12, 12], spread=0.6)
    x = centred(rows).numpy()
    labelled = np.array([3])
    taken = [3]
    for row in selected(rows, 5, labelled, "k-centre"):
        distance = (1 - x @ x[taken].T).min(1)
        distance[taken] = -1
        assert distance[row] == pytest.approx(distance.max(), abs=1e-6)
        taken.append(row)
