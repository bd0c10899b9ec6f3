"""The values of the manual's sections 2.7, 8.1, 8.3 and 8.7, derived there without this code."""

import math

import pytest
import torch

from viewkin import metrics
from viewkin.evaluation.probes.knn import KnnConfig, knn, votes
from viewkin.evaluation.retrieval import RetrievalConfig, retrieval
from viewkin.ops.neighbours import top_k


def circle(*degrees: float) -> torch.Tensor:
    angle = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    return torch.stack([angle.cos(), angle.sin()], 1)


BANK, QUERY = circle(0, 30, 60, 90, 180, 270), circle(10)


def scores(labels: list[int], k: int, sigma: float) -> list[float]:
    """The full scores, with the factor exp(s_1 / sigma) that the votes leave out."""
    similarity, index = top_k(QUERY, BANK, k)
    (found,) = list(votes(similarity, torch.tensor(labels)[index], 3, (k,), sigma))
    return (found[1] * math.exp(float(similarity[0, 0]) / sigma)).squeeze(0).tolist()


def test_similarities_of_the_fixture():
    similarity, index = top_k(QUERY, BANK, 6)
    assert index.tolist() == [[0, 1, 2, 3, 5, 4]]
    expected = [0.984808, 0.939693, 0.642788, 0.173648, -0.173648, -0.984808]
    assert similarity.squeeze(0).tolist() == pytest.approx(expected, abs=1e-6)


def test_knn_scores_of_the_fixture():
    assert scores([0, 1, 1, 1, 0, 2], 3, 0.1)[:2] == pytest.approx([18921.9, 12670.1], abs=0.05)
    assert scores([0, 1, 1, 1, 0, 2], 3, 0.5)[:2] == pytest.approx([7.168, 10.166], abs=5e-4)
    assert scores([0, 0, 1, 1, 2, 2], 6, 0.5) == pytest.approx([13.717397, 5.031984, 0.846106], abs=1e-6)


@pytest.mark.parametrize(("k", "sigma", "winner"), [(3, 0.1, 0), (3, 0.5, 1), (1, 0.1, 0), (1, 0.5, 0)])
def test_knn_winner_of_the_fixture(k, sigma, winner):
    config = KnnConfig(k=k, temperature=sigma)
    found = knn(config, BANK, torch.tensor([0, 1, 1, 1, 0, 2]), QUERY, torch.tensor([winner]))
    assert found.predicted[k].tolist() == [winner]
    assert found.top1 == {k: 1.0}


@pytest.mark.parametrize(("k", "expected"), [(1, 0.5), (2, 0.666667), (4, 0.833333)])
def test_recall_of_the_retrieval_fixture(k, expected):
    embeddings, labels = circle(0, 5, 90, 95, 7, 200), torch.tensor([0, 0, 1, 1, 1, 2])
    _, index = top_k(embeddings, embeddings, 4, exclude_self=True)
    assert metrics.recall_at_k(labels[index], labels, k) == pytest.approx(expected, abs=1e-6)
    found = retrieval(RetrievalConfig(k=(k,)), embeddings, labels)
    assert found.recall[k] == pytest.approx(expected, abs=1e-6)


def test_interpolated_average_precision_of_voc():
    targets = torch.tensor([True, False, False, True, True])
    assert metrics.average_precision(torch.tensor([5.0, 4, 3, 2, 1]), targets) == pytest.approx(0.733333, abs=1e-6)
