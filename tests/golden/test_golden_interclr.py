"""Worked values of InterCLR beside those of MarginNCE in ``test_golden_methods``."""

import math

import pytest
import torch

from planar import ANGLES, PRECISIONS, near, u
from viewkin import losses
from viewkin.memory.clusters import Clusters
from viewkin.ops.kmeans import cluster_means


@PRECISIONS
@pytest.mark.parametrize(("rule", "label"), [("dot", 0), ("euclidean", 1)])
def test_rules_for_labels_differ_where_means_have_different_norms(dtype, tolerance, rule, label):
    state = Clusters(u(0, 0, dtype=dtype), 2, rule=rule)
    state.centroids.copy_(torch.cat([u(0, dtype=dtype), 0.6 * u(40, dtype=dtype)]))
    z = u(30, dtype=dtype)
    near(z @ state.centroids.T, [0.866025, 0.590885], tolerance)
    near((z - state.centroids).square().sum(1), [0.267949, 0.178231], tolerance)
    assert state.nearest(z).item() == label


@PRECISIONS
def test_centroids_of_fixture_f(dtype, tolerance):
    rows = u(*ANGLES, dtype=dtype)
    state = Clusters(rows, 3)
    state.labels.copy_(torch.tensor([0, 0, 1, 1, 2, 2]))
    state.refresh_(rows)
    for centroid, expected in zip(state.centroids, [[0.933013, 0.25], [0.25, 0.933013], [-0.5, -0.5]]):
        near(centroid, expected, tolerance)
    torch.testing.assert_close(state.centroids, cluster_means(rows, state.labels, state.centroids))
    assert state.nearest(u(46, dtype=dtype)).item() == 1


# ---------------------------------------------------------------- the angular margin: its formula and where it ends


@pytest.mark.parametrize(("degrees", "margin"), [(80, -0.5), (29, -0.5), (150, -0.5), (40, 0.3), (160, 0.3)])
def test_an_angular_margin_turns_the_positive(degrees, margin):
    found = losses.angular_margin(u(degrees)[:, 0], margin)
    near(found, math.cos(math.radians(degrees) + margin), 1e-9)


@pytest.mark.parametrize("margin", [-0.5, -0.2, 0.2, 0.5])
def test_an_angular_margin_below_zero_helps_every_positive_and_above_zero_hurts_it(margin):
    c = torch.linspace(-1, 1, 401, dtype=torch.float64)[1:-1]
    found = losses.angular_margin(c, margin)
    assert ((found > c) == (margin < 0)).all()
    assert not (found == c).any()


def test_an_angular_margin_of_zero_is_none():
    c = torch.linspace(-1, 1, 401, dtype=torch.float64)
    torch.testing.assert_close(losses.angular_margin(c, 0.0), c, rtol=0, atol=1e-9)
