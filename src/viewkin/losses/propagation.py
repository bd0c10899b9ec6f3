"""InvP's losses: an image among its nearest neighbours, and its attraction to positives from a neighbour graph.

Letters in addition to the package's: M nearest rows, C images reached in the graph, P of them chosen. ``paper`` and
``code`` are two denominators: the paper's sets, and the sums of the released training code.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from viewkin.ops.nearest_sums import Denominator, Nearest, Positives
from viewkin.ops.precision import at_least_float32

FLOOR = 1e-7
"""Added to the fraction inside the logarithm, in the ``code`` form only."""


def choose_positives(positives: Positives, count: int, *, easy: bool = False) -> Positives:
    """Choose the P least similar positives, N^h(i), or the most similar ones with ``easy``; all if there are fewer.

    Returns:
        (B, min(P, C)) images, -1 for none, and similarities, -inf for none.
    """
    missing = positives.image < 0
    ranked = positives.similarity.detach().masked_fill(missing, -math.inf if easy else math.inf)
    place = ranked.topk(min(count, ranked.shape[1]), dim=1, largest=easy).indices
    similarity = positives.similarity.masked_fill(missing, -math.inf)
    return Positives(positives.image.gather(1, place), similarity.gather(1, place))


def nearest_instance_loss(nearest: Nearest, denominator: Denominator = "code") -> Tensor:
    """Recognise an image among the M bank rows nearest to it.

    ``paper``: ``L_ins = -log e_i / (e_i + sum_{j in N_M(i)} e_j)``, N_M the M nearest other than i.
    ``code``: ``-log(e_i / S + 1e-7)``, S the sum over the M nearest, i among them or not.
    Here ``e_j = exp(V_j.v_i / tau)``.

    Args:
        nearest: sums of the same form by :func:`nearest_sums`.
        denominator: which form.

    Returns:
        (B,).

    References:
        InvP, 2020, section 3.3.
    """
    own = nearest.own - nearest.level
    if denominator == "paper":
        return torch.log1p((nearest.negatives + nearest.positives) * (-own).exp())
    return _minus_log_share(own, nearest.negatives + own.exp() * nearest.inside, FLOOR)


def propagation_loss(
    nearest: Nearest,
    chosen: Positives,
    temperature: float,
    denominator: Denominator = "code",
    *,
    exclusive: bool = True,
) -> Tensor:
    """Attract an image to its positives; they share one logarithm, in which the most similar one has the most weight.

    ``paper``: ``L_inv = -log( sum_{p in N^h} e_p / sum_{n in B} e_n )``, ``B = (N_M minus N) united with N^h``: the
    nearest other images that are not positives, and the chosen positives.
    ``code``: ``-log( sum_{p in N^h} e_p / (S - e_i) + 1e-7 )``, or S alone if not ``exclusive``. It is negative if
    positives are outside the M nearest; e_i is subtracted even if i is outside.

    Args:
        nearest: sums of the same form by :func:`nearest_sums`; in the paper's form with all positives, N(i).
        chosen: N^h(i) of :func:`choose_positives`.
        temperature: tau, dimensionless.
        denominator: which form.
        exclusive: leave the own row out of the code form's denominator.

    Returns:
        (B,); 0 without positives.

    References:
        InvP, 2020, section 3.3.
    """
    none = (chosen.image < 0).all(1)
    # Without positives, any finite number keeps the gradient finite.
    pulled = chosen.similarity.masked_fill(none.unsqueeze(1), 0.0)
    share = (at_least_float32(pulled) / temperature).logsumexp(1) - nearest.level
    if denominator == "paper":
        loss = torch.log1p(nearest.negatives * (-share).exp())
    else:
        own = (nearest.own - nearest.level).exp()
        counted = -(~nearest.inside).to(own.dtype) if exclusive else nearest.inside.to(own.dtype)
        loss = _minus_log_share(share, nearest.negatives + own * counted, FLOOR)
    return loss.masked_fill(none, 0.0)


def mixed_instance_loss(log_p: Tensor, log_p_partner: Tensor, share: Tensor) -> Tensor:
    """MixContrast: a mixture belongs to both of its images: ``-log( a P(i) + (1 - a) P(pi(i)) + 1e-7 )``.

    Args:
        log_p: (B,) log-probability of the first image, over the whole bank.
        log_p_partner: (B,) log-probability of its partner.
        share: (B,) weight a of the first image in the mixture, 0 to 1.

    References:
        The older release of InvP.
    """
    return -torch.logaddexp(
        torch.logaddexp(share.log() + log_p, (1 - share).log() + log_p_partner), log_p.new_full((), FLOOR).log()
    )


def _minus_log_share(part: Tensor, whole: Tensor, floor: float) -> Tensor:
    """``-log(e^part / whole + floor)``, (B,)."""
    log_share = part - whole.log()
    return -torch.logaddexp(log_share, log_share.new_full((), floor).log())
