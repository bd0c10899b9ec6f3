"""Invariance propagation: an image among its nearest, and pulled to kin that a graph found.

Letters beside the package's: M candidates, C images found in the graph, P of them chosen. ``paper`` and ``code`` are
the two denominators of METHODS 3.2: the paper's sets, and the sums of the released training code.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from viewkin.losses.contrast import info_nce_of
from viewkin.losses.precision import wide

Denominator = Literal["paper", "code"]
FLOOR = 1e-7
"""Added to the share inside the logarithm, in the code form only."""


class Nearest(NamedTuple):
    """What lies around each query in the bank."""

    anchor: Tensor
    """(B,) int64 own images, i."""
    own: Tensor
    """(B,) similarity to the own bank row."""
    image: Tensor
    """(B, M) int64 nearest images, nearest first; the own may be among them."""
    similarity: Tensor
    """(B, M) theirs."""


class Kin(NamedTuple):
    """Images that a graph found for each query."""

    image: Tensor
    """(B, C) int64, -1 for none."""
    similarity: Tensor
    """(B, C) theirs; anything where there is none."""


def chosen_kin(kin: Kin, count: int, *, easy: bool = False) -> Kin:
    """The P least similar of the images found, N^h(i); all where there are fewer, and the most similar with ``easy``.

    Returns:
        (B, min(P, C)) images, -1 for none, and similarities, -inf for none.
    """
    missing = kin.image < 0
    ranked = kin.similarity.detach().masked_fill(missing, -math.inf if easy else math.inf)
    place = ranked.topk(min(count, ranked.shape[1]), dim=1, largest=easy).indices
    similarity = kin.similarity.masked_fill(missing, -math.inf)
    return Kin(kin.image.gather(1, place), similarity.gather(1, place))


def nearest_instance_loss(nearest: Nearest, temperature: float, denominator: Denominator = "code") -> Tensor:
    """Recognise an image among the M bank rows nearest to it.

    ``paper``: ``L_ins = -log e_i / (e_i + sum_{j in N_M(i)} e_j)``, N_M the M nearest other than i.
    ``code``: ``-log(e_i / S + 1e-7)``, S the sum over the M nearest, i among them or not.
    Here ``e_j = exp(V_j.v_i / tau)``.

    Args:
        nearest: M images for ``code``, M + 1 for ``paper`` (the own one is left out, or else the last).
        temperature: tau, dimensionless.
        denominator: which form.

    Returns:
        (B,).

    References:
        InvP, 2020, section 3.3; METHODS 3.2.
    """
    if denominator == "paper":
        return info_nce_of(nearest.own, _others(nearest), temperature)
    total = (wide(nearest.similarity) / temperature).logsumexp(1)
    return _minus_log_share(wide(nearest.own) / temperature, total, FLOOR)


def propagation_loss(
    nearest: Nearest,
    kin: Kin,
    chosen: Kin,
    temperature: float,
    denominator: Denominator = "code",
    *,
    exclusive: bool = True,
) -> Tensor:
    """Pull an image to kin: they share one logarithm, in which the most similar of them weighs most.

    ``paper``: ``L_inv = -log( sum_{p in N^h} e_p / sum_{n in B} e_n )``, ``B = (N_M minus N) united with N^h``: the
    nearest other images that are no kin, and the chosen kin.
    ``code``: ``-log( sum_{p in N^h} e_p / (S - e_i) + 1e-7 )``, S alone if not ``exclusive``; below 0 where kin lie
    outside the M nearest.

    Args:
        nearest: as in :func:`nearest_instance_loss`.
        kin: N(i), all that the graph found.
        chosen: N^h(i) of :func:`chosen_kin`.
        temperature: tau, dimensionless.
        denominator: which form.
        exclusive: leave the own row out of the code form's denominator.

    Returns:
        (B,); 0 where there is no kin.

    References:
        InvP, 2020, section 3.3; METHODS 3.2 and 3.7.
    """
    none = (chosen.image < 0).all(1)
    # Where there is no kin, any finite number keeps the gradient finite.
    pulled = chosen.similarity.masked_fill(none.unsqueeze(1), 0.0)
    share = (wide(pulled) / temperature).logsumexp(1)
    if denominator == "paper":
        strangers = _others(nearest).masked_fill(_among(nearest.image, kin.image), -math.inf)
        total = (wide(torch.cat([pulled, strangers], 1)) / temperature).logsumexp(1)
        loss = _minus_log_share(share, total, 0.0)
    else:
        total = (
            _without_own(nearest, temperature) if exclusive else (wide(nearest.similarity) / temperature).logsumexp(1)
        )
        loss = _minus_log_share(share, total, FLOOR)
    return loss.masked_fill(none, 0.0)


def mixed_instance_loss(log_p: Tensor, log_p_partner: Tensor, share: Tensor) -> Tensor:
    """MixContrast: a mixed image belongs to both: ``-log( a P(i) + (1 - a) P(pi(i)) + 1e-7 )``.

    Args:
        log_p: (B,) log-probability of the one image, over the whole bank.
        log_p_partner: (B,) of the other.
        share: (B,) weight a of the one in the mixture, 0 to 1.

    References:
        The older release of InvP; METHODS 3.4.
    """
    return -torch.logaddexp(
        torch.logaddexp(share.log() + log_p, (1 - share).log() + log_p_partner), log_p.new_tensor(FLOOR).log()
    )


def _others(nearest: Nearest) -> Tensor:
    """Similarities (B, M) of the M nearest but the own, of a list of M + 1: the own at -inf, else the last."""
    own = nearest.image == nearest.anchor.unsqueeze(1)
    left_out = own.clone()
    left_out[:, -1] |= ~own.any(1)
    return nearest.similarity.masked_fill(left_out, -math.inf)


def _without_own(nearest: Nearest, temperature: float) -> Tensor:
    """log(S - e_i), (B,). The code subtracts e_i also where i is not among the M nearest; S is larger then."""
    own = nearest.image == nearest.anchor.unsqueeze(1)
    rest = (wide(nearest.similarity.masked_fill(own, -math.inf)) / temperature).logsumexp(1)
    outside = (wide(nearest.own) / temperature).masked_fill(own.any(1), -math.inf)
    return rest + torch.log1p(-(outside - rest).exp())


def _among(image: Tensor, kin: Tensor) -> Tensor:
    """Whether each of (B, M) images is among the same row's (B, C), without a (B, M, C) comparison."""
    rising = kin.sort(1).values
    place = torch.searchsorted(rising, image.contiguous()).clamp(max=rising.shape[1] - 1)
    return rising.gather(1, place) == image


def _minus_log_share(part: Tensor, whole: Tensor, floor: float) -> Tensor:
    """``-log(e^part / e^whole + floor)``, (B,)."""
    log_share = part - whole
    return -torch.logaddexp(log_share, log_share.new_tensor(floor).log()) if floor else -log_share
