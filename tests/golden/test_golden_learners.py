"""Worked values of the learners that people take, computed without this library; and loops and limits beside them."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from planar import PRECISIONS, near, u
from viewkin import losses
from viewkin.methods.base import Batch
from viewkin.methods.nnclr import NNCLRConfig
from viewkin.methods.simsiam import SimSiamConfig
from viewkin.methods.vicreg import VICRegConfig
from viewkin.runtime.draws import Draw
from viewkin.schedules import Progress

DOUBLE = torch.float64
FIRST, SECOND = ([[1, 2], [3, 1], [5, 6]], [[2, 1], [3, 2], [7, 5]])
"""Two views of three images, D = 2."""


class Flat(nn.Module):
    """A backbone that gives pixels: (B, 3, 2, 2) -> (B, 12)."""

    feature_dim = 12

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)


def of(rows: Any, dtype: torch.dtype = DOUBLE, by: float = 1.0) -> Tensor:
    return torch.tensor(rows, dtype=dtype) / by


# ---------------------------------------------------------------- SimSiam and FastSiam


def fed(config: SimSiamConfig, projections: Tensor, predictions: Tensor) -> float:
    """The loss of one image whose views have these projections and predictions (V, D)."""
    method = config.build(Flat(), count=4).double()
    given = iter(projections), iter(predictions)
    for network, outputs in zip((method.encoder, method.predictor), given):
        network.forward = lambda x, rows=outputs: next(rows).unsqueeze(0)  # type: ignore[method-assign]
    views = {name: torch.zeros(1, 3, 2, 2, dtype=DOUBLE) for name in method.view_spec}
    batch = Batch(views, torch.zeros(1, dtype=torch.int64), Draw(0, 0, 1, 0, 1))
    return float(method(batch, Progress()).loss)


def test_simsiam_of_views_at_60_degrees():
    assert fed(SimSiamConfig(dim=2), u(0, 60), u(0, 60)) == pytest.approx(-0.5)


def test_fastsiam_averages_raw_projections():
    z, p = of([[1, 0], [0, 2], [3, 3]]), of([[1, 1], [1, 0], [0, 1]])
    found = fed(SimSiamConfig(dim=2, views=3), z, p)
    assert found == pytest.approx(-0.888190, abs=1e-6)
    assert found != pytest.approx(-0.851622, abs=1e-3)  # of unit projections
    assert found != pytest.approx(-0.735702, abs=1e-3)  # of pairwise cosines


# ---------------------------------------------------------------- Barlow Twins


@PRECISIONS
def test_cross_correlation(dtype, tolerance):
    first, second = of(FIRST, dtype), of(SECOND, dtype)
    invariance, redundancy = losses.cross_correlation_loss(first, second, 0.0051)
    near(invariance + redundancy, 0.020634, tolerance)
    correlation = losses.statistics.standardised(first).T @ losses.statistics.standardised(second) / 3
    near(correlation.flatten(), [0.944908, 0.960765, 0.928569, 0.907839], tolerance)


# ---------------------------------------------------------------- VICReg


@PRECISIONS
def test_terms_of_vicreg(dtype, tolerance):
    first, second = of(FIRST, dtype, 4), of(SECOND, dtype, 4)
    invariance = (first - second).square().mean()
    variance = (losses.hinged_deviation(first) + losses.hinged_deviation(second)) / 2
    covariance = losses.off_diagonal_covariance(first) + losses.off_diagonal_covariance(second)
    near(invariance, 0.083333, tolerance)
    near(variance, 0.414090, tolerance)
    near(covariance, 0.180664, tolerance)
    config = VICRegConfig()
    weights = (config.invariance, config.variance, config.covariance)
    near(weights[0] * invariance + weights[1] * variance + weights[2] * covariance, 12.616251, 20 * tolerance)


def test_vicreg_of_longer_vectors_has_no_variance_term():
    first, second = of(FIRST), of(SECOND)
    assert float(losses.hinged_deviation(first) + losses.hinged_deviation(second)) == 0
    found = losses.off_diagonal_covariance(first) + losses.off_diagonal_covariance(second)
    assert float(found) == pytest.approx(46.25, abs=1e-6)


def test_vicreg_of_constant_embeddings_and_of_shifted_ones():
    assert float(losses.hinged_deviation(torch.ones(5, 3, dtype=DOUBLE))) == pytest.approx(0.99)
    z, shift = of(FIRST, by=4), of([3, -7])
    assert float(losses.hinged_deviation(z + shift)) == pytest.approx(float(losses.hinged_deviation(z)))
    assert float(losses.off_diagonal_covariance(z + shift)) == pytest.approx(float(losses.off_diagonal_covariance(z)))


# ---------------------------------------------------------------- SIGReg


@pytest.mark.parametrize(
    ("values", "expected"),
    [([-1, 0, 0.5, 2], 0.214214), ([0, 0, 0, 0], 1.608190), ([-0.31864, 0.31864, -1.15035, 1.15035], 0.027398)],
)
def test_distance_from_a_normal_distribution(values, expected):
    found = losses.gaussian_distance(of(values).unsqueeze(1), torch.ones(1, 1, dtype=DOUBLE))
    assert float(found) == pytest.approx(expected, abs=1e-6)


# ---------------------------------------------------------------- NNCLR


def test_nnclr_looks_up_before_it_enqueues():
    method = NNCLRConfig(dim=2, queue_size=2, temperature=0.5).build(Flat(), count=9).double()
    method.queue.keys.copy_(u(0, 90))
    z, p, index = u(20, 60), u(30, 70), torch.arange(2)
    assert float(method.pair_loss(p, method.neighbour(z), index).mean()) == pytest.approx(0.323865, abs=1e-6)
    method.queue.push_(z)  # the mistake: each projection finds itself
    assert torch.equal(method.neighbour(z), z)
    assert float(method.pair_loss(p, method.neighbour(z), index).mean()) == pytest.approx(0.494956, abs=1e-6)


# ---------------------------------------------------------------- gradients


@pytest.mark.parametrize(
    "loss",
    [
        lambda z: sum(losses.cross_correlation_loss(z, z.roll(1, 0), 0.0051)),
        lambda z: losses.hinged_deviation(z / 4),
        losses.off_diagonal_covariance,
        lambda z: losses.gaussian_distance(z, u(20, 130, 250)),
    ],
    ids=["barlow", "variance", "covariance", "sigreg"],
)
def test_gradients_are_those_of_finite_differences(loss):
    z = of([[0.3, -1.0], [1.2, 0.4], [-0.7, 0.9], [0.1, 2.0]]).requires_grad_()
    assert torch.autograd.gradcheck(loss, z)
