"""Sums over the negatives of a query that are selected by a similarity threshold.

:func:`plain_pool_log_sum` is the definition, as a dense matrix. :func:`pool_log_sum` is the same in blocks, without
sorting or gathering, and corrects what rounding would change.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from viewkin.ops.nearest_sums import BELOW
from viewkin.ops.precision import FARTHEST, at_least_float32, exponential_type

PARTS = 8
"""Number of columns that subtract the level: 8 x 8 bits represent a float64, and multiples of 8 suit tensor cores."""


class _PoolLogSum(torch.autograd.Function):
    """log of a sum of exponentials over selected candidates, in one pass with its analytic gradient.

    With logits s_c = q.V_c / tau and the kept candidates c: d log(sum e^s_c) / dq = (sum softmax(s)_c V_c) / tau.
    """

    @staticmethod
    def forward(
        ctx: Any,
        q: Tensor,
        bank: Tensor,
        columns: Tensor,
        labels: Tensor,
        own: Tensor,
        least: Tensor | None,
        temperature: float,
        far: bool,
    ) -> Tensor:
        kind, block, sign = exponential_type(bank, temperature), block_of(bank), -1 if far else 1
        level = q.new_zeros(len(q)) if least is None else least.clamp(FARTHEST / temperature, -FARTHEST / temperature)
        level = level.to(torch.promote_types(q.dtype, kind)).unsqueeze(1)
        # The level is subtracted within the product, so that the result is rounded when it is small.
        scaled = sign * torch.cat([_scaled(q, kind, temperature), *(-part.to(kind) for part in _parts(level))], 1)
        # A candidate at the level is included, whatever the rounding of its product; otherwise ranks could differ.
        slack = 8 * torch.finfo(torch.promote_types(kind, torch.float32)).eps / temperature
        total, mean = torch.zeros_like(level), level.new_zeros(q.shape)
        labels, order = labels.sort(stable=True)
        with torch.autocast(q.device.type, enabled=False):
            for drawn, others in zip(columns[order].split(block), labels.split(block)):
                rows = functional.pad(bank.index_select(0, drawn).to(kind), (0, PARTS), value=1)
                logits = scaled @ rows.T
                if least is not None:
                    torch.threshold_(logits, -slack, math.inf if far else BELOW)
                weights = _without_own(logits.neg_() if far else logits, others, own).exp_()
                total += weights.sum(1, keepdim=True, dtype=total.dtype)
                mean += weights @ rows[:, : q.shape[1]]
        # Selected candidates weigh 1 or more; a million of those left out weigh 1e-20 together (0 without ``BELOW``).
        none = total <= (0 if far or least is None else 0.5)
        ctx.save_for_backward((mean / total / temperature).masked_fill(none, 0).to(q.dtype))
        return (level + total.log()).masked_fill(none, -math.inf).squeeze(1).to(q.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Any) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        (gradient,) = ctx.saved_tensors
        return upstream[0].unsqueeze(1) * gradient, *[None] * 7


def _scaled(q: Tensor, kind: torch.dtype, temperature: float) -> Tensor:
    return (q / temperature).to(kind)


def _parts(level: Tensor) -> list[Tensor]:
    """Split the level into bfloat16 numbers whose sum it is, one per column."""
    parts: list[Tensor] = []
    for _ in range(PARTS):
        parts.append(level.bfloat16().to(level.dtype))
        level = level - parts[-1]
    return parts


def _without_own(logits: Tensor, labels: Tensor, own: Tensor) -> Tensor:
    """Set logits (B, n) of candidates with the query's label to -inf in place; the labels (n,) are sorted."""
    among: Tensor | slice = slice(None)
    if logits.device.type == "cpu":  # few queries have one of these labels; on a GPU the check would wait for it
        among = ((own >= labels[0]) & (own <= labels[-1])).nonzero().squeeze(1)
    logits[among] = logits[among].masked_fill(labels == own[among].unsqueeze(1), -math.inf)
    return logits


def block_of(bank: Tensor) -> int:
    """Number of candidates per block: as many as fit in the cache of a CPU, more on a GPU."""
    return 4096 if bank.device.type == "cpu" else 65536


def pool_logits(q: Tensor, bank: Tensor, columns: Tensor, temperature: float) -> Tensor:
    """Logits (B, m) of candidates (m,) without gradient, for the ``least`` of :func:`pool_log_sum`.

    Operands are rounded like there, but logits are not: those of nearly equal rows may differ by less than one rounding
    step.
    """
    kind = exponential_type(bank, temperature)
    accumulated = torch.promote_types(kind, torch.float32)
    with torch.no_grad(), torch.autocast(q.device.type, enabled=False):
        rows = bank.index_select(0, columns).to(kind)
        return _scaled(at_least_float32(q), kind, temperature).to(accumulated) @ rows.to(accumulated).T


def pool_log_sum(
    q: Tensor,
    bank: Tensor,
    columns: Tensor,
    labels: Tensor,
    own: Tensor,
    least: Tensor | None,
    temperature: float,
    *,
    far: bool = False,
) -> Tensor:
    """``log sum_c e^(q.V_c / tau)`` over the candidates of other labels whose logit is at least ``least``: (B,).

    Memory is B x block. Matrix products and exponentials have the type of :func:`exponential_type`; sums are at least
    float32.

    Args:
        q: (B, D) unit norm, with gradient.
        bank: (N, D) constant.
        columns: (M,) int64, bank rows that are candidates.
        labels: (M,) labels of the candidates.
        own: (B,) labels of the queries.
        least: (B,) threshold of the logits, computed from :func:`pool_logits`; None: use all candidates.
        temperature: tau, dimensionless.
        far: whether to use the candidates below the threshold instead of those above.

    Returns:
        (B,); -inf for a query without a candidate, whose gradient is 0.
    """
    return _PoolLogSum.apply(at_least_float32(q), bank, columns, labels, own, least, temperature, far)  # type: ignore[no-any-return]


def plain_pool_log_sum(
    q: Tensor,
    bank: Tensor,
    columns: Tensor,
    labels: Tensor,
    own: Tensor,
    least: Tensor | None,
    temperature: float,
    *,
    far: bool = False,
) -> Tensor:
    """:func:`pool_log_sum` as a dense (B, M) matrix with autograd: what the fast form has to equal."""
    logits = q @ bank[columns].to(q.dtype).T / temperature
    kept = labels != own.unsqueeze(1)
    if least is not None:
        kept &= logits < least.unsqueeze(1) if far else logits >= least.unsqueeze(1)
    return logits.masked_fill(~kept, -math.inf).logsumexp(1)
