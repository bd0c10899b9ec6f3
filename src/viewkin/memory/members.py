"""Which images share a label, so that kin and strangers are drawn for all anchors at once."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

ROOM = 32
"""Places that every cluster has beyond half as many again as its members."""


class Members(NamedTuple):
    """Images listed cluster by cluster. A cluster's images stand side by side; behind them may be empty places."""

    labels: Tensor
    """(N,) int64."""
    order: Tensor
    """(S,) whole numbers: the images of each cluster from ``first`` on; what stands in an empty place means nothing."""
    place: Tensor
    """(N,) whole numbers: where each image stands in ``order``, -1 for one that has no place."""
    first: Tensor
    """(C,) int64: where each cluster begins."""
    counts: Tensor
    """(C,) int64: the images that are listed."""

    @classmethod
    def of(cls, labels: Tensor, counts: Tensor) -> Members:
        """Sort images by label (N,); ``counts`` (C,) are the sizes. No place is empty."""
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
        first, count, place = (x.unsqueeze(1) for x in (self.first[own], self.counts[own], self.place[index]))
        listed = place >= 0
        if itself:
            drawn = (chance * count).long()
        else:
            drawn = (chance * (count - listed.long())).long()
            drawn += (listed & (drawn >= place - first)).long()
        last = (count - 1).clamp_min(0)
        found = self.order[first + torch.minimum(drawn, last)].long()
        return torch.where(count > 0, found, index.unsqueeze(1))

    def strangers(self, index: Tensor, chance: Tensor) -> Tensor:
        """Draw from all images of other labels, uniformly with replacement; arguments and result as of :meth:`kin`.

        Where all images have the anchor's label, -1.
        """
        own = self.labels[index]
        upto = self.counts.cumsum(0)
        count = self.counts[own].unsqueeze(1)
        others = upto[-1] - count
        drawn = (chance * others).long()
        # The number of an image among all that are listed, those of the own cluster passed over.
        drawn = drawn + torch.where(drawn >= upto[own].unsqueeze(1) - count, count, 0)
        cluster = torch.searchsorted(upto, drawn, right=True).clamp_max(len(upto) - 1)
        place = self.first[cluster] + drawn - (upto - self.counts)[cluster]
        return torch.where(others > 0, self.order[place.clamp_max(len(self.order) - 1)].long(), -1)


class MemberLists(nn.Module):
    """Members of every cluster, kept up at the cost of what moves instead of sorting N labels at each step.

    A cluster has room for half as many images again. One that finds no room has no place, until :meth:`build_` lays
    everything out anew. All shapes are fixed: no move waits for a GPU.
    """

    order: Tensor
    """(S + 1,) int32, as of :class:`Members`; the last place takes what is written nowhere."""
    place: Tensor
    """(N + 1,) int32, as of :class:`Members`; likewise."""
    first: Tensor
    """(C,) int64."""
    room: Tensor
    """(C,) int64, places of each cluster."""
    listed: Tensor
    """(C,) int64, images that stand in them."""
    lost: Tensor
    """() int64, images without a place."""

    def __init__(self, labels: Tensor, counts: Tensor) -> None:
        """List images by label (N,); ``counts`` (C,) are the sizes."""
        super().__init__()
        n, c = len(labels), len(counts)
        self.register_buffer("order", torch.zeros(n + n // 2 + ROOM * c + 1, dtype=torch.int32))
        self.register_buffer("place", torch.full((n + 1,), -1, dtype=torch.int32))
        for name in ("first", "room", "listed"):
            self.register_buffer(name, torch.zeros(c, dtype=torch.int64))
        self.register_buffer("lost", torch.zeros((), dtype=torch.int64))
        self.build_(labels, counts)

    @torch.no_grad()
    def build_(self, labels: Tensor, counts: Tensor) -> None:
        """Lay all images out by label, each cluster's in rising order."""
        order = labels.argsort(stable=True)
        self.room.copy_(counts + counts // 2 + ROOM)
        self.first.copy_(self.room.cumsum(0) - self.room)
        self.listed.copy_(counts)
        own = labels[order]
        place = self.first[own] + torch.arange(len(order), device=order.device) - (counts.cumsum(0) - counts)[own]
        self.order[place] = order.int()
        self.place[order] = place.int()
        self.lost.zero_()

    def members(self, labels: Tensor) -> Members:
        """What draws need, without a copy."""
        return Members(labels, self.order[:-1], self.place[:-1], self.first, self.listed)

    def rows(self, cluster: Tensor, width: int) -> tuple[Tensor, Tensor]:
        """The first ``width`` images listed of each cluster (n,): (n, width) int64, and which of them there are."""
        column = torch.arange(width, device=cluster.device)
        there = column < self.listed[cluster].unsqueeze(1)
        place = (self.first[cluster].unsqueeze(1) + column).masked_fill(~there, len(self.order) - 1)
        return self.order[place].long(), there

    @torch.no_grad()
    def move_(self, index: Tensor, old: Tensor, new: Tensor) -> None:
        """Move images (m,), each once, from clusters ``old`` (m,) to ``new`` (m,); where these are equal, nothing."""
        moves = old != new
        place = self.place[index].long()
        leaves = moves & (place >= 0)
        self.lost -= (moves & (place < 0)).sum()
        self.place.index_fill_(0, self._or_nowhere(index, leaves, self.place), -1)
        self._close_gaps_(old, place, leaves)
        self._append_(index, new, moves)
        self.order[-1].zero_()  # as if nothing had been written there; = 0 would wait
        self.place[-1].fill_(-1)

    def _close_gaps_(self, old: Tensor, place: Tensor, leaves: Tensor) -> None:
        """Let the last images of each cluster stand where others have left."""
        gone = torch.zeros_like(self.listed).index_add_(0, old, leaves.long())
        end = self.first + self.listed - gone
        self.listed -= gone
        tail = end[old] + _number_within(old, leaves)
        gap = leaves & (place < end[old])
        stays = self.order[self._or_nowhere(tail, leaves, self.order)].long()
        # One that leaves too has no place any more. As many stay in the tails as there are gaps, cluster by cluster.
        stays_there = leaves & (self.place[stays] >= 0)
        nowhere = len(self.first)
        gaps = torch.where(gap, old, nowhere).argsort(stable=True)
        images = torch.where(stays_there, old, nowhere).argsort(stable=True)
        moved, target, real = stays[images], place[gaps], gap[gaps]
        self.order[self._or_nowhere(target, real, self.order)] = moved.int()
        self.place[self._or_nowhere(moved, real, self.place)] = target.int()

    def _append_(self, index: Tensor, new: Tensor, moves: Tensor) -> None:
        number = self.listed[new] + _number_within(new, moves)
        fits = moves & (number < self.room[new])
        place = self.first[new] + number
        self.order[self._or_nowhere(place, fits, self.order)] = index.int()
        self.place[self._or_nowhere(index, fits, self.place)] = place.int()
        self.listed.index_add_(0, new, fits.long())
        self.lost += (moves & ~fits).sum()

    @staticmethod
    def _or_nowhere(place: Tensor, wanted: Tensor, of: Tensor) -> Tensor:
        """The place where it is wanted, else the last one of ``of``, which means nothing."""
        return torch.where(wanted, place, len(of) - 1)


def _number_within(group: Tensor, counted: Tensor) -> Tensor:
    """Number the counted entries of each group (m,) from 0, in order; anything for the others."""
    key = torch.where(counted, group, -1)
    rising, order = key.sort(stable=True)
    number = torch.arange(len(key), device=key.device) - torch.searchsorted(rising, rising)
    return torch.empty_like(number).scatter_(0, order, number)
