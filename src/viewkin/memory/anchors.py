"""Anchors: the images of which a memory is surest, each with its nearest neighbour."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from viewkin import losses
from viewkin.memory.storage import Rows, rows_of
from viewkin.ops.neighbours import nearest_others
from viewkin.runtime import distributed
from viewkin.runtime.progress import progress_bar

AT_ONCE = 2**24
"""Maximum number of similarities in memory."""


class Anchors(nn.Module):
    """A neighbour for the anchors among N images; there are none until :meth:`choose_`.

    References:
        Huang, Dong, Gong and Zhu, Unsupervised Deep Learning by Neighbourhood Discovery, 2019, section 3.2.
    """

    neighbour: Tensor
    """(N,) int64, -1 for an image that is no anchor."""

    def __init__(self, count: int) -> None:
        """Start without anchors among ``count`` N images."""
        super().__init__()
        self.register_buffer("neighbour", torch.full((count,), -1, dtype=torch.int64))

    @torch.no_grad()
    def choose_(self, features: Rows, share: float, temperature: float) -> None:
        """Make anchors of the images whose similarities to all images have the lowest entropy.

        Args:
            features: a memory of all images, or its rows (N, D) unit norm.
            share: of the images that become anchors, 0 to 1.
            temperature: tau of the softmax over all images.
        """
        rows = losses.at_least_float32(rows_of(features))
        count = round(min(share, 1.0) * len(rows))
        chosen = entropies(rows, temperature).argsort(stable=True)[:count]
        _, nearest = nearest_others(rows, chosen, 1)
        self.neighbour.fill_(-1)
        self.neighbour[chosen] = nearest.squeeze(1)
        self.neighbour.copy_(distributed.agree(self.neighbour))

    def gauges(self) -> dict[str, float]:
        """Return the share of images that are anchors."""
        return {"anchors": float((self.neighbour >= 0).double().mean())}


def entropies(rows: Tensor, temperature: float) -> Tensor:
    """Entropy of each row's softmax over all rows, its own included: (N, D) -> (N,), in nats."""
    found: list[Tensor] = []
    with progress_bar("entropies", len(rows), shown=distributed.rank() == 0) as bar:
        for part in rows.split(max(AT_ONCE // len(rows), 1)):
            log = (part @ rows.T / temperature).log_softmax(1)
            found.append(-(log.exp() * log).sum(1))
            bar.advance(len(part))
    return torch.cat(found)
