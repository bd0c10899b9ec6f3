"""Losses of a query and its key: with sampled negatives, with the batch as negatives, or without negatives."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from viewkin.ops.precision import at_least_float32


def info_nce_of(positive: Tensor, negative: Tensor, temperature: float, margin: float = 0.0) -> Tensor:
    """MarginNCE of similarities: ``-log e^((s+ - m)/tau) / (e^((s+ - m)/tau) + sum_K e^(s-/tau))``.

    Args:
        positive: (B,) similarity to the positive, s+.
        negative: (B, K) similarities to the negatives, s-; -inf is padding.
        temperature: tau, dimensionless.
        margin: cosine margin m; above 0 stricter, below 0 looser, 0 gives InfoNCE.

    References:
        van den Oord et al., CPC, 2018, equation 4; Xie et al., InterCLR, 2022, equation 6 (misprint corrected).
    """
    positive, negative = at_least_float32(positive - margin), at_least_float32(negative)
    logits = torch.cat([positive.unsqueeze(1), negative], 1) / temperature
    return logits.logsumexp(1) - logits[:, 0]


def nce_of_sum(positive: Tensor, log_sum: Tensor, temperature: float, margin: float = 0.0) -> Tensor:
    """:func:`info_nce_of`, (B,), from ``log sum e^(s-/tau)`` over the negatives, (B,), not their similarities."""
    return functional.softplus(log_sum - at_least_float32(positive - margin) / temperature)


def info_nce(q: Tensor, k: Tensor, negatives: Tensor, temperature: float, margin: float = 0.0) -> Tensor:
    """InfoNCE of embeddings; ``negatives`` is (K, D) shared by the batch or (B, K, D). See :func:`info_nce_of`."""
    positive = (q * k).sum(1)
    negative = q @ negatives.T if negatives.ndim == 2 else torch.einsum("bd,bkd->bk", q, negatives)
    return info_nce_of(positive, negative, temperature, margin)


def nt_xent(
    first: Tensor, second: Tensor, temperature: float, rows: slice = slice(None), *, margin: float = 0.0
) -> Tensor:
    """Normalised temperature cross-entropy over two views of the global batch; self excluded, the partner positive.

    SimCLR's code reports twice the mean of these losses.

    Args:
        first: (B, D) unit embeddings of view 1 of the whole global batch.
        second: (B, D) of view 2, same order.
        temperature: tau, dimensionless.
        rows: the anchors (this rank's rows); the others are only candidates.
        margin: cosine margin m, subtracted from the partner's similarity.

    Returns:
        (2b,) losses: of the first views of the rows, then of their second views.

    References:
        Chen et al., SimCLR, 2020, equation 1.
    """
    everything = at_least_float32(torch.cat([first, second]))
    anchors = at_least_float32(torch.cat([first[rows], second[rows]]))
    place = torch.arange(len(first), device=first.device)[rows]
    own, partner = torch.cat([place, place + len(first)]), torch.cat([place + len(first), place])
    logits = at_least_float32(anchors @ everything.T) / temperature  # the product is half precision under autocast
    if margin:
        logits = logits.scatter_add(1, partner.unsqueeze(1), logits.new_full((len(own), 1), -margin / temperature))
    logits = logits.scatter(1, own.unsqueeze(1), -math.inf)
    return logits.logsumexp(1) - logits.gather(1, partner.unsqueeze(1)).squeeze(1)


def regression(q: Tensor, k: Tensor) -> Tensor:
    """Squared distance of unit vectors: ``2 - 2 cos(q, k)`` per row.

    References:
        Grill et al., BYOL, 2020, equation 2.
    """
    return 2 - 2 * (at_least_float32(q) * at_least_float32(k)).sum(1)
