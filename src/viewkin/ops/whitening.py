"""Principal components of equal variance."""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK = 65536
"""Rows at a time, in double precision."""


@torch.no_grad()
def whitened(rows: Tensor, size: int, least: float = 1e-5) -> Tensor:
    """Project rows onto their principal components, each divided by its standard deviation: (N, F) -> (N, size).

    Args:
        rows: (N, F) float32.
        size: number of components; at most F are kept.
        least: smallest variance, as a share of the largest: components below it are not enlarged further.

    Returns:
        (N, min(size, F)), of the type of ``rows``.
    """
    mean = rows.mean(0)
    covariance = rows.new_zeros(rows.shape[1], rows.shape[1], dtype=torch.float64)
    for part in rows.split(BLOCK):
        centred = (part - mean).double()
        covariance += centred.T @ centred / len(rows)
    variance, axes = torch.linalg.eigh(covariance)
    variance, axes = variance.flip(0)[:size], axes.flip(1)[:, :size]
    floor = (least * variance[0]).clamp(min=torch.finfo(torch.float64).tiny)
    return (rows - mean) @ (axes / variance.clamp(min=floor).sqrt()).to(rows.dtype)
