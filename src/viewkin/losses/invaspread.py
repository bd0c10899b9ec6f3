"""ISIF's loss: a view is close to its partner in the batch (invariant) and far from all other views (spreading)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from viewkin.ops.precision import at_least_float32


def invariant_spread(
    similarity: Tensor, own: Tensor, partner: Tensor, temperature: float, negatives: float = 1.0
) -> Tensor:
    """ISIF: recognise the partner, and do not recognise any other view as the anchor.

    With ``q_ab = e^(s_ab/tau) / sum_{c != a} e^(s_ac/tau)``: ``-log q_ap - sum_{b != a, p} log(1 - q_ab)`` per anchor a
    with partner p.

    Args:
        similarity: (A, n) of each anchor to all views, including itself; -inf leaves a column out.
        own: (A,) int64 column of the anchor itself.
        partner: (A,) int64 column of its partner.
        temperature: tau, dimensionless.
        negatives: the release's ``negM``: weight of the negatives in the denominator of q, and of the second sum.

    Returns:
        (A,).

    References:
        Ye et al., Unsupervised Embedding Learning via Invariant and Spreading Instance Feature, 2019, equation 7.
    """
    logits = (at_least_float32(similarity) / temperature).scatter(1, own.unsqueeze(1), -math.inf)
    positive = logits.gather(1, partner.unsqueeze(1))
    others = logits.scatter(1, partner.unsqueeze(1), -math.inf)
    total = torch.cat([positive, others + math.log(negatives)], 1).logsumexp(1, keepdim=True)
    # 1 - q must not become 0 when q is rounded to 1.
    log_q = (others - total).clamp(max=-torch.finfo(logits.dtype).eps)
    spread = torch.log(-torch.expm1(log_q)).sum(1)
    return (total - positive).squeeze(1) - negatives * spread


def blended_similarity(similarity: Tensor, share: float, *, constant: bool = True) -> Tensor:
    """Similarity of an anchor v to a blend ``l2(a v + (1 - a) w)`` of itself with w, computed from ``s = v.w``.

    ``(a + (1 - a) s) / |a v + (1 - a) w|``; the square of that length is ``a^2 + (1 - a)^2 + 2 a (1 - a) s``. For a > 0
    the blend is between v and w (aISIF's synthetic negatives). For a < 0 it is beyond w: ``a = -b`` gives
    ``l2((1 + b) w - b v)`` (aISIF's extrapolated positives, as we read it).

    Args:
        similarity: cosines, any shape.
        share: a, weight of the anchor.
        constant: whether the blend is constant for the anchor's gradient (the part that its normalisation removes is
            kept).

    References:
        Of aISIF the first formula is certain; the second is our reading.
    """
    s = at_least_float32(similarity)
    square = share**2 + (1 - share) ** 2 + 2 * share * (1 - share) * s
    length = square.clamp(min=1e-12).sqrt()
    return (share + (1 - share) * s) / (length.detach() if constant else length)
