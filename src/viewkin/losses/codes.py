"""Losses of views that are told the code of another view: SwAV's balanced assignment, DINO's sharpened output."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from viewkin.ops.precision import at_least_float32


@torch.no_grad()
def balanced_codes(scores: Tensor, epsilon: float, iterations: int) -> Tensor:
    """SwAV's codes: soft assignment of images to prototypes that uses all prototypes alike, by Sinkhorn-Knopp.

    ``Q = exp(S / epsilon)``, divided by its total; then in turn columns are divided by (their sum K) and rows by (their
    sum B); times B.

    Args:
        scores: (B, K) similarities of the global batch (and the queue) to the prototypes.
        epsilon: entropy weight, dimensionless; smaller is harder.
        iterations: rounds; published 3.

    Returns:
        (B, K) rows of sum 1, constant.

    References:
        Caron et al., SwAV, 2020, equations 3-5 and appendix A.1.
    """
    logits = at_least_float32(scores) / epsilon
    codes = (logits - logits.max()).exp()
    codes /= codes.sum()
    count, prototypes = codes.shape
    tiny = torch.finfo(codes.dtype).tiny
    for _ in range(iterations):
        codes /= codes.sum(0, keepdim=True).clamp(min=tiny) * prototypes
        codes /= codes.sum(1, keepdim=True).clamp(min=tiny) * count
    return codes * count


def code_cross_entropy(code: Tensor, logits: Tensor) -> Tensor:
    """``-sum_k q_k log softmax(l)_k`` of constant codes and logits, both (B, K): (B,), at least float32."""
    return -(code * at_least_float32(logits).log_softmax(1)).sum(1)


def swapped_cross_entropy(codes: Sequence[Tensor], logits: Sequence[Tensor]) -> Tensor:
    """Tell each view the codes of the other views: mean of the cross-entropies over all pairs of different views.

    Args:
        codes: (B, K) of each assigned view, the first of the views.
        logits: (B, K) of every view, V of them.

    Returns:
        (B,), the mean over ``len(codes) * (V - 1)`` terms.

    References:
        Caron et al., SwAV, 2020, equation 6; Caron et al., DINO, 2021, equation 3.
    """
    terms = [
        code_cross_entropy(code, other)
        for place, code in enumerate(codes)
        for view, other in enumerate(logits)
        if view != place
    ]
    return torch.stack(terms).mean(0)
