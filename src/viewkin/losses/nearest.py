"""The M bank rows nearest to a query as sums: cut at a threshold, none of them sorted or gathered.

Letters beside the package's: M nearest rows, C images that a graph found.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from viewkin.ops.precision import BLOCK, FARTHEST, exponential_type, product_type, wide

Denominator = Literal["paper", "code"]
"""``paper``: the M nearest *other* images, kin apart; ``code``: the M nearest, the own row among them or not."""
EDGE = 256
"""How many of the M nearest the sample holds that the threshold is read from; where M is no more, it is exact."""
BELOW = -60.0
"""Logit of what is left out, e^-60 = 1e-26: to exponentiate -inf takes 5 times as long."""
SCORES = 2**22
"""Similarities to the sample that are held at once: 16 MiB in float32."""


class Kin(NamedTuple):
    """Images that a graph found for each query."""

    image: Tensor
    """(B, C) int64, -1 for none."""
    similarity: Tensor
    """(B, C) theirs; anything where there is none."""


class Nearest(NamedTuple):
    """What lies around each query in the bank; sums are of ``e^(s / tau - level)``, s the similarity of a row."""

    own: Tensor
    """(B,) logit of the own bank row, s / tau."""
    level: Tensor
    """(B,) about the logit of the M-th nearest, constant."""
    inside: Tensor
    """(B,) whether the own row is one of the M; never, in the paper's sets."""
    strangers: Tensor
    """(B,) sum over the M nearest but the own row and, in the paper's sets, but the kin."""
    kin: Tensor
    """(B,) sum over the kin among the M in the paper's sets, each image once; else 0."""
    images: Tensor
    """(B, n) int64, some of the M, evenly spread over their ranks, nearest first."""


class _NearSum(torch.autograd.Function):
    """``sum_c e^(q.V_c / tau - level)`` over rows at or above the level, in one pass that also yields the gradient.

    A level from a sample lets in ``count`` rows where ``wanted`` were to be: each one missing, or too many, counts as
    one that lies on the level and points where the others do on average, so that the error is of second order.
    """

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, bank: Tensor, left_out: Tensor, level: Tensor, wanted: Tensor, temperature: float
    ) -> Tensor:
        kind = exponential_type(bank, temperature)
        # Logits are rounded after the level was taken off, when they are small; what it was rounded by goes off too.
        shift = (-level).to(kind).unsqueeze(1)
        rest = (level.unsqueeze(1) + shift).to(kind)
        # A row on the level is in, however its product was rounded.
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


def nearest_of(
    q: Tensor,
    bank: Tensor,
    index: Tensor,
    count: int,
    temperature: float,
    *,
    kin: Kin | None = None,
    denominator: Denominator = "code",
    edge: int = EDGE,
) -> Nearest:
    """Sum over the M bank rows nearest to each query, in two passes of B x block memory.

    The M-th similarity is read from rows spread evenly over the bank, of which about ``edge`` are among the M: exactly
    with ``edge >= M`` or ``M >= N - 1``, else to about 1 / sqrt(edge) in rank, for which the sums are corrected. Matrix
    products run in the precision of :func:`product_type`.

    Args:
        q: (B, D) unit norm, with gradient.
        bank: (N, D) constant.
        index: (B,) int64, own rows.
        count: M.
        temperature: tau, dimensionless.
        kin: what the graph found, summed apart in the paper's sets.
        denominator: whose sets.
        edge: how many of the M nearest to sample.

    References:
        InvP, 2020, section 3.3; METHODS 3.2 and 3.7 on the two forms.
    """
    q, paper, kind = wide(q), denominator == "paper", exponential_type(bank, temperature)
    own = (q * bank[index].to(q.dtype)).sum(1)
    with torch.no_grad():
        rounded = (q / temperature).to(kind).to(q.dtype) * temperature
        last, before, images = _edges(rounded, bank, index, count, edge)
        if count >= len(bank) - 1 and edge < count:
            last, before = _farthest(rounded, bank, index, count)
        inside = torch.zeros_like(index, dtype=torch.bool) if paper else own > last
        # With the own row among the M, one other less is.
        threshold = torch.where(inside, before, last).clamp(min=FARTHEST)
        level = (threshold / temperature).to(torch.promote_types(q.dtype, kind))
        wanted = count - inside.long()
    left_out, kin_sum = index.unsqueeze(1), torch.zeros_like(level)
    if paper and kin is not None:
        among = _firsts(kin.image) & (kin.similarity >= (threshold - 8 * torch.finfo(q.dtype).eps).unsqueeze(1))
        logits = kin.similarity / temperature - level.unsqueeze(1)
        kin_sum = logits.masked_fill(~among, -math.inf).exp().sum(1)
        left_out, wanted = torch.cat([left_out, kin.image], 1), wanted - among.sum(1)
    strangers: Tensor = _NearSum.apply(q, bank, left_out, level, wanted, temperature)  # type: ignore[assignment]
    return Nearest(own.to(level.dtype) / temperature, level, inside, strangers, kin_sum, images)


def _edges(q: Tensor, bank: Tensor, index: Tensor, count: int, edge: int) -> tuple[Tensor, Tensor, Tensor]:
    """Similarity of the M-th nearest row but the own, and of the one before (the same, by a sample): (B,) each.

    And some of the M, (B, n): those in the sample, or of very many every n-th.

    Operands are rounded as those of the sum are, similarities are not: a narrow cone of rows lies within one rounding.
    """
    size = len(bank)
    some = size if edge >= count else min(math.ceil(size * edge / count), size)
    stride = _stride(size) if some < size else 1
    rows = bank if some == size else bank[torch.arange(some, device=bank.device) * stride % size]
    rank = min(max(round(count * some / size), 1), some)
    place = (index * pow(stride, -1, size) % size).unsqueeze(1)  # beyond the sample for most
    rows, at_once = rows.to(product_type(bank)).to(q.dtype), max(SCORES // some, 1)
    last: list[Tensor] = []
    found: list[Tensor] = []
    with torch.autocast(q.device.type, enabled=False):
        for part, own in zip(q.split(at_once), place.split(at_once)):
            best, column = _with_at_most(part @ rows.T, own, -math.inf).topk(rank, dim=1)
            last.append(functional.pad(best, (1, 0), value=math.inf)[:, -2:].clone())
            found.append(column[:, :: max(rank // EDGE, 1)] * stride % size)
    before, nearest = torch.cat(last).unbind(1)
    return nearest, before if some == size else nearest, torch.cat(found)


def _farthest(q: Tensor, bank: Tensor, index: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """What :func:`_edges` says of M = N or N - 1, without sorting: nothing lies beyond, or the farthest other row."""
    rows, at_once = bank.to(product_type(bank)).to(q.dtype), max(SCORES // len(bank), 1)
    ends: list[Tensor] = []
    with torch.autocast(q.device.type, enabled=False):
        for part, own in zip(q.split(at_once), index.unsqueeze(1).split(at_once)):
            ends.append((part @ rows.T).scatter_(1, own, math.inf).topk(2, dim=1, largest=False).values)
    farthest, next_to = torch.cat(ends).unbind(1)
    return (torch.full_like(farthest, -math.inf), farthest) if count >= len(bank) else (farthest, next_to)


def _stride(count: int) -> int:
    """A stride that visits ``count`` rows once each, and any first part of them evenly, whatever period they have."""
    stride = max(round(count * (math.sqrt(5) - 1) / 2), 1)
    while math.gcd(stride, count) > 1:
        stride += 1
    return stride


def _firsts(image: Tensor) -> Tensor:
    """Mark the first of each image of a row (B, C); none of those below 0."""
    ordered, order = image.sort(dim=1, stable=True)
    first = functional.pad(ordered[:, 1:] != ordered[:, :-1], (1, 0), value=True) & (ordered >= 0)
    return torch.zeros_like(first).scatter_(1, order, first)


def _with_at_most(values: Tensor, columns: Tensor, most: float) -> Tensor:
    """Lower ``values`` (B, n) in place at some columns of each row (B, E), where these exist; no wait for a GPU."""
    place = columns.clamp(0, values.shape[1] - 1)
    bound = torch.where(place == columns, most, math.inf).to(values.dtype)
    return values.scatter_reduce_(1, place, bound, "amin")
