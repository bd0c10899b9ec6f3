"""The negatives of a query cut at a threshold: a sum over candidates, none of them sorted or gathered."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from viewkin.losses.precision import product_type, wide

NEGLIGIBLE = -60.0
"""Exponents below count as this one, e^-60 = 1e-26: exp of -inf is 5 times slower, to a denormal 50 times."""


class _PoolLogSum(torch.autograd.Function):
    """log of a masked sum of exponentials in one online pass, with its analytic gradient.

    With logits s_c = q.V_c / tau and the kept candidates c: d log(sum e^s_c) / dq = (sum softmax(s)_c V_c) / tau.
    """

    @staticmethod
    def forward(
        ctx: Any,
        q: Tensor,
        bank: Tensor,
        columns: Tensor,
        other: Tensor,
        own: Tensor,
        least: Tensor,
        temperature: float,
        sign: int,
    ) -> Tensor:
        kind, block = product_type(bank), block_of(bank)
        peak, total, mean = q.new_full((len(q), 1), -math.inf), q.new_zeros(len(q), 1), torch.zeros_like(q)
        with torch.autocast(q.device.type, enabled=False):
            query = q.to(kind)
            for drawn, labels in zip(columns.split(block), other.split(block)):
                part = bank.index_select(0, drawn).to(kind)
                similarity = (query @ part.T).to(q.dtype)
                left_out = (labels == own) | (similarity * sign < least)
                logits = similarity.div_(temperature).masked_fill_(left_out, -math.inf)
                higher = torch.maximum(peak, logits.amax(1, keepdim=True))
                level = higher.masked_fill(higher == -math.inf, 0)  # nothing kept so far
                rescale = (peak - level).exp()  # 0 where nothing was kept before
                weights = logits.sub_(level).clamp_min_(NEGLIGIBLE).exp_()
                total = total * rescale + weights.sum(1, keepdim=True)
                mean = mean * rescale + (weights.to(kind) @ part).to(q.dtype)
                peak = higher
        ctx.save_for_backward((mean / total / temperature).masked_fill(peak == -math.inf, 0))
        return (peak + total.log()).squeeze(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Any) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        (gradient,) = ctx.saved_tensors
        return upstream[0].unsqueeze(1) * gradient, *[None] * 7


def block_of(bank: Tensor) -> int:
    """Candidates compared at once: as many as stay in a processor's cache, more on a GPU, which has many hands."""
    return 4096 if bank.device.type == "cpu" else 65536


def pool_log_sum(
    q: Tensor,
    bank: Tensor,
    columns: Tensor,
    other: Tensor,
    own: Tensor,
    least: Tensor | None,
    temperature: float,
    *,
    far: bool = False,
) -> Tensor:
    """``log sum_c e^(q.V_c / tau)`` over the candidates of another label that are near enough: (B,).

    Memory is B x block; matrix products run in the precision of :func:`product_type`, sums in float32 or wider.

    Args:
        q: (B, D) unit norm, with gradient.
        bank: (N, D) constant.
        columns: (M,) int64, its rows that are candidates.
        other: (M,) their labels.
        own: (B,) the queries' labels.
        least: (B,) the least similarity that counts (with ``far`` the largest); none: all count.
        temperature: tau, dimensionless.
        far: keep what lies below the threshold.

    Returns:
        (B,); -inf for a query without a candidate, whose gradient is 0.
    """
    q = wide(q)
    if least is None:
        least = q.new_full((len(q),), math.inf if far else -math.inf)
    sign = -1 if far else 1
    threshold = (sign * least).unsqueeze(1).to(q.dtype)
    return _PoolLogSum.apply(q, bank, columns, other, own.unsqueeze(1), threshold, temperature, sign)  # type: ignore[no-any-return]


def nce_of_sum(positive: Tensor, log_sum: Tensor, temperature: float, margin: float = 0.0) -> Tensor:
    """:func:`info_nce_of`, (B,), from ``log sum e^(s-/tau)`` of the negatives, (B,), instead of each of them."""
    return torch.nn.functional.softplus(log_sum - wide(positive - margin) / temperature)
