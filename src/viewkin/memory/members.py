"""The members of every cluster, from which positives and negatives are drawn for all anchors at once."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

ROOM = 32
"""Free slots of every cluster, in addition to half the number of its members."""


class Members(NamedTuple):
    """Images listed cluster by cluster; the images of a cluster are contiguous, and free slots may follow them."""

    labels: Tensor
    """(N,) int64."""
    order: Tensor
    """(S,) integers: the images of each cluster, beginning at ``first``; the content of free slots is undefined."""
    place: Tensor
    """(N,) integers: slot of each image in ``order``; -1 if it has none."""
    first: Tensor
    """(C,) int64: first slot of each cluster."""
    counts: Tensor
    """(C,) int64: number of listed images."""

    @classmethod
    def of(cls, labels: Tensor, counts: Tensor) -> Members:
        """List images by label (N,), without free slots; ``counts`` (C,) are the sizes."""
        order = labels.argsort(stable=True)
        place = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))
        return cls(labels, order, place, counts.cumsum(0) - counts, counts)

    def draw_positives(self, index: Tensor, chance: Tensor, *, itself: bool = True) -> Tensor:
        """Draw images of each anchor's cluster, uniformly.

        Args:
            index: (B,) int64 anchors.
            chance: (B, n) uniform random numbers in 0 to 1, float64.
            itself: whether the anchor may be drawn. An anchor that is alone in its cluster always gets itself.

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
        positives = self.order[first + torch.minimum(drawn, last)].long()
        return torch.where(count > 0, positives, index.unsqueeze(1))

    def draw_negatives(self, index: Tensor, chance: Tensor) -> Tensor:
        """Draw from all images of other labels, uniformly with replacement.

        Arguments and result are those of :meth:`draw_positives`; -1 if all images have the anchor's label.
        """
        own = self.labels[index]
        upto = self.counts.cumsum(0)
        count = self.counts[own].unsqueeze(1)
        others = upto[-1] - count
        drawn = (chance * others).long()
        # From the number among the images of other clusters to the number among all listed images.
        drawn = drawn + torch.where(drawn >= upto[own].unsqueeze(1) - count, count, 0)
        cluster = torch.searchsorted(upto, drawn, right=True).clamp_max(len(upto) - 1)
        place = self.first[cluster] + drawn - (upto - self.counts)[cluster]
        return torch.where(others > 0, self.order[place.clamp_max(len(self.order) - 1)].long(), -1)


class MemberLists(nn.Module):
    """Members of every cluster, updated at the cost of the moved images instead of sorting N labels at each step.

    A cluster has free slots for half as many images again. An image that is moved to a full cluster has no slot until
    :meth:`build_` lists all images again. All shapes are fixed, so no move waits for a GPU.
    """

    order: Tensor
    """(S + 1,) int32, as in :class:`Members`; the last slot is a dummy for masked writes."""
    place: Tensor
    """(N + 1,) int32, as in :class:`Members`; likewise with a dummy."""
    first: Tensor
    """(C,) int64, first slot of each cluster."""
    room: Tensor
    """(C,) int64, number of slots of each cluster."""
    listed: Tensor
    """(C,) int64, number of used slots."""
    lost: Tensor
    """() int64, number of images without a slot."""

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
        """List all images by label, in rising order within a cluster."""
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
        """Return the lists for drawing, without a copy."""
        return Members(labels, self.order[:-1], self.place[:-1], self.first, self.listed)

    def rows(self, cluster: Tensor, width: int) -> tuple[Tensor, Tensor]:
        """Return the first ``width`` listed images of each cluster (n,): (n, width) int64, and a mask of real ones."""
        column = torch.arange(width, device=cluster.device)
        there = column < self.listed[cluster].unsqueeze(1)
        place = (self.first[cluster].unsqueeze(1) + column).masked_fill(~there, len(self.order) - 1)
        return self.order[place].long(), there

    @torch.no_grad()
    def move_(self, index: Tensor, old: Tensor, new: Tensor) -> None:
        """Move images (m,), each of which occurs once, from clusters ``old`` (m,) to ``new`` (m,), if they differ."""
        moves = old != new
        place = self.place[index].long()
        leaves = moves & (place >= 0)
        self.lost -= (moves & (place < 0)).sum()
        self.place.index_fill_(0, self._or_nowhere(index, leaves, self.place), -1)
        self._close_gaps_(old, place, leaves)
        self._append_(index, new, moves)
        self.order[-1].zero_()  # reset the dummies; an assignment of 0 would wait for the GPU
        self.place[-1].fill_(-1)

    def _close_gaps_(self, old: Tensor, place: Tensor, leaves: Tensor) -> None:
        """Fill the slots of images that left with the last images of their cluster."""
        gone = torch.zeros_like(self.listed).index_add_(0, old, leaves.long())
        end = self.first + self.listed - gone
        self.listed -= gone
        tail = end[old] + _number_within(old, leaves)
        gap = leaves & (place < end[old])
        stays = self.order[self._or_nowhere(tail, leaves, self.order)].long()
        # An image of the tail may leave too; then it has no slot any more. In each cluster, the number of images that
        # stay in the tail equals the number of gaps.
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
        """Return ``place`` where ``wanted``, else the dummy at the end of ``of``."""
        return torch.where(wanted, place, len(of) - 1)


def _number_within(group: Tensor, counted: Tensor) -> Tensor:
    """Number the counted entries of each group (m,) from 0, in order; the numbers of the others are undefined."""
    key = torch.where(counted, group, -1)
    rising, order = key.sort(stable=True)
    number = torch.arange(len(key), device=key.device) - torch.searchsorted(rising, rising)
    return torch.empty_like(number).scatter_(0, order, number)
