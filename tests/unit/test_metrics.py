import math

import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import normalized_mutual_info_score

from viewkin import metrics


def rows(count: int, dim: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_accuracy_is_the_share_of_equal_rows():
    assert metrics.accuracy(torch.tensor([1, 2, 3, 4]), torch.tensor([1, 0, 3, 0])) == 0.5


def test_accuracy_of_ranked_classes_counts_any_place():
    ranked = torch.tensor([[1, 2], [3, 4], [5, 6]])
    assert metrics.accuracy(ranked, torch.tensor([2, 0, 5])) == pytest.approx(2 / 3)


def test_recall_looks_no_further_than_k():
    neighbours = torch.tensor([[0, 1, 1], [1, 1, 0]])
    labels = torch.tensor([1, 0])
    assert [metrics.recall_at_k(neighbours, labels, k) for k in (1, 2, 3, 9)] == [0.0, 0.5, 1.0, 1.0]


@pytest.mark.parametrize("seed", range(4))
def test_nmi_equals_scikit_learn(seed):
    draw = torch.Generator().manual_seed(seed)
    a, b = torch.randint(0, 7, (200,), generator=draw) * 3, torch.randint(-4, 9, (200,), generator=draw)
    b = torch.where(torch.rand(200, generator=draw) < 0.5, a, b)
    assert metrics.nmi(a, b) == pytest.approx(normalized_mutual_info_score(a.numpy(), b.numpy()), abs=1e-12)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([0, 0, 1, 1], [5, 5, 2, 2], 1.0),
        ([0, 0, 1, 1], [0, 1, 0, 1], 0.0),
        ([3, 3], [8, 8], 1.0),
        ([0, 1], [4, 4], 0.0),
    ],
)
def test_nmi_of_equal_independent_and_single_partitions(a, b, expected):
    assert metrics.nmi(torch.tensor(a), torch.tensor(b)) == pytest.approx(expected, abs=1e-12)


def test_alignment_of_a_quarter_turn_is_two_and_of_equals_zero():
    x, y = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    assert metrics.alignment(x, y) == pytest.approx(2.0)
    assert metrics.alignment(x, y, alpha=1) == pytest.approx(math.sqrt(2))
    assert metrics.alignment(x, x) == 0.0


@pytest.mark.parametrize("block", [1, 7, 1024])
def test_uniformity_is_the_mean_over_pairs_in_a_loop(block):
    x = F.normalize(rows(23, 5), dim=1)
    pairs = [math.exp(-2 * float((x[i] - x[j]).square().sum())) for i in range(23) for j in range(i)]
    assert metrics.uniformity(x, block=block) == pytest.approx(math.log(sum(pairs) / len(pairs)), abs=1e-9)


def test_uniformity_of_one_point_is_zero_and_of_opposite_points_minus_eight():
    assert metrics.uniformity(torch.ones(4, 1)) == pytest.approx(0.0, abs=1e-6)
    assert metrics.uniformity(torch.tensor([[1.0], [-1.0]])) == pytest.approx(-8.0, abs=1e-6)


def test_effective_rank_of_known_spectra():
    # Singular values (3, 1): H = ln 4 - 3/4 ln 3.
    assert metrics.effective_rank(torch.diag(torch.tensor([3.0, 1.0]))) == pytest.approx(4 / 3**0.75, abs=1e-9)
    assert metrics.effective_rank(torch.eye(6)) == pytest.approx(6.0, abs=1e-9)
    assert metrics.effective_rank(torch.ones(50, 8)) == pytest.approx(1.0, abs=1e-6)
    assert metrics.effective_rank(torch.zeros(5, 3)) == 0.0


@pytest.mark.parametrize("shape", [(40, 6), (6, 40)])
def test_effective_rank_is_the_entropy_of_the_singular_values(shape):
    x = rows(*shape)
    sigma = torch.linalg.svdvals(x)
    p = sigma / sigma.sum()
    assert metrics.effective_rank(x) == pytest.approx(math.exp(-float((p * p.log()).sum())), abs=1e-8)
    assert metrics.effective_rank(7 * x) == pytest.approx(metrics.effective_rank(x), abs=1e-8)


def test_spread_of_embeddings_is_near_one_over_root_d_and_zero_when_collapsed():
    assert metrics.per_dimension_std(rows(5000, 64)).mean().item() == pytest.approx(1 / 8, rel=0.01)
    assert metrics.per_dimension_std(torch.ones(10, 3) * torch.arange(1, 11)[:, None]).abs().max().item() < 1e-6


def test_spread_is_measured_after_scaling_to_unit_norm():
    x = torch.tensor([[2.0, 0.0], [0.0, 5.0]])
    torch.testing.assert_close(metrics.per_dimension_std(x), torch.tensor([0.5, 0.5]))
