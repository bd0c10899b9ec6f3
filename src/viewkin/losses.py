"""Every loss as an equation: pure functions of tensors, without state or process group.

Letters, fixed for the whole package: B batch, D embedding, N images, K negatives, M candidates, C clusters.

============  ==============  =========================================================
name          shape           meaning
============  ==============  =========================================================
``q``         (B, D)          query: unit embedding of a view, with gradient (the papers' v)
``k``         (B, D)          key: the positive of each query, unit norm
``bank``      (N, D)          memory of every image, constant (V)
``index``     (B,) int64      each query's own row of the bank (i)
``negatives`` (K, D)          shared by the batch, or (B, K, D)
============  ==============  =========================================================

A *similarity* is a cosine; a *logit* is a similarity / temperature. Softmax arithmetic is float32 or wider whatever the
network runs in. Losses come per row, (B,), unless stated; the caller averages.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

BLOCK = 8192
"""Bank rows a blockwise pass handles at once: B x 8192 logits stay in cache, never B x N."""


def wide(x: Tensor) -> Tensor:
    """Lift half precision to float32; leave float32 and float64 alone."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def unit(x: Tensor) -> Tensor:
    """L2-normalise the rows of (B, D) in float32 or wider."""
    return functional.normalize(wide(x), dim=-1)


class _LogProbability(torch.autograd.Function):
    """log softmax over the bank at the own row, one online pass that also yields the analytic gradient.

    With logits s_j = q.V_j / tau and P their softmax: d log P(i) / dq = ((1 - P(i)) V_i - sum_{j != i} P(j) V_j) / tau.
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, bank: Tensor, index: Tensor, temperature: float, block: int) -> Tensor:
        # The own row stays out of the pass, in full precision: as P(i) nears 1, all that is left of the gradient is
        # what the own row's share lacks, and rounding would drown it.
        kind, own = _product_type(bank), bank[index].to(q.dtype)
        own_logit = (q * own).sum(1, keepdim=True) / temperature
        with torch.autocast(q.device.type, enabled=False):
            scaled = (q / temperature).to(kind)
            # A running maximum: `others` and `mean` are rescaled whenever it rises.
            peak, others, mean = own_logit, torch.zeros_like(own_logit), torch.zeros_like(q)
            for start, rows in zip(range(0, len(bank), block), bank.split(block)):
                rows = rows.to(kind)
                logits = _without((scaled @ rows.T).to(q.dtype), index - start)
                higher = torch.maximum(peak, logits.amax(1, keepdim=True))
                rescale = (peak - higher).exp()
                weights = (logits - higher).exp_()
                others = others * rescale + weights.sum(1, keepdim=True)
                mean = mean * rescale + (weights.to(kind) @ rows).to(q.dtype)
                peak = higher
            total = others + (own_logit - peak).exp()
            ctx.save_for_backward((own * (others / total) - mean / total) / temperature)
            return (own_logit - peak - total.log()).squeeze(1)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *upstream: Any
    ) -> tuple[Tensor, None, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return upstream[0].unsqueeze(1) * gradient, None, None, None, None


def _without(logits: Tensor, column: Tensor) -> Tensor:
    """Set one column a row to -inf in place, where it is one of (B, n); no wait for a GPU."""
    place = column.clamp(0, logits.shape[1] - 1).unsqueeze(1)
    inside = (place.squeeze(1) == column).unsqueeze(1)
    return logits.scatter_(1, place, logits.gather(1, place).masked_fill(inside, -math.inf))


def _product_type(bank: Tensor) -> torch.dtype:
    """Type of the matrix products with a bank: bfloat16 under its autocast, else the bank's own.

    Not float16 under its autocast: the many small weights of a softmax over a million rows vanish there.
    """
    device = bank.device.type
    cast = torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) == torch.bfloat16
    return torch.bfloat16 if cast and bank.dtype == torch.float32 else bank.dtype


def instance_log_probability(q: Tensor, bank: Tensor, index: Tensor, temperature: float, block: int = BLOCK) -> Tensor:
    """Log-probability that a query belongs to its own image: log P(i), P(j) = softmax_j(q.V_j / tau).

    Blockwise over the bank with the analytic gradient: memory is B x block, not B x N. The bank is constant. Matrix
    products run in the bank's precision, or bfloat16 under its autocast; sums in float32 or wider.

    Args:
        q: (B, D) unit norm, with gradient.
        bank: (N, D) constant.
        index: (B,) int64, own rows.
        temperature: tau, dimensionless.
        block: bank rows handled at once.

    Returns:
        (B,) log-probabilities, at most 0.

    References:
        Wu et al., Unsupervised Feature Learning via Non-Parametric Instance Discrimination, 2018, equation 2.
    """
    return _LogProbability.apply(wide(q), bank, index, temperature, block)  # type: ignore[no-any-return]


def info_nce_of(positive: Tensor, negative: Tensor, temperature: float, margin: float = 0.0) -> Tensor:
    """MarginNCE of similarities: ``-log e^((s+ - m)/tau) / (e^((s+ - m)/tau) + sum_K e^(s-/tau))``.

    Args:
        positive: (B,) similarity to the positive, s+.
        negative: (B, K) similarities to the negatives, s-; -inf leaves one out.
        temperature: tau, dimensionless.
        margin: cosine margin m; above 0 stricter, below 0 looser, 0 gives InfoNCE.

    References:
        van den Oord et al., CPC, 2018, equation 4; Xie et al., InterCLR, 2022, equation 6 (misprint corrected).
    """
    positive, negative = wide(positive - margin), wide(negative)
    logits = torch.cat([positive.unsqueeze(1), negative], 1) / temperature
    return logits.logsumexp(1) - logits[:, 0]


def info_nce(q: Tensor, k: Tensor, negatives: Tensor, temperature: float, margin: float = 0.0) -> Tensor:
    """InfoNCE of embeddings; ``negatives`` is (K, D) shared by the batch or (B, K, D). See :func:`info_nce_of`."""
    positive = (q * k).sum(1)
    negative = q @ negatives.T if negatives.ndim == 2 else torch.einsum("bd,bkd->bk", q, negatives)
    return info_nce_of(positive, negative, temperature, margin)


def binary_nce(positive: Tensor, negative: Tensor, temperature: float, count: int, partition: Tensor | float) -> Tensor:
    """Noise-contrastive estimation with K uniform noise samples (the loss of NPID's ImageNet release).

    ``p = e^(s/tau) / Z``, ``P_n = 1/N``; per row ``-log p_i/(p_i + K P_n) - sum_k log K P_n/(p_k + K P_n)``.

    Args:
        positive: (B,) similarity to the own bank row.
        negative: (B, K) similarities to the noise rows.
        temperature: tau, dimensionless.
        count: N, images.
        partition: Z, constant (fixed at the first batch by :func:`partition_estimate`).

    References:
        Wu et al., 2018, equations 4-8 and the released code (1e-7 in the denominators).
    """
    noise = negative.shape[1] / count
    p_positive = (wide(positive) / temperature).exp() / partition
    p_negative = (wide(negative) / temperature).exp() / partition
    of_positive = (p_positive / (p_positive + noise + 1e-7)).log()
    of_negative = (noise / (p_negative + noise + 1e-7)).log().sum(1)
    return -(of_positive + of_negative)


def partition_estimate(positive: Tensor, negative: Tensor, temperature: float, count: int) -> Tensor:
    """Monte-Carlo estimate of NCE's constant: ``Z = N * mean(e^(s/tau))`` over positives and noise; scalar."""
    similarity = wide(torch.cat([positive.unsqueeze(1), negative], 1))
    return (similarity / temperature).exp().mean() * count


def nt_xent(first: Tensor, second: Tensor, temperature: float, rows: slice = slice(None)) -> Tensor:
    """Normalised temperature cross-entropy over two views of the global batch; self excluded, the partner positive.

    The mean over both directions of the given rows; SimCLR's code reports twice this value.

    Args:
        first: (B, D) unit embeddings of view 1 of the whole global batch.
        second: (B, D) of view 2, same order.
        temperature: tau, dimensionless.
        rows: the anchors to average over (this rank's rows); the others are candidates only.

    Returns:
        (2b,) losses: the rows' first views, then their second views.

    References:
        Chen et al., SimCLR, 2020, equation 1.
    """
    everything = wide(torch.cat([first, second]))
    anchors = wide(torch.cat([first[rows], second[rows]]))
    place = torch.arange(len(first), device=first.device)[rows]
    own, partner = torch.cat([place, place + len(first)]), torch.cat([place + len(first), place])
    logits = wide(anchors @ everything.T) / temperature  # the product is half precision under autocast
    logits = logits.scatter(1, own.unsqueeze(1), -math.inf)
    return logits.logsumexp(1) - logits.gather(1, partner.unsqueeze(1)).squeeze(1)


def two_view_instance_loss(log_p: Tensor, log_p_hat: Tensor, reading: str) -> Tensor:
    """IRaug: instance recognition of two views from their log-probabilities (B,) of the own image.

    ``sumce``: ``-log P(i) - log P^(i)`` (the usual reading); ``mean``: half of it; ``logsum``: ``-log(P(i) + P^(i))``
    (the equation as printed; may be negative, never below -ln 2).

    References:
        Exploring Instance Relations, 2021, equations 2-3; METHODS 5.1 on the readings.
    """
    if reading == "logsum":
        return -torch.logaddexp(log_p, log_p_hat)
    return -(log_p + log_p_hat) * (0.5 if reading == "mean" else 1.0)


def regression(q: Tensor, k: Tensor) -> Tensor:
    """Squared distance of unit vectors: ``2 - 2 cos(q, k)`` per row.

    References:
        Grill et al., BYOL, 2020, equation 2.
    """
    return 2 - 2 * (wide(q) * wide(k)).sum(1)
