"""Claims about k-means."""

import pytest
import torch
from torch import Tensor

from viewkin import losses
from viewkin.memory import kmeans as memory_module
from viewkin.memory.kmeans import kmeans, two_means
from viewkin.ops import kmeans as module
from viewkin.ops.kmeans import cluster_means, fill_empty_clusters, nearest_centroid
from viewkin.runtime.draws import generator_for


def blobs(per: int = 40, spread: float = 0.05) -> tuple[Tensor, Tensor]:
    """Points around the four corners of a square, and which corner each belongs to."""
    corners = torch.tensor([[1.0, 0], [0, 1], [-1, 0], [0, -1]]).double()
    owner = torch.arange(4 * per) % 4
    return corners[owner] + spread * torch.randn(4 * per, 2, dtype=torch.float64), owner


def inertia(points: Tensor, labels: Tensor) -> float:
    total = 0.0
    for cluster in labels.unique():
        members = points[labels == cluster]
        total += float((members - members.mean(0)).square().sum())
    return total


def test_clusters_that_lie_apart_are_found():
    points, owner = blobs()
    # Random first centroids may share a corner; one of a few starts has one in each.
    labels = min((kmeans(points, 4, generator_for("k", i))[0] for i in range(8)), key=lambda y: inertia(points, y))
    for corner in range(4):
        assert len(labels[owner == corner].unique()) == 1
    assert len(labels.unique()) == 4


def test_every_further_iteration_lowers_the_spread_within_clusters():
    points = torch.randn(300, 5, dtype=torch.float64)
    found = [inertia(points, kmeans(points, 12, generator_for("k"), iterations=i)[0]) for i in (1, 2, 4, 8, 20)]
    assert found == sorted(found, reverse=True)
    assert found[-1] < found[0]


def test_centroids_are_the_means_of_the_members():
    points = torch.randn(60, 3, dtype=torch.float64)
    labels, centroids = kmeans(points, 7, generator_for("k"))
    for cluster in range(7):
        torch.testing.assert_close(centroids[cluster], points[labels == cluster].mean(0))


def test_the_same_seed_gives_the_same_clusters_for_any_block(monkeypatch):
    points = torch.randn(200, 4, dtype=torch.float64)
    expected = kmeans(points, 9, generator_for("k", 1))
    monkeypatch.setattr(module, "SCORES", 9 * 7)
    found = kmeans(points, 9, generator_for("k", 1))
    assert torch.equal(expected[0], found[0])
    assert not torch.equal(expected[0], kmeans(points, 9, generator_for("k", 2))[0])


def test_nearest_is_the_smallest_euclidean_distance():
    points, centroids = torch.randn(30, 4, dtype=torch.float64), torch.randn(6, 4, dtype=torch.float64)
    distance = torch.cdist(points, centroids)
    index, squared = nearest_centroid(points, centroids)
    assert torch.equal(index, distance.argmin(1))
    torch.testing.assert_close(squared, distance.amin(1).square())


@pytest.mark.parametrize(("points", "clusters"), [(torch.zeros(10, 3), 4), (torch.zeros(5, 3), 5), (torch.eye(3), 3)])
def test_no_cluster_is_empty_even_of_equal_points(points, clusters):
    labels, centroids = kmeans(points, clusters, generator_for("k"))
    assert torch.bincount(labels, minlength=clusters).min() >= 1
    assert centroids.isfinite().all()


def test_an_empty_cluster_takes_the_farthest_point_that_is_not_a_last_one():
    labels = torch.tensor([0, 0, 0, 1])
    distance = torch.tensor([0.1, 0.5, 0.2, 0.9])
    # Image 3 lies farthest, but is all that cluster 1 has.
    assert fill_empty_clusters(labels, distance, 3).tolist() == [0, 2, 0, 1]


def test_a_mean_over_nobody_is_the_value_before():
    points, before = torch.eye(2), torch.full((3, 2), 7.0)
    assert cluster_means(points, torch.tensor([2, 2]), before).tolist() == [[7, 7], [7, 7], [0.5, 0.5]]


def test_halves_tell_two_heaps_apart_without_chance():
    points, owner = blobs()
    heaps = points[owner < 2], points[owner >= 2] - 5
    second = two_means(torch.cat(heaps))
    first_heap, second_heap = second[: len(heaps[0])], second[len(heaps[0]) :]
    assert first_heap.unique().tolist() != second_heap.unique().tolist()
    assert len(first_heap.unique()) == len(second_heap.unique()) == 1
    assert torch.equal(second, two_means(torch.cat(heaps)))


def test_equal_points_have_no_second_half():
    assert not two_means(torch.ones(6, 2)).any()


def test_points_a_rounding_apart_have_two_halves_or_no_second_one():
    improper = 0
    for seed in range(300):
        generator = torch.Generator().manual_seed(seed)
        centre, noise = (torch.randn(n, 8, generator=generator) for n in (1, 9))
        second = two_means(losses.unit(centre + 10.0 ** -(6 + seed % 3) * noise))
        assert not second.all()
        improper += not second.any()
    assert improper < 300


def test_rounded_products_give_clusters_that_are_hardly_wider(monkeypatch):
    points = losses.unit(torch.randn(6000, 32, generator=torch.Generator().manual_seed(0)))
    exact, _ = kmeans(points, 50, generator_for("k"))
    monkeypatch.setattr(memory_module, "LARGE", 0)
    monkeypatch.setattr(memory_module, "has_bf16", lambda: True)
    monkeypatch.setattr(module, "TILE", 23)
    rounded, centroids = kmeans(points, 50, generator_for("k"))
    assert not torch.equal(exact, rounded), "the test means to meet rounding"
    assert inertia(points, rounded) < 1.005 * inertia(points, exact)
    torch.testing.assert_close(centroids, cluster_means(points, rounded, torch.zeros_like(centroids)))


def test_a_rounded_winner_is_nearly_the_nearest_and_its_distance_is_exact(monkeypatch):
    monkeypatch.setattr(module, "TILE", 23)
    draw = torch.Generator().manual_seed(1)
    points, centroids = torch.randn(300, 16, generator=draw), torch.randn(100, 16, generator=draw)
    label, distance = nearest_centroid(points, centroids, torch.bfloat16)
    every = torch.cdist(points, centroids).square()
    torch.testing.assert_close(distance, every.gather(1, label.unsqueeze(1)).squeeze(1), rtol=1e-4, atol=1e-4)
    # Products of up to 20 are rounded to 8 bits.
    assert (distance - every.amin(1)).max() < 0.2
    assert (label == every.argmin(1)).double().mean() > 0.95
