"""AMDIM's loss: compare a vector of one view with the vectors at all positions of other views.

Letters: S sources, B images, L positions of a map, r channels. Vectors are *not* normalised.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from viewkin.ops.precision import at_least_float32

SCORES_AT_ONCE = 2**24
"""Maximum number of scores in memory (64 MB of float32); if there are more, the backward pass recomputes them."""


class MatchScores(NamedTuple):
    """Scores of sources against the maps of images."""

    positive: Tensor
    """(S, L) clipped scores at the positions of the source's own image; undefined if that is not among the maps."""
    negative: Tensor
    """(S,) log of the summed exponentials of the clipped scores at all positions of all other images."""
    square: Tensor
    """() mean squared raw score."""


def infomax_match(
    source: Tensor, target: Tensor, own: Tensor, clip: float = 20.0, at_once: int = SCORES_AT_ONCE
) -> MatchScores:
    """Score sources against maps: ``raw[i, j, l] = <S_i, T_jl> / sqrt(r)``, clipped to ``c tanh(raw / c)``.

    Products are at least float32 even under autocast: bfloat16 has a resolution of 0.06 near a score of 20.

    Args:
        source: (S, r).
        target: (B, L, r).
        own: (S,) int64, row of ``target`` with the source's own image (in another view); out of range if there is none.
        clip: c, scores are between -c and c.
        at_once: maximum number of scores in memory.

    References:
        Bachman, Hjelm and Buchwalter, Learning representations by maximizing mutual information across views, 2019,
        and the released code.
    """
    source, target = at_least_float32(source), at_least_float32(target)
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
    return MatchScores(positive, negative, square / (len(source) * target.shape[0] * target.shape[1]))


def _match(source: Tensor, target: Tensor, own: Tensor, clip: float) -> tuple[Tensor, Tensor, Tensor]:
    """:func:`infomax_match` of one block of sources, with the sum of squares instead of their mean."""
    count, places, channels = target.shape
    with torch.autocast(source.device.type, enabled=False):
        raw = (source @ target.flatten(0, 1).T).view(-1, count, places) / math.sqrt(channels)
        clipped = clip * torch.tanh(raw / clip)
        at = own.clamp(0, count - 1).view(-1, 1, 1).expand(-1, 1, places)
        mask = (own.view(-1, 1) == torch.arange(count, device=own.device)).unsqueeze(2)
        others = clipped.masked_fill(mask, -math.inf)
        return clipped.gather(1, at).squeeze(1), others.flatten(1).logsumexp(1), raw.square().sum()


def infomax_scores(positive: Tensor, negative: Tensor) -> Tensor:
    """Log-softmax of each position of the own image among itself and all positions of other images: (S, L).

    ``s[i, l] = c[i, i, l] - log(e^c[i, i, l] + sum_{j != i, l'} e^c[i, j, l'])``, from the parts of
    :class:`MatchScores`. Other positions of the own image are not negatives. The loss is minus the mean.

    References:
        Bachman, Hjelm and Buchwalter, 2019.
    """
    return positive - torch.logaddexp(positive, negative.unsqueeze(1))


def responsibilities(scores: Tensor, sharpness: float) -> Tensor:
    """Responsibility of each mixture component for a position: ``q_j = softmax_j(tau s_j)``; scores (B, k, L)."""
    return (sharpness * scores).softmax(1)


def mixture_objective(scores: Tensor, sharpness: float) -> Tensor:
    """Score of a mixture for each position: ``sum_j q_j s_j + H(q) / tau``, (B, k, L) -> (B, L), to be maximised.

    q are the :func:`responsibilities`, constant for the gradient. The value equals ``logsumexp_j(tau s_j) / tau``, with
    the same gradient, since q maximises the objective. A single component gives its own score.

    Args:
        scores: (B, k, L) log-softmax scores of k components.
        sharpness: tau, the *inverse* of a temperature.

    References:
        Bachman, Hjelm and Buchwalter, 2019.
    """
    q = responsibilities(scores, sharpness).detach()
    return (q * scores).sum(1) + torch.special.entr(q).sum(1) / sharpness


def clipped_cross_entropy(logits: Tensor, labels: Tensor, clip: float = 10.0, weight: float = 1e-3) -> Tensor:
    """Loss of AMDIM's evaluation heads: cross-entropy of ``c tanh(z / c)`` plus ``weight * mean(z^2)``; a scalar.

    Args:
        logits: (B, C) z.
        labels: (B,) int64; rows with -100 are left out of the cross-entropy.
        clip: c.
        weight: weight of the penalty on z before clipping.

    References:
        Bachman, Hjelm and Buchwalter, 2019, the released code.
    """
    z = at_least_float32(logits)
    total = functional.cross_entropy(clip * torch.tanh(z / clip), labels, reduction="sum")
    return total / (labels >= 0).sum().clamp(min=1) + weight * z.square().mean()
