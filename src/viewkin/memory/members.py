"""Which images share a label, so that kin and strangers are drawn for all anchors at once."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Members(NamedTuple):
    """Images sorted by label."""

    labels: Tensor
    """(N,) int64."""
    order: Tensor
    """(N,) int64: the images of cluster 0, then of cluster 1, and so on."""
    place: Tensor
    """(N,) int64: where each image stands in ``order``."""
    first: Tensor
    """(C,) int64: where each cluster begins."""
    counts: Tensor
    """(C,) int64."""

    @classmethod
    def of(cls, labels: Tensor, counts: Tensor) -> Members:
        """Sort images by label (N,); ``counts`` (C,) are the sizes."""
        order = labels.argsort(stable=True)
        place = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))
        return cls(labels, order, place, counts.cumsum(0) - counts, counts)

    def kin(self, index: Tensor, chance: Tensor, *, itself: bool = True) -> Tensor:
        """Draw from each anchor's cluster, uniformly.

        Args:
            index: (B,) int64 anchors.
            chance: (B, n) uniform in 0 to 1, float64.
            itself: whether the anchor counts; without it an anchor that is alone in its cluster still gets itself.

        Returns:
            (B, n) int64 images.
        """
        own = self.labels[index]
        first, count = self.first[own].unsqueeze(1), self.counts[own].unsqueeze(1)
        if itself:
            return self.order[first + (chance * count).long()]
        drawn = (chance * (count - 1)).long()
        drawn += (drawn >= self.place[index].unsqueeze(1) - first).long()
        return self.order[first + torch.minimum(drawn, count - 1)]

    def strangers(self, index: Tensor, chance: Tensor) -> Tensor:
        """Draw from all images of other labels, uniformly with replacement; arguments and result as of :meth:`kin`.

        Where all images have the anchor's label, -1.
        """
        own = self.labels[index]
        first, count = self.first[own].unsqueeze(1), self.counts[own].unsqueeze(1)
        others = len(self.labels) - count
        drawn = (chance * others).long()
        drawn = drawn + torch.where(drawn >= first, count, 0)
        return torch.where(others > 0, self.order[drawn.clamp_max(len(self.labels) - 1)], -1)
