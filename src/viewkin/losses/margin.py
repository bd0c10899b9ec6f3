"""An additive angular margin, an alternative to the cosine margin of :func:`viewkin.losses.info_nce_of`."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from viewkin.ops.precision import at_least_float32


def angular_margin(similarity: Tensor, margin: float) -> Tensor:
    """Similarity of a positive after its angle is increased by a margin: ``cos(theta + m)``, continued by a line.

    With c = cos theta: ``phi = c cos m - sqrt(1 - c^2) sin m``. For m < 0 phi where c < cos m, else ``c + m sin m``;
    for m >= 0 phi where c > cos(pi - m), else ``c - m sin(pi - m)``.

    Args:
        similarity: (...) cosines c.
        margin: m, radians; above 0 stricter, below 0 looser.

    References:
        Xie et al., InterCLR, 2022, the released code; after Deng et al., ArcFace, 2019.
    """
    c = at_least_float32(similarity)
    # The root's slope is infinite at 0.
    sine = (1 - c.square()).clamp_min(1e-12).sqrt()
    phi = c * math.cos(margin) - sine * math.sin(margin)
    if margin < 0:
        return torch.where(c < math.cos(margin), phi, c + margin * math.sin(margin))
    return torch.where(c > math.cos(math.pi - margin), phi, c - margin * math.sin(math.pi - margin))
