"""Instance discrimination: an image among all images of a bank, by the full softmax or by sampled negatives."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from viewkin.ops.precision import BLOCK, at_least_float32, needs_no_shift, product_type, sums_in_range


class _LogProbability(torch.autograd.Function):
    """log softmax over the bank at the own row, in one pass that also computes the analytic gradient.

    With logits s_j = q.V_j / tau and P their softmax: d log P(i) / dq = ((1 - P(i)) V_i - sum_{j != i} P(j) V_j) / tau,
    and d log P(i) / dV_i = (1 - P(i)) q / tau, if V_i is given in place of the bank's row.
    """

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, own: Tensor, bank: Tensor, index: Tensor, temperature: float, block: int
    ) -> Tensor:
        # The own row is treated apart, in full precision: as P(i) approaches 1, the gradient is proportional to
        # 1 - P(i), which rounding would destroy.
        kind = product_type(bank)
        own_logit = (q * own).sum(1, keepdim=True) / temperature
        with torch.autocast(q.device.type, enabled=False):
            scaled = (q / temperature).to(kind)
            sums = None
            if needs_no_shift(temperature, kind, q.device):
                sums = _plain_sums(scaled, bank, index, own_logit, block)
            others, mean, peak = sums or _shifted_sums(scaled, bank, index, own_logit, block)
            total = others + (own_logit - peak).exp()
            rest = others / total
            ctx.save_for_backward((own * rest - mean / total) / temperature, q * rest / temperature)
            return (own_logit - peak - total.log()).squeeze(1)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *upstream: Any
    ) -> tuple[Tensor | None, ...]:
        to_q, to_own = (upstream[0].unsqueeze(1) * gradient for gradient in ctx.saved_tensors)
        return to_q, to_own if ctx.needs_input_grad[1] else None, *[None] * 4


def _plain_sums(
    scaled: Tensor, bank: Tensor, index: Tensor, own_logit: Tensor, block: int
) -> tuple[Tensor, Tensor, Tensor] | None:
    """The sums of :func:`_shifted_sums` relative to the own logit, computed without a shift; None if inaccurate.

    Exponentials have the type of the products; this takes a third of the time of maxima and conversion.
    """
    others = torch.zeros_like(own_logit)
    mean = others.new_zeros(scaled.shape)
    for start, rows in zip(range(0, len(bank), block), bank.split(block)):
        rows = rows.to(scaled.dtype)
        weights = (scaled @ rows.T).exp_()
        here = ((index >= start) & (index < start + len(rows))).nonzero().squeeze(1)
        weights[here, index[here] - start] = 0
        others += weights.sum(1, keepdim=True, dtype=others.dtype)
        mean += weights @ rows
    scale = (-own_logit).exp()
    return (others * scale, mean * scale, own_logit) if sums_in_range(others) else None


def _shifted_sums(
    scaled: Tensor, bank: Tensor, index: Tensor, own_logit: Tensor, block: int
) -> tuple[Tensor, Tensor, Tensor]:
    """``sum e^(s - peak)``, ``sum e^(s - peak) V`` over the other rows, and ``peak``, the running maximum of all."""
    peak, others = own_logit, torch.zeros_like(own_logit)
    mean = others.new_zeros(scaled.shape)
    for start, rows in zip(range(0, len(bank), block), bank.split(block)):
        rows = rows.to(scaled.dtype)
        logits = _without((scaled @ rows.T).to(peak.dtype), index - start)
        higher = torch.maximum(peak, logits.amax(1, keepdim=True))
        rescale = (peak - higher).exp()
        weights = (logits - higher).exp_()
        others = others * rescale + weights.sum(1, keepdim=True)
        mean = mean * rescale + (weights.to(rows.dtype) @ rows).to(mean.dtype)
        peak = higher
    return others, mean, peak


def _without(logits: Tensor, column: Tensor) -> Tensor:
    """Set one column a row to -inf in place, where it is one of (B, n); no wait for a GPU."""
    place = column.clamp(0, logits.shape[1] - 1).unsqueeze(1)
    inside = (place.squeeze(1) == column).unsqueeze(1)
    return logits.scatter_(1, place, logits.gather(1, place).masked_fill(inside, -math.inf))


def instance_log_probability(
    q: Tensor, bank: Tensor, index: Tensor, temperature: float, block: int = BLOCK, *, own: Tensor | None = None
) -> Tensor:
    """Log-probability that a query belongs to its own image: log P(i), P(j) = softmax_j(q.V_j / tau).

    Computed in blocks of the bank with the analytic gradient: memory is B x block, not B x N. The bank is constant.
    Matrix products have the bank's precision, or bfloat16 under bfloat16 autocast; sums are at least float32.

    Args:
        q: (B, D) unit norm, with gradient.
        bank: (N, D) constant.
        index: (B,) int64, own rows.
        temperature: tau, dimensionless.
        block: bank rows per block.
        own: (B, D) replacements of the own rows, with gradient; None: the bank's rows.

    Returns:
        (B,) log-probabilities, at most 0.

    References:
        Wu et al., Unsupervised Feature Learning via Non-Parametric Instance Discrimination, 2018, equation 2.
    """
    q = at_least_float32(q)
    own = (bank.detach()[index] if own is None else own).to(q.dtype)
    return _LogProbability.apply(q, own, bank, index, temperature, block)  # type: ignore[no-any-return]


def two_view_instance_loss(log_p: Tensor, log_p_hat: Tensor, reading: str) -> Tensor:
    """IRaug: instance discrimination of two views, from their log-probabilities (B,) of the own image.

    ``sumce``: ``-log P(i) - log P^(i)`` (the usual reading); ``mean``: half of it; ``logsum``: ``-log(P(i) + P^(i))``
    (the equation as printed; may be negative, never below -ln 2).

    References:
        Exploring Instance Relations, 2021, equations 2-3.
    """
    if reading == "logsum":
        return -torch.logaddexp(log_p, log_p_hat)
    return -(log_p + log_p_hat) * (0.5 if reading == "mean" else 1.0)


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
    p_positive = (at_least_float32(positive) / temperature).exp() / partition
    p_negative = (at_least_float32(negative) / temperature).exp() / partition
    of_positive = (p_positive / (p_positive + noise + 1e-7)).log()
    of_negative = (noise / (p_negative + noise + 1e-7)).log().sum(1)
    return -(of_positive + of_negative)


def partition_estimate(positive: Tensor, negative: Tensor, temperature: float, count: int) -> Tensor:
    """Monte-Carlo estimate of NCE's constant: ``Z = N * mean(e^(s/tau))`` over positives and noise; scalar."""
    similarity = at_least_float32(torch.cat([positive.unsqueeze(1), negative], 1))
    return (similarity / temperature).exp().mean() * count
