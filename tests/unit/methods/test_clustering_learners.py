"""What the learners that cluster do between epochs and rounds; their steps stand under the laws."""

import pytest
import torch
from torch import nn

from lawbook import METHODS, build
from viewkin.memory.anchors import Anchors
from viewkin.memory.clusterings import Clusterings
from viewkin.methods.deepcluster import renew_classifier
from viewkin.methods.neighbourhood_discovery import NeighbourhoodDiscoveryConfig
from viewkin.methods.sela import SeLaConfig
from viewkin.ops.whitening import whitened
from viewkin.schedules import Progress


def rows(count: int, dim: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def unit(values: torch.Tensor) -> torch.Tensor:
    return nn.functional.normalize(values)


def test_anchors_are_the_images_of_lowest_entropy_with_their_nearest_neighbour():
    apart = torch.cat([torch.eye(6, dtype=torch.float64), unit(torch.ones(2, 6, dtype=torch.float64))])
    features = unit(apart + 0.01 * rows(8, 6))
    anchors = Anchors(8)
    anchors.choose_(features, 0.25, 0.1)
    cosine = features @ features.T
    probability = (cosine / 0.1).softmax(1)
    entropy = -(probability * probability.log()).sum(1)
    expected = set(entropy.argsort()[:2].tolist())
    assert {image for image, other in enumerate(anchors.neighbour.tolist()) if other >= 0} == expected
    cosine.fill_diagonal_(-2)
    for image in expected:
        assert anchors.neighbour[image] == cosine[image].argmax()


def encode(what: str, size: int | None = None) -> torch.Tensor:
    raise AssertionError("AND looks at its memory alone")


@pytest.mark.parametrize(("round", "share"), [(0, 0.0), (1, 0.25), (2, 0.5), (4, 1.0)])
def test_more_images_are_anchors_in_each_round(round, share):
    method = build(NeighbourhoodDiscoveryConfig(dim=32))
    for epoch in (0, 1):
        method.epoch(encode, Progress(round=round, rounds=5, epoch=epoch, epochs=2))
    assert method.gauges()["anchors"] == share


def test_images_that_share_a_cluster_in_any_clustering_are_together():
    held = Clusterings(6, 2, 3)
    held.labels.copy_(torch.tensor([[0, 0, 1, 1, 2, 2], [0, 1, 0, 1, 2, 2]]))
    found = held.together(torch.tensor([0, 4]), torch.tensor([[0, 1, 2, 3], [0, 5, 4, 3]]))
    assert found.tolist() == [[True, True, True, False], [False, True, True, False]]


def test_clusterings_begin_with_different_centroids():
    held = Clusterings(60, 3, 5)
    held.fit_(unit(rows(60, 4)), Progress())
    assert len({tuple(labels.tolist()) for labels in held.labels}) == 3
    assert held.labels.max() < 5


def test_components_have_variance_one_and_do_not_correlate():
    found = whitened(rows(500, 12) @ rows(12, 12, seed=1), 5)
    assert found.shape == (500, 5)
    torch.testing.assert_close(torch.cov(found.T, correction=0), torch.eye(5, dtype=torch.float64), atol=1e-8, rtol=0)


def test_components_are_those_of_largest_variance():
    values = rows(400, 3) * torch.tensor([5.0, 0.1, 1.0], dtype=torch.float64)
    correlation = torch.corrcoef(torch.cat([whitened(values, 2), values], 1).T)[:2, 2:].abs()
    assert correlation.argmax(1).tolist() == [0, 2]


def test_directions_without_variance_are_not_blown_up():
    flat = torch.cat([rows(50, 2), torch.zeros(50, 2, dtype=torch.float64)], 1)
    assert whitened(flat, 4).isfinite().all()


def test_a_classifier_starts_anew_with_small_weights():
    classifier = nn.Linear(50, 40)
    renew_classifier(classifier, torch.Generator().manual_seed(0))
    assert 0.009 < float(classifier.weight.detach().std()) < 0.011
    assert not classifier.bias.detach().any()


def test_deepcluster_names_the_parameters_that_start_anew():
    method = build(METHODS["deepcluster"])
    before = method.encoder.head[0].weight.detach().clone()
    names = method.epoch(lambda what, size=None: rows(24, method.dim).float(), Progress())
    assert set(names) <= {name for name, _ in method.named_parameters()}
    assert not torch.equal(before, method.encoder.head[0].weight)
    assert torch.equal(method.counts, torch.bincount(method.labels, minlength=3))


@pytest.mark.parametrize("name", ["deepcluster", "odc"])
def test_the_classifier_has_no_momentum(name):
    method = build(METHODS[name])
    groups = method.param_groups()
    assert [group.get("momentum") for group in groups] == [None, 0.0]
    assert len(groups[1]["named"]) == 2
    assert sum(len(group["named"]) for group in groups) == len(list(method.parameters()))


def test_labels_are_assigned_often_at_first_and_seldom_later():
    method = build(SeLaConfig(heads=2, classes=4, moments=20))
    due = [epoch for epoch in range(100) if method.due(Progress(epoch=epoch, epochs=100))]
    assert due[:4] == [0, 1, 2, 4]
    assert all(later - sooner >= 8 for sooner, later in zip(due[-5:], due[-4:]))


def test_heads_take_turns_where_one_is_labelled_an_epoch():
    method = build(SeLaConfig(heads=3, classes=4, relabel="epoch"))
    assert [method.due(Progress(epoch=epoch, epochs=6)) for epoch in range(4)] == [[0], [1], [2], [0]]


def test_labels_are_of_equal_number_after_they_are_assigned():
    method = build(SeLaConfig(heads=2, classes=4))
    method.double()
    method.epoch(lambda what, size=None: 3 * rows(24, method.dim), Progress(epochs=100))
    for labels in method.labels:
        assert torch.bincount(labels, minlength=4).tolist() == pytest.approx([6] * 4, abs=1)
