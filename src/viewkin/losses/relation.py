"""EIR's losses: relations of two views to a bank, and of mixed images to mixed embeddings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from viewkin.ops.precision import BLOCK, at_least_float32, needs_no_shift, product_type, sums_in_range, unit


class _Divergence(torch.autograd.Function):
    """KL(P || P^) or the cross-entropy H(P, P^) of two softmaxes over a bank, in one pass with its gradient.

    With logits s_j = t.V_j / tau and s^_j = u.V_j / tau^, their partition sums Z and Z^, m = E_P[V], m^ = E_P^[V]:

        H(P, P^)       = log Z^ - E_P[s^]           d/du = (m^ - m) / tau^
        KL(P || P^)    = E_P[s - s^] - log Z + log Z^
        d KL / dt      = (E_P[V (s - s^)] - m E_P[s - s^]) / tau
    """

    @staticmethod
    def forward(
        ctx: Any,
        teacher: Tensor,
        student: Tensor,
        bank: Tensor,
        temperatures: tuple[float, float],
        entropy: bool,
        block: int,
    ) -> Tensor:
        kind, (tau, tau_hat) = product_type(bank), temperatures
        plain = needs_no_shift(min(temperatures), kind, bank.device)
        with torch.autocast(teacher.device.type, enabled=False):
            scaled = (teacher / tau).to(kind), (student / tau_hat).to(kind)
            options = (teacher.dtype, entropy, ctx.needs_input_grad[0])
            sums = _plain_sums(*scaled, bank.split(block), *options) if plain else None
            t, u, difference, moment = sums or _shifted_sums(*scaled, bank.split(block), *options)
            mean, mean_hat, difference = t.rows / t.total, u.rows / u.total, difference / t.total
            to_teacher = (moment / t.total - mean * difference) / tau
            ctx.save_for_backward(to_teacher, (mean_hat - mean) / tau_hat)
            log_z, log_z_hat = t.peak + t.total.log(), u.peak + u.total.log()
            result = log_z_hat - difference if entropy else difference - log_z + log_z_hat
            return result.squeeze(1)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *upstream: Any
    ) -> tuple[Tensor | None, Tensor, None, None, None, None]:
        to_teacher, to_student = ctx.saved_tensors
        scale = upstream[0].unsqueeze(1)
        return scale * to_teacher if ctx.needs_input_grad[0] else None, scale * to_student, None, None, None, None


class _Sums:
    """Sums of a softmax over blocks: ``sum e^(s - peak)`` and ``sum e^(s - peak) V``."""

    def __init__(self, query: Tensor, dtype: torch.dtype, peak: float) -> None:
        self.peak = query.new_full((len(query), 1), peak, dtype=dtype)
        self.total = torch.zeros_like(self.peak)
        self.rows = torch.zeros_like(query, dtype=dtype)

    def add(self, logits: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Add a block (B, n) of logits over its rows (n, D); return e^(s - peak) and the scale of the older sums.

        ``peak`` is the running maximum; the sums are rescaled when it rises.
        """
        higher = torch.maximum(self.peak, logits.amax(1, keepdim=True))
        rescale, weights = (self.peak - higher).exp(), (logits - higher).exp()
        self.total = self.total * rescale + weights.sum(1, keepdim=True)
        self.rows = self.rows * rescale + (weights.to(rows.dtype) @ rows).to(self.rows.dtype)
        self.peak = higher
        return weights, rescale

    def add_plain(self, logits: Tensor, rows: Tensor) -> Tensor:
        """Add a block without a shift; the logits are exponentiated in place."""
        weights = logits.exp_()
        self.total += weights.sum(1, keepdim=True, dtype=self.total.dtype)
        self.rows += weights @ rows
        return weights


_RelationSums = tuple[_Sums, _Sums, Tensor, Tensor]
"""Sums of t and u; ``sum e^s (s - s^)``, for the cross-entropy ``sum e^s s^``; the same sum times V."""


def _plain_sums(
    t: Tensor, u: Tensor, blocks: Sequence[Tensor], dtype: torch.dtype, entropy: bool, moments: bool
) -> _RelationSums | None:
    """Compute the sums without a shift, with exponentials in the type of the products; None if inaccurate."""
    first, second = _Sums(t, dtype, 0.0), _Sums(u, dtype, 0.0)
    difference, moment = torch.zeros_like(first.total), torch.zeros_like(first.rows)
    for rows in blocks:
        rows = rows.to(t.dtype)
        s, s_hat = t @ rows.T, u @ rows.T
        weighted = s_hat.clone() if entropy else s - s_hat
        weighted *= first.add_plain(s, rows)
        second.add_plain(s_hat, rows)
        difference += weighted.sum(1, keepdim=True, dtype=dtype)
        if moments:
            moment += weighted @ rows
    return (first, second, difference, moment) if sums_in_range(first.total) and sums_in_range(second.total) else None


def _shifted_sums(
    t: Tensor, u: Tensor, blocks: Sequence[Tensor], dtype: torch.dtype, entropy: bool, moments: bool
) -> _RelationSums:
    """Compute the sums relative to a running maximum."""
    first, second = _Sums(t, dtype, -math.inf), _Sums(u, dtype, -math.inf)
    difference, moment = torch.zeros_like(first.total), torch.zeros_like(first.rows)
    for rows in blocks:
        rows = rows.to(t.dtype)
        s, s_hat = (t @ rows.T).to(dtype), (u @ rows.T).to(dtype)
        weights, rescale = first.add(s, rows)
        second.add(s_hat, rows)
        weighted = weights * (s_hat if entropy else s - s_hat)
        difference = difference * rescale + weighted.sum(1, keepdim=True)
        if moments:
            moment = moment * rescale + (weighted.to(rows.dtype) @ rows).to(dtype)
    return first, second, difference, moment


def relation_divergence(first: Tensor, second: Tensor, bank: Tensor, temperature: float, block: int = BLOCK) -> Tensor:
    """Multi-view relation: ``KL(P || P^) = sum_j P(j) (log P(j) - log P^(j))`` of two views over a bank.

    Computed in blocks with the analytic gradient to both sides; detach a side to keep it constant. The bank is
    constant.

    Args:
        first: (B, D) unit norm, v, whose P(j) = softmax_j(v.V_j / tau).
        second: (B, D) unit norm, the other view v^.
        bank: (N, D) constant.
        temperature: tau, dimensionless.
        block: bank rows per block.

    Returns:
        (B,) divergences, at least 0; with bfloat16 products a small one may be about -0.001.

    References:
        Exploring Instance Relations, 2021, equations 4-6.
    """
    temperatures = (temperature, temperature)
    return _Divergence.apply(at_least_float32(first), at_least_float32(second), bank, temperatures, False, block)  # type: ignore[no-any-return]


def relation_cross_entropy(
    teacher: Tensor, student: Tensor, bank: Tensor, temperatures: tuple[float, float], block: int = BLOCK
) -> Tensor:
    """Relation as in the released code: ``-sum_j P(j) log P^(j)``, with the teacher's P constant and sharper.

    Args:
        teacher: (B, D) unit norm, treated as constant.
        student: (B, D) unit norm, with gradient.
        bank: (N, D) constant.
        temperatures: of teacher and student.
        block: bank rows per block.

    Returns:
        (B,) cross-entropies, at least the teacher's entropy.
    """
    return _Divergence.apply(
        at_least_float32(teacher.detach()), at_least_float32(student), bank, temperatures, True, block
    )  # type: ignore[no-any-return]


def mixed_target(own: Tensor, other: Tensor, share: float) -> Tensor:
    """Mix embeddings as the images were mixed: ``l2(r v + (1 - r) v')`` of two (B, D)."""
    return unit(share * at_least_float32(own) + (1 - share) * at_least_float32(other))


def interpolation(mixed: Tensor, target: Tensor, temperature: float, rows: slice = slice(None)) -> Tensor:
    """Interpolation relation: ``-log e^(v^k.v~^k/tau) / sum_j e^(v^j.v~^k/tau)``, j over the mixtures of the batch.

    Equation 9 has the sum over k inside the logarithm (:func:`interpolation_of_sum`), which we take for a misprint.

    Args:
        mixed: (B, D) unit embeddings of the mixtures of the whole global batch, v^k.
        target: (B, D) unit mixtures of embeddings, v~^k, same order.
        temperature: tau, dimensionless.
        rows: the targets whose losses are returned (this rank's).

    Returns:
        (b,) losses.

    References:
        Exploring Instance Relations, 2021, equations 7-9.
    """
    logits = at_least_float32(target[rows] @ mixed.T) / temperature
    place = torch.arange(len(mixed), device=mixed.device)[rows]
    return logits.logsumexp(1) - logits.gather(1, place.unsqueeze(1)).squeeze(1)


def interpolation_of_sum(mixed: Tensor, target: Tensor, temperature: float) -> Tensor:
    """Equation 9 as printed: ``-log sum_k e^(v^k.v~^k/tau) / sum_j e^(v^j.v~^k/tau)``; negative if many k agree.

    The arguments are those of :func:`interpolation`; returns a scalar.
    """
    return -(-interpolation(mixed, target, temperature)).logsumexp(0)
