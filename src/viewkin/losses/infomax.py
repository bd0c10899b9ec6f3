"""AMDIM's loss: a vector of one view among the vectors at every position of other views.

S sources, B images, L positions of a map, r channels. Vectors are *not* of unit length.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from viewkin.ops.precision import wide

SCORES_AT_ONCE = 2**24
"""Scores handled at once, 64 MB of float32; beyond, they are computed again in the backward pass instead of kept."""


class Match(NamedTuple):
    """What sources score against the maps of some images."""

    positive: Tensor
    """(S, L) clipped scores at the positions of the source's own image; arbitrary where that is not among the maps."""
    negative: Tensor
    """(S,) log of the summed exponentials of the clipped scores at all positions of all other images."""
    square: Tensor
    """() mean squared raw score."""


def infomax_match(
    source: Tensor, target: Tensor, own: Tensor, clip: float = 20.0, at_once: int = SCORES_AT_ONCE
) -> Match:
    """Score sources against maps: ``raw[i, j, l] = <S_i, T_jl> / sqrt(r)``, clipped to ``c tanh(raw / c)``.

    Products are float32 or wider also under autocast: bfloat16 would leave steps of 0.06 near a score of 20.

    Args:
        source: (S, r).
        target: (B, L, r).
        own: (S,) int64, the row of ``target`` that is each source's own image, in another view; any other number if
            none is.
        clip: c, scores stay within -c and c.
        at_once: scores in memory at a time.

    References:
        Bachman, Hjelm and Buchwalter, Learning representations by maximizing mutual information across views, 2019,
        and the released code; METHODS 4.2.
    """
    source, target = wide(source), wide(target)
    rows = max(at_once // (target.shape[0] * target.shape[1]), 1)
    if rows >= len(source):
        positive, negative, square = _match(source, target, own, clip)
    else:
        parts: list[Any] = [
            checkpoint(_match, s, target, o, clip, use_reentrant=False, preserve_rng_state=False)
            for s, o in zip(source.split(rows), own.split(rows))
        ]
        positive, negative = (torch.cat([part[n] for part in parts]) for n in range(2))
        square = torch.stack([part[2] for part in parts]).sum()
    return Match(positive, negative, square / (len(source) * target.shape[0] * target.shape[1]))


def _match(source: Tensor, target: Tensor, own: Tensor, clip: float) -> tuple[Tensor, Tensor, Tensor]:
    """:func:`infomax_match` of a few sources, with the sum of squares."""
    count, places, channels = target.shape
    with torch.autocast(source.device.type, enabled=False):
        raw = (source @ target.flatten(0, 1).T).view(-1, count, places) / math.sqrt(channels)
        clipped = clip * torch.tanh(raw / clip)
        at = own.clamp(0, count - 1).view(-1, 1, 1).expand(-1, 1, places)
        mask = (own.view(-1, 1) == torch.arange(count, device=own.device)).unsqueeze(2)
        others = clipped.masked_fill(mask, -math.inf)
        return clipped.gather(1, at).squeeze(1), others.flatten(1).logsumexp(1), raw.square().sum()


def infomax_scores(positive: Tensor, negative: Tensor) -> Tensor:
    """Log-softmax of each position of the own image among all positions of other images, not of its own: (S, L).

    ``s[i, l] = c[i, i, l] - log(e^c[i, i, l] + sum_{j != i, l'} e^c[i, j, l'])``, from :class:`Match`'s parts. The
    negatives' sum is taken once a source. The loss is minus the mean.

    References:
        Bachman, Hjelm and Buchwalter, 2019; METHODS 4.2.
    """
    return positive - torch.logaddexp(positive, negative.unsqueeze(1))


def responsibilities(scores: Tensor, sharpness: float) -> Tensor:
    """How much each mixture component answers for a position: ``q_j = softmax_j(tau s_j)``; scores (B, k, L)."""
    return (sharpness * scores).softmax(1)


def mixture_objective(scores: Tensor, sharpness: float) -> Tensor:
    """Score of a mixture for each position: ``sum_j q_j s_j + H(q) / tau``, (B, k, L) -> (B, L), to be maximised.

    q is :func:`responsibilities`, constant for the gradient. The value is ``logsumexp_j(tau s_j) / tau``, whose
    gradient is the same since q is the best there is. One component gives its score.

    Args:
        scores: (B, k, L) log-softmax scores of k components.
        sharpness: tau, the *inverse* of what is called a temperature elsewhere.

    References:
        Bachman, Hjelm and Buchwalter, 2019; METHODS 4.3.
    """
    q = responsibilities(scores, sharpness).detach()
    return (q * scores).sum(1) + torch.special.entr(q).sum(1) / sharpness


def clipped_cross_entropy(logits: Tensor, labels: Tensor, clip: float = 10.0, weight: float = 1e-3) -> Tensor:
    """Loss of AMDIM's evaluation heads: cross-entropy of ``c tanh(z / c)`` plus ``weight * mean(z^2)``; a scalar.

    Args:
        logits: (B, C) z.
        labels: (B,) int64; -100 leaves a row out of the cross-entropy.
        clip: c.
        weight: of the penalty on z before the clip.

    References:
        Bachman, Hjelm and Buchwalter, 2019, the released code; METHODS 4.2.
    """
    z = wide(logits)
    total = functional.cross_entropy(clip * torch.tanh(z / clip), labels, reduction="sum")
    return total / (labels >= 0).sum().clamp(min=1) + weight * z.square().mean()
