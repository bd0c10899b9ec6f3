import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn import cluster as oracle
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.metrics.cluster import contingency_matrix

from viewkin import metrics
from viewkin.evaluation.clustering import ClusterConfig, cluster
from viewkin.ops.kmeans import kmeans_plus_plus, lloyd, nearest_centroid
from viewkin.runtime.draws import generator_for
from viewkin.runtime.errors import UserError


def blobs(count: int = 200, classes: int = 5, noise: float = 0.6, dim: int = 8):
    draw = torch.Generator().manual_seed(1)
    centres = torch.randn(classes, dim, generator=draw)
    labels = torch.randint(0, classes, (count,), generator=draw)
    return centres[labels] + noise * torch.randn(count, dim, generator=draw), labels


@pytest.mark.parametrize("seed", range(3))
def test_rand_index_and_purity_equal_scikit_learn(seed):
    draw = torch.Generator().manual_seed(seed)
    a, b = torch.randint(0, 7, (200,), generator=draw) * 3, torch.randint(-4, 9, (200,), generator=draw)
    b = torch.where(torch.rand(200, generator=draw) < 0.5, a, b)
    assert metrics.adjusted_rand(a, b) == pytest.approx(adjusted_rand_score(a.numpy(), b.numpy()), abs=1e-12)
    assert metrics.purity(a, b) == contingency_matrix(a.numpy(), b.numpy()).max(1).sum() / 200


@pytest.mark.parametrize(("a", "b"), [([0, 0, 1, 1], [5, 5, 2, 2]), ([3, 3], [8, 8]), ([0, 1], [1, 0]), ([4], [9])])
def test_the_same_partition_has_a_rand_index_of_one(a, b):
    assert metrics.adjusted_rand(torch.tensor(a), torch.tensor(b)) == 1.0


def test_k_means_ends_where_that_of_scikit_learn_does():
    points = F.normalize(blobs()[0].double(), dim=1)
    first = points[:5]
    labels, centroids = lloyd(points, first, 300)
    expected = oracle.KMeans(5, init=first.numpy(), n_init=1, max_iter=300, tol=0, algorithm="lloyd").fit(
        points.numpy()
    )
    assert labels.tolist() == expected.labels_.tolist()
    np.testing.assert_allclose(centroids.numpy(), expected.cluster_centers_, atol=1e-12)


def test_the_tightest_of_the_restarts_is_as_tight_as_that_of_scikit_learn():
    features, labels = blobs(noise=1.0)
    points = F.normalize(features, dim=1)
    found = cluster(ClusterConfig(), features, labels)
    means = torch.stack([points[found.labels == c].mean(0) for c in range(5)])
    best = oracle.KMeans(5, n_init=10, random_state=0).fit(points.numpy()).inertia_
    assert nearest_centroid(points, means)[1].sum().item() == pytest.approx(best, rel=0.01)


def test_first_centroids_are_drawn_far_apart():
    # Three tight heaps of very different sizes: drawn at random they would nearly never have one each.
    heaps = torch.tensor([[0.0, 0], [50, 0], [0, 50]]).double().repeat_interleave(torch.tensor([998, 1, 1]), 0)
    for seed in range(5):
        first = kmeans_plus_plus(heaps, 3, generator_for(seed))
        assert len(first.unique(dim=0)) == 3


def test_fewer_distinct_points_than_clusters_still_give_that_many_rows():
    assert kmeans_plus_plus(torch.ones(4, 2), 3, generator_for(0)).tolist() == [[1, 1]] * 3
    found = cluster(ClusterConfig(clusters=3), torch.ones(4, 2), torch.tensor([0, 1, 0, 1]))
    assert len(found.labels.unique()) == 3  # duplicated rows: no cluster is empty


def test_classes_that_lie_apart_are_found_whatever_their_labels():
    features, labels = blobs(noise=0.05)
    found = cluster(ClusterConfig(), features, torch.tensor([70, 3, 900, 8, 41])[labels])
    assert (found.nmi, found.ari, found.purity) == pytest.approx((1.0, 1.0, 1.0))
    assert found.values()["NMI"] == pytest.approx(100.0)
    assert found.class_alignment < 0.1


def test_measures_are_those_of_the_clusters_and_of_the_unit_features():
    features, labels = blobs(noise=1.2)
    found = cluster(ClusterConfig(restarts=2), 7 * features, labels)
    points = F.normalize(features, dim=1)
    assert found.nmi == pytest.approx(normalized_mutual_info_score(found.labels.numpy(), labels.numpy()), abs=1e-9)
    assert found.uniformity == pytest.approx(metrics.uniformity(points), abs=1e-5)
    assert found.effective_rank == pytest.approx(metrics.effective_rank(points), abs=1e-4)


def test_class_alignment_is_the_mean_over_pairs_in_a_loop():
    features, labels = blobs(40)
    x = F.normalize(features.double(), dim=1)
    pairs = [float((x[i] - x[j]).square().sum()) for i in range(40) for j in range(i) if labels[i] == labels[j]]
    assert metrics.class_alignment(x, labels) == pytest.approx(sum(pairs) / len(pairs), abs=1e-12)
    assert math.isnan(metrics.class_alignment(x, torch.arange(40)))


def test_labels_do_not_reach_the_clusters():
    features, labels = blobs(noise=1.2)
    mixed = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))]
    one, other = (cluster(ClusterConfig(restarts=2), features, y) for y in (labels, mixed))
    assert torch.equal(one.labels, other.labels)
    assert other.nmi < one.nmi


def test_the_same_seed_gives_the_same_clusters():
    features, labels = blobs(noise=2.0)
    one, same, other = (cluster(ClusterConfig(restarts=1, seed=s), features, labels) for s in (0, 0, 1))
    assert torch.equal(one.labels, same.labels)
    assert not torch.equal(one.labels, other.labels)


def test_another_number_of_clusters_is_noted():
    features, labels = blobs()
    assert cluster(ClusterConfig(clusters=9), features, labels).notes == ("9 clusters beside 5 classes.",)


def test_bad_input_is_one_sentence():
    with pytest.raises(UserError, match="two classes"):
        cluster(ClusterConfig(), torch.eye(3), torch.tensor([1, 1, 1]))
    with pytest.raises(UserError, match="give fewer clusters"):
        cluster(ClusterConfig(clusters=4), torch.eye(3), torch.tensor([0, 1, 1]))


@pytest.mark.parametrize("setting", [{"clusters": 0}, {"restarts": 0}, {"iterations": 0}])
def test_a_bad_setting_is_named(setting):
    with pytest.raises(UserError, match=next(iter(setting))):
        ClusterConfig(**setting)
