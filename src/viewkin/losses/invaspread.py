"""Invariant and spreading features: each view finds its partner in the batch and is told from every other view."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from viewkin.ops.precision import wide


def invariant_spread(
    similarity: Tensor, own: Tensor, partner: Tensor, temperature: float, negatives: float = 1.0
) -> Tensor:
    """ISIF: recognise the partner, and recognise no other as oneself.

    With ``q_ab = e^(s_ab/tau) / sum_{c != a} e^(s_ac/tau)``: ``-log q_ap - sum_{b != a, p} log(1 - q_ab)`` per anchor a
    with partner p.

    Args:
        similarity: (A, n) of each anchor to all views, its own column among them; -inf leaves a column out.
        own: (A,) int64 column of the anchor itself.
        partner: (A,) int64 column of its partner.
        temperature: tau, dimensionless.
        negatives: the release's ``negM``: weight of the negatives in the denominator of q and of the second sum.

    Returns:
        (A,).

    References:
        Ye et al., Unsupervised Embedding Learning via Invariant and Spreading Instance Feature, 2019, equation 7.
    """
    logits = (wide(similarity) / temperature).scatter(1, own.unsqueeze(1), -math.inf)
    positive = logits.gather(1, partner.unsqueeze(1))
    strangers = logits.scatter(1, partner.unsqueeze(1), -math.inf)
    total = torch.cat([positive, strangers + math.log(negatives)], 1).logsumexp(1, keepdim=True)
    # As q nears 1 in float, 1 - q must not reach 0.
    log_q = (strangers - total).clamp(max=-torch.finfo(logits.dtype).eps)
    spread = torch.log(-torch.expm1(log_q)).sum(1)
    return (total - positive).squeeze(1) - negatives * spread


def blended(similarity: Tensor, share: float, *, constant: bool = True) -> Tensor:
    """Similarity of an anchor v to a blend ``l2(a v + (1 - a) w)`` of itself with w, from ``s = v.w`` alone.

    ``(a + (1 - a) s) / |a v + (1 - a) w|``, and the square of that length is ``a^2 + (1 - a)^2 + 2 a (1 - a) s``.
    With a above 0 the blend lies between them (aISIF's synthetic negatives), below 0 beyond w: ``a = -b`` gives
    ``l2((1 + b) w - b v)`` (its extrapolated positives, as read here).

    Args:
        similarity: of unit vectors, any shape.
        share: a, weight of the anchor.
        constant: the blend is a constant to the anchor's gradient, but for what normalisation takes away again.

    References:
        METHODS 7.2 on aISIF: the first formula is certain, the second a reading.
    """
    s = wide(similarity)
    square = share**2 + (1 - share) ** 2 + 2 * share * (1 - share) * s
    length = square.clamp(min=1e-12).sqrt()
    return (share + (1 - share) * s) / (length.detach() if constant else length)
