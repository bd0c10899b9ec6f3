"""Worked values of PCL, Local Aggregation, AND, DeepCluster, ODC and SeLa, computed without this library."""

import math

import pytest
import torch

from planar import ANGLES, TAU, u
from viewkin import losses
from viewkin.memory.anchors import entropies

DOUBLE = torch.float64


# ---------------------------------------------------------------- PCL


@pytest.mark.parametrize(("dedup", "expected"), [(False, 0.697774), (True, 0.009221)])
def test_prototype_nce_of_two_images_of_one_cluster(dedup, expected):
    q, prototypes = u(10, 40), u(20, 120)
    temperature = torch.tensor([0.2, 0.3], dtype=DOUBLE)
    own, others = torch.tensor([0, 0]), torch.tensor([1])
    found = losses.prototype_nce(q, prototypes, temperature, own, own, others, dedup=dedup).mean()
    assert float(found) == pytest.approx(expected, abs=1e-6)


def test_temperatures_of_prototypes():
    squared = torch.tensor([0.1, 0.2, 0.4, 0.5, 0.3, 0.3], dtype=DOUBLE)
    labels = torch.tensor([0, 0, 0, 1, 2, 2])
    found = losses.concentration(squared.sqrt(), labels, 3, 0.2)
    assert found.tolist() == pytest.approx([0.180185, 0.209907, 0.209907], abs=1e-6)


# ---------------------------------------------------------------- Local Aggregation and AND, on six rows of a circle

BANK, OWN = u(*ANGLES), torch.tensor([0])


def test_local_aggregation_of_images_that_share_a_cluster_in_any_clustering():
    clusterings = torch.tensor([[0, 0, 1, 1, 2, 2], [0, 1, 0, 1, 2, 2]])
    similarity, images = (u(10) @ BANK.T).topk(4)
    close = (clusterings[:, images] == clusterings[:, OWN].unsqueeze(2)).any(0)
    assert images[close].tolist() == [0, 1, 2]
    assert float(losses.aggregation_loss(similarity, close, TAU)) == pytest.approx(0.078482, abs=1e-6)


def test_local_aggregation_without_a_close_image_is_the_floor_of_its_logarithm():
    q = u(10).requires_grad_()
    loss = losses.aggregation_loss(q @ BANK.T, torch.zeros(1, 6, dtype=torch.bool), TAU)
    assert float(loss.detach()) == pytest.approx(-math.log(1e-7))
    assert torch.equal(torch.autograd.grad(loss.sum(), q)[0], torch.zeros_like(q))


@pytest.mark.parametrize(("anchor", "expected"), [(True, 0.356635), (False, 1.005684)])
def test_neighbourhood_discovery_of_an_anchor_and_of_another_image(anchor, expected):
    logits = u(10) @ BANK.T / TAU
    found = losses.neighbourhood_loss(logits.log_softmax(1)[:, 0], logits[:, 0], logits[:, 1], torch.tensor([anchor]))
    assert float(found) == pytest.approx(expected, abs=1e-6)


# ---------------------------------------------------------------- ODC, DeepCluster and SeLa


def test_weights_of_classes_by_the_root_of_their_size():
    found = losses.class_weights(torch.tensor([100, 25, 400]), 0.5)
    assert found.tolist() == pytest.approx([0.285714, 0.571429, 0.142857], abs=1e-6)


def test_weights_by_the_size_itself_draw_every_cluster_alike():
    counts = torch.tensor([6, 3, 1, 0])
    share = (losses.class_weights(counts, 1.0) * counts).tolist()
    assert share == pytest.approx([share[0]] * 3 + [0])


LOGITS = torch.tensor(
    [[2, 1, 0], [2, 0.5, 0], [1.5, 1, 0], [1, 0, 0.5], [2, 0, 1], [1.8, 0.2, 0.1]], dtype=torch.float64
)


@pytest.mark.parametrize("strength", [2, 10, 25])
def test_labels_of_equal_number(strength):
    assert LOGITS.argmax(1).tolist() == [0] * 6
    assert losses.balanced_assignment(LOGITS, strength).argmax(1).tolist() == [1, 0, 1, 2, 2, 0]


@pytest.mark.parametrize(
    ("strength", "expected"), [(2, [0.359148, 0.537127, 0.103725]), (10, [0.089260, 0.910603, 0.000137])]
)
def test_transport_of_an_image(strength, expected):
    transport = 6 * losses.balanced_assignment(LOGITS, strength, tolerance=1e-13).exp()
    assert transport[0].tolist() == pytest.approx(expected, abs=1e-6)
    assert transport.sum(0).tolist() == pytest.approx([2, 2, 2], abs=1e-6)
    assert transport.sum(1).tolist() == pytest.approx([1] * 6, abs=1e-6)


def test_entropy_of_a_query_among_six_rows():
    rows = torch.cat([u(10), BANK])
    logits = rows[:1] @ BANK.T / TAU
    assert float(-(logits.softmax(1) * logits.log_softmax(1)).sum()) == pytest.approx(1.390855, abs=1e-6)
    expected = [float(-(p * p.log()).sum()) for p in (BANK @ BANK.T / TAU).softmax(1)]
    assert entropies(BANK, TAU).tolist() == pytest.approx(expected)
