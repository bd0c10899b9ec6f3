"""Worked values of PCL, Local Aggregation, AND, DeepCluster, ODC and SeLa, computed without this library."""

import math

import pytest
import torch
from torch import Tensor

from viewkin import losses

DOUBLE = torch.float64


def u(*degrees: float) -> Tensor:
    """Unit vectors (n, 2) at angles."""
    return torch.tensor([[math.cos(math.radians(a)), math.sin(math.radians(a))] for a in degrees], dtype=DOUBLE)


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
