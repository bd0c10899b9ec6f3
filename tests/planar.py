"""Fixture F of the methods manual: unit vectors in the plane, by their angles in degrees."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from viewkin.memory.bank import FeatureBank

TAU = 0.5
ANGLES = (0, 30, 60, 90, 180, 270)
PRECISIONS = pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.float32, 2e-5)], ids=["float64", "float32"]
)


def u(*degrees: float, dtype: torch.dtype = torch.float64) -> Tensor:
    """Unit vectors at angles, (n, 2)."""
    angles = torch.tensor(degrees, dtype=torch.float64) * math.pi / 180
    return torch.stack([angles.cos(), angles.sin()], 1).to(dtype)


def own(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Query, second view, bank and index of fixture F."""
    return u(10, dtype=dtype), u(40, dtype=dtype), u(*ANGLES, dtype=dtype), torch.tensor([0])


def bank_of(*degrees: float, momentum: float = 0.5, dtype: torch.dtype = torch.float64) -> FeatureBank:
    bank = FeatureBank(len(degrees), 2, momentum=momentum).to(dtype)
    bank.features.copy_(u(*degrees, dtype=dtype))
    return bank


def near(value: Tensor, expected: float | list[float], tolerance: float) -> None:
    torch.testing.assert_close(
        value.detach().squeeze().double(), torch.tensor(expected, dtype=torch.float64), rtol=0, atol=tolerance
    )
