"""Losses of the statistics of a batch: Barlow Twins, VICReg, SIGReg. They have no negatives and want large batches."""

from __future__ import annotations

import torch
from torch import Tensor

from viewkin.ops.precision import at_least_float32

KNOTS = 17
"""Points at which SIGReg compares characteristic functions."""
FARTHEST_KNOT = 3.0
"""The last of them; the first is 0."""


def standardised(z: Tensor, eps: float = 1e-5) -> Tensor:
    """Give every column of (B, D) mean 0 and (biased) variance 1: BatchNorm without scale and shift."""
    z = at_least_float32(z)
    return (z - z.mean(0)) / (z.var(0, correction=0) + eps).sqrt()


def cross_correlation_loss(first: Tensor, second: Tensor, weight: float) -> tuple[Tensor, Tensor]:
    """Barlow Twins: ``sum_i (1 - C_ii)^2`` and ``lambda sum_{i != j} C_ij^2``, ``C = z1^T z2 / B`` of standard columns.

    Args:
        first: (B, D) raw embeddings of view 1 of the global batch.
        second: (B, D) of view 2, same order.
        weight: lambda.

    Returns:
        Two scalars: invariance, redundancy (weighted).

    References:
        Zbontar et al., Barlow Twins, 2021, equations 1-2.
    """
    with torch.autocast(first.device.type, enabled=False):
        correlation = standardised(first).T @ standardised(second) / len(first)
    own = correlation.diagonal()
    redundant = correlation.square().sum() - own.square().sum()
    return (1 - own).square().sum(), weight * redundant


def hinged_deviation(z: Tensor, least: float = 1.0) -> Tensor:
    """VICReg's variance term, ``mean_j max(0, 1 - sqrt(Var_j + 1e-4))``, unbiased variance: (B, D) -> scalar."""
    return (least - (at_least_float32(z).var(0) + 1e-4).sqrt()).clamp(min=0).mean()


def off_diagonal_covariance(z: Tensor) -> Tensor:
    """VICReg's covariance term, ``(1/D) sum_{i != j} Cov_ij^2``, unbiased covariance: (B, D) -> scalar."""
    z = at_least_float32(z)
    z = z - z.mean(0)
    with torch.autocast(z.device.type, enabled=False):
        covariance = z.T @ z / (len(z) - 1)
    return (covariance.square().sum() - covariance.diagonal().square().sum()) / z.shape[1]


def gaussian_distance(z: Tensor, directions: Tensor) -> Tensor:
    """SIGReg: distance of the batch from a standard normal distribution, in random directions.

    For each direction a: ``B sum_k w_k phi_k [(mean_b cos(t_k a.z_b) - phi_k)^2 + (mean_b sin(t_k a.z_b))^2]`` with
    ``phi = e^(-t^2 / 2)`` at 17 knots t from 0 to 3 and the trapezoid's weights w (twice: t and -t count alike).

    Args:
        z: (B, D) raw embeddings of the global batch.
        directions: (A, D) unit norm.

    Returns:
        Scalar, the mean over directions.

    References:
        Balestriero and LeCun, LeJEPA, 2025, the Epps-Pulley statistic of the authors' code.
    """
    with torch.autocast(z.device.type, enabled=False):
        projected = at_least_float32(z) @ directions.T.to(at_least_float32(z).dtype)
    t = torch.linspace(0, FARTHEST_KNOT, KNOTS, dtype=projected.dtype, device=z.device)
    phi = (-t.square() / 2).exp()
    inner = (t > 0) & (t < FARTHEST_KNOT)
    weight = (1 + inner.to(t.dtype)) * (FARTHEST_KNOT / (KNOTS - 1))
    total = projected.new_zeros(projected.shape[1])
    for knot, target, share in zip(t, phi, weight * phi):  # one knot at a time: B x A numbers, not B x A x 17
        angle = knot * projected
        total = total + share * ((angle.cos().mean(0) - target).square() + angle.sin().mean(0).square())
    return len(z) * total.mean()
