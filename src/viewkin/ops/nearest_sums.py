"""Sums over the M bank rows nearest to a query.

:func:`plain_nearest_sums` is the definition, by sorting. :func:`nearest_sums` selects rows by a similarity threshold,
which it may estimate from a sample and then corrects for.

Letters in addition to the package's: M nearest rows, C images that a neighbour graph gives as positives.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from viewkin.ops.precision import BLOCK, FARTHEST, at_least_float32, exponential_type, product_type

Denominator = Literal["paper", "code"]
"""``paper``: the M nearest *other* images, with the positives apart; ``code``: the M nearest, own row or not."""
EDGE = 256
"""The threshold is read from a sample that holds about this many of the M nearest; if M is not larger, it is exact."""
BELOW = -60.0
"""Logit of rows that are left out, e^-60 = 1e-26; exponentiating -inf takes 5 times as long."""
SCORES = 2**22
"""Maximum number of similarities to the sample in memory: 16 MiB in float32."""


class Positives(NamedTuple):
    """Images that a neighbour graph gives as positives of each query."""

    image: Tensor
    """(B, C) int64, -1 for none."""
    similarity: Tensor
    """(B, C) similarity of each to the query; undefined for none."""


class Nearest(NamedTuple):
    """Sums over the nearest bank rows of each query; they are of ``e^(s / tau - level)``, s the similarity of a row."""

    own: Tensor
    """(B,) logit of the query's own bank row, s / tau."""
    level: Tensor
    """(B,) approximately the logit of the M-th nearest row, constant."""
    inside: Tensor
    """(B,) whether the own row is one of the M; always false in the paper's form."""
    negatives: Tensor
    """(B,) sum over the M nearest without the own row and, in the paper's form, without the positives."""
    positives: Tensor
    """(B,) in the paper's form the sum over the positives among the M, each image once; else 0."""
    images: Tensor
    """(B, n) int64, some of the M, evenly spaced by rank, nearest first."""


class _NearSum(torch.autograd.Function):
    """``sum_c e^(q.V_c / tau - level)`` over rows at or above the level, in one pass that also yields the gradient.

    A level that comes from a sample selects ``count`` rows instead of ``wanted``. Each missing or surplus row is
    corrected as a row at the level with the mean direction of the others, so that the error is of second order.
    """

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, bank: Tensor, left_out: Tensor, level: Tensor, wanted: Tensor, temperature: float
    ) -> Tensor:
        kind = exponential_type(bank, temperature)
        # The level is subtracted before logits are rounded, when they are small; its own rounding error follows.
        shift = (-level).to(kind).unsqueeze(1)
        rest = (level.unsqueeze(1) + shift).to(kind)
        # A row at the level is included, whatever the rounding of its product.
        slack = 8 * (1 + 1 / temperature) * torch.finfo(torch.promote_types(kind, torch.float32)).eps
        total, count, mean = torch.zeros_like(level), torch.zeros_like(wanted), level.new_zeros(q.shape)
        with torch.autocast(q.device.type, enabled=False):
            scaled = (q / temperature).to(kind)
            for start, rows in zip(range(0, len(bank), BLOCK), bank.split(BLOCK)):
                rows = rows.to(kind)
                logits = torch.addmm(shift.expand(-1, len(rows)), scaled, rows.T).sub_(rest)
                logits = _with_at_most(torch.threshold_(logits, -slack, BELOW), left_out - start, BELOW)
                count += (logits > BELOW).sum(1)
                weights = logits.exp_()
                total += weights.sum(1, dtype=total.dtype)
                mean += weights @ rows
        corrected = torch.maximum(total + (wanted - count), wanted.to(total.dtype))
        gradient = mean * (corrected / total / temperature).unsqueeze(1)
        ctx.save_for_backward(gradient.masked_fill((count == 0).unsqueeze(1), 0))
        ctx.dtype = q.dtype
        return corrected

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Any) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        (gradient,) = ctx.saved_tensors
        return (upstream[0].unsqueeze(1) * gradient).to(ctx.dtype), *[None] * 5


def nearest_sums(
    q: Tensor,
    bank: Tensor,
    index: Tensor,
    count: int,
    temperature: float,
    *,
    positives: Positives | None = None,
    denominator: Denominator = "code",
    edge: int = EDGE,
) -> Nearest:
    """Sum over the M bank rows nearest to each query, in two passes with B x block memory.

    The M-th similarity is estimated from rows spread evenly over the bank, of which about ``edge`` are among the M. It
    is exact with ``edge >= M`` or ``M >= N - 1``; else its rank is accurate to about 1 / sqrt(edge), and the sums are
    corrected for that. The correction takes the rows around the threshold for equally similar; where the similarities
    have a gap there, a gradient that was 16 % off was provoked. Matrix products have the precision of
    :func:`product_type`.

    Args:
        q: (B, D) unit norm, with gradient.
        bank: (N, D) constant.
        index: (B,) int64, the queries' own rows.
        count: M.
        temperature: tau, dimensionless.
        positives: the graph's positives, which the paper's form sums apart.
        denominator: which form.
        edge: how many of the M nearest the sample holds.

    References:
        InvP, 2020, section 3.3.
    """
    q, paper, kind = at_least_float32(q), denominator == "paper", exponential_type(bank, temperature)
    own = (q * bank[index].to(q.dtype)).sum(1)
    with torch.no_grad():
        rounded = (q / temperature).to(kind).to(q.dtype) * temperature
        last, before, images = _edges(rounded, bank, index, count, edge)
        if count >= len(bank) - 1 and edge < count:
            last, before = _farthest(rounded, bank, index, count)
        inside = torch.zeros_like(index, dtype=torch.bool) if paper else own > last
        # If the own row is among the M, there is one other row less.
        threshold = torch.where(inside, before, last).clamp(min=FARTHEST)
        level = (threshold / temperature).to(torch.promote_types(q.dtype, kind))
        wanted = count - inside.long()
    left_out, positive_sum = index.unsqueeze(1), torch.zeros_like(level)
    if paper and positives is not None:
        least = (threshold - 8 * torch.finfo(q.dtype).eps).unsqueeze(1)
        among = _firsts(positives.image) & (positives.similarity >= least)
        logits = positives.similarity / temperature - level.unsqueeze(1)
        positive_sum = logits.masked_fill(~among, -math.inf).exp().sum(1)
        left_out, wanted = torch.cat([left_out, positives.image], 1), wanted - among.sum(1)
    negative_sum: Tensor = _NearSum.apply(q, bank, left_out, level, wanted, temperature)  # type: ignore[assignment]
    return Nearest(own.to(level.dtype) / temperature, level, inside, negative_sum, positive_sum, images)


def plain_nearest_sums(
    q: Tensor,
    bank: Tensor,
    index: Tensor,
    count: int,
    temperature: float,
    *,
    positives: Positives | None = None,
    denominator: Denominator = "code",
) -> Nearest:
    """:func:`nearest_sums` by sorting a dense (B, N) matrix, with autograd: what the fast form has to equal.

    The levels differ, so compare ``level + log(sum)``; ``images`` are all M.
    """
    logits = q @ bank.to(q.dtype).T / temperature
    is_own = functional.one_hot(index, len(bank)).bool()
    ranked = logits.masked_fill(is_own, -math.inf) if denominator == "paper" else logits
    images = ranked.topk(count, dim=1).indices
    nearest = torch.zeros_like(is_own).scatter_(1, images, True)
    inside = (nearest & is_own).any(1)
    level = ranked.amax(1).detach()
    sums = (logits - level.unsqueeze(1)).exp()
    positive = torch.zeros_like(is_own)
    if denominator == "paper" and positives is not None:
        given = torch.zeros(len(q), len(bank) + 1, dtype=torch.bool, device=q.device)
        positive = given.scatter_(1, positives.image % (len(bank) + 1), True)[:, :-1] & nearest  # -1 is the last column
    negative_sum = sums.masked_fill(~(nearest & ~is_own & ~positive), 0).sum(1)
    positive_sum = sums.masked_fill(~positive, 0).sum(1)
    return Nearest(logits[is_own], level, inside, negative_sum, positive_sum, images)


def _edges(q: Tensor, bank: Tensor, index: Tensor, count: int, edge: int) -> tuple[Tensor, Tensor, Tensor]:
    """Find the similarity of the M-th nearest row, and of the one before it, without the own row: (B,) each.

    If they are estimated from a sample, both are the same. Third: some of the M nearest images (B, n), from the sample.

    Operands are rounded like those of the sum, but similarities are not: those of nearly equal rows may differ by less
    than one rounding step.
    """
    size = len(bank)
    sampled = size if edge >= count else min(math.ceil(size * edge / count), size)
    stride = _stride(size) if sampled < size else 1
    rows = bank if sampled == size else bank[torch.arange(sampled, device=bank.device) * stride % size]
    rank = min(max(round(count * sampled / size), 1), sampled)
    place = (index * pow(stride, -1, size) % size).unsqueeze(1)  # for most queries beyond the sample
    rows, at_once = rows.to(product_type(bank)).to(q.dtype), max(SCORES // sampled, 1)
    last: list[Tensor] = []
    images: list[Tensor] = []
    with torch.autocast(q.device.type, enabled=False):
        for part, own in zip(q.split(at_once), place.split(at_once)):
            best, column = _with_at_most(part @ rows.T, own, -math.inf).topk(rank, dim=1)
            last.append(functional.pad(best, (1, 0), value=math.inf)[:, -2:].clone())
            images.append(column[:, :: max(rank // EDGE, 1)] * stride % size)
    before, nearest = torch.cat(last).unbind(1)
    return nearest, before if sampled == size else nearest, torch.cat(images)


def _farthest(q: Tensor, bank: Tensor, index: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The similarities of :func:`_edges` for M = N or N - 1, without sorting: -inf, or that of the farthest row."""
    rows, at_once = bank.to(product_type(bank)).to(q.dtype), max(SCORES // len(bank), 1)
    ends: list[Tensor] = []
    with torch.autocast(q.device.type, enabled=False):
        for part, own in zip(q.split(at_once), index.unsqueeze(1).split(at_once)):
            ends.append((part @ rows.T).scatter_(1, own, math.inf).topk(2, dim=1, largest=False).values)
    farthest, next_to = torch.cat(ends).unbind(1)
    return (torch.full_like(farthest, -math.inf), farthest) if count >= len(bank) else (farthest, next_to)


def _stride(count: int) -> int:
    """A stride that visits each of ``count`` rows once, and such that any first part of the visits is evenly spread."""
    stride = max(round(count * (math.sqrt(5) - 1) / 2), 1)
    while math.gcd(stride, count) > 1:
        stride += 1
    return stride


def _firsts(image: Tensor) -> Tensor:
    """Mark the first occurrence of each image in a row (B, C), except negative ones."""
    ordered, order = image.sort(dim=1, stable=True)
    first = functional.pad(ordered[:, 1:] != ordered[:, :-1], (1, 0), value=True) & (ordered >= 0)
    return torch.zeros_like(first).scatter_(1, order, first)


def _with_at_most(values: Tensor, columns: Tensor, most: float) -> Tensor:
    """Lower ``values`` (B, n) in place to ``most`` at columns (B, E) of each row, ignoring columns out of range."""
    place = columns.clamp(0, values.shape[1] - 1)
    bound = torch.where(place == columns, most, math.inf).to(values.dtype)
    return values.scatter_reduce_(1, place, bound, "amin")
