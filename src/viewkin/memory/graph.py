"""A nearest-neighbour graph of all images, which is searched for positives of an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from viewkin.runtime.errors import require
from viewkin.settings import Count, Settings


@dataclass(frozen=True, kw_only=True)
class GraphConfig(Settings):
    """Size of the graph, and the choice of positives among the images that its edges lead to."""

    neighbours: Count = 4
    """k, number of edges per image."""
    hops: Count = 3
    """l, maximum number of edges from an anchor to a positive."""
    search: Literal["walk", "bfs"] = "walk"
    """``walk`` joins the lists of neighbours with all repeats (released code); ``bfs``, breadth-first search, takes
    each image once and never the anchor (the paper)."""
    positives: Count = 50
    """P, number of reached images that enter the loss: the least similar ("hard") ones."""
    easy: bool = False
    """Use the most similar ones instead."""

    def _check(self) -> None:
        images = self.columns
        require(images <= 4096, "hops", self.hops, f"fewer: {self.neighbours} neighbours give {images} images")

    @property
    def columns(self) -> int:
        """Number of columns of all hops together: ``k + k^2 + ... + k^l``."""
        return sum(self.neighbours**hop for hop in range(1, self.hops + 1))


class NeighbourGraph(nn.Module):
    """k nearest neighbours of every image, in data-set order; a row is rewritten when a view of its image is seen.

    Reads have no side effect. :meth:`update_` takes the joined batch of all ranks, so every rank holds the same graph.
    A row that was never written has no edges. (In the release such rows point to image 0, but the term is off then.)

    References:
        Wang et al., Unsupervised Representation Learning by Invariance Propagation (InvP), 2020, section 3.2.
    """

    neighbours: Tensor
    """(N, k) int64, nearest first; -1 in rows that were never written."""
    churn: Tensor
    """() fraction of the neighbours written in the last update that were new to their rows."""

    def __init__(self, count: int, neighbours: int) -> None:
        """Start without edges.

        Args:
            count: N, images.
            neighbours: k.
        """
        super().__init__()
        self.register_buffer("neighbours", torch.full((count, neighbours), -1, dtype=torch.int64))
        self.register_buffer("churn", torch.ones(()))

    def walk(self, index: Tensor, hops: int) -> tuple[Tensor, ...]:
        """End points of all paths from an image, including repeats and the image itself.

        Args:
            index: (B,) int64.
            hops: l.

        Returns:
            l tensors (B, k^h) int64, for the paths of h = 1 to l edges; -1 if a path ends before.
        """
        reached = [index.unsqueeze(1)]
        for _ in range(hops):
            ends = reached[-1]
            reached.append(self.neighbours[ends.clamp_min(0)].masked_fill((ends < 0).unsqueeze(2), -1).flatten(1))
        return tuple(reached[1:])

    def bfs(self, index: Tensor, hops: int) -> tuple[Tensor, ...]:
        """All images within ``hops`` edges, each once, at its shortest distance, without the anchor.

        An image that a path of h edges reaches, and no shorter path, is at distance h. A breadth-first search is
        therefore the walk without its repeats.

        Args:
            index: (B,) int64.
            hops: l.

        Returns:
            l tensors (B, k^h) int64 of the images at distance h = 1 to l; -1 in place of repeats and ended paths.
        """
        walked = self.walk(index, hops)
        nodes = torch.cat([index.unsqueeze(1), *walked], 1)
        rising, order = nodes.sort(dim=1, stable=True)  # stable: among equal images the one reached first is first
        again = torch.zeros_like(rising, dtype=torch.bool)
        again[:, 1:] = rising[:, 1:] == rising[:, :-1]
        repeats = torch.empty_like(again).scatter_(1, order, again)
        return nodes.masked_fill(repeats, -1)[:, 1:].split([hop.shape[1] for hop in walked], 1)

    def related_by_hop(self, index: Tensor, config: GraphConfig) -> tuple[Tensor, ...]:
        """Run the configured search from images (B,): one tensor (B, k^h) per hop."""
        return (self.bfs if config.search == "bfs" else self.walk)(index, config.hops)

    @torch.no_grad()
    def update_(self, index: Tensor, nearest: Tensor) -> None:
        """Rewrite rows from sorted lists of nearest images.

        A row keeps the first k of k + 1 images. If the image itself is among them, the last of the list takes its
        place.

        Args:
            index: (B,) int64 without repeats.
            nearest: (B, k + 1) int64, bank rows nearest to the current view, nearest first.
        """
        first = nearest[:, :-1]
        rows = torch.where(first == index.unsqueeze(1), nearest[:, -1:], first)
        new = (rows.unsqueeze(2) != self.neighbours[index].unsqueeze(1)).all(2)
        self.churn.copy_(new.to(self.churn.dtype).mean())
        self.neighbours[index] = rows


def name_hops(kind: str, hops: tuple[Tensor, ...], most: int = 256) -> dict[str, Tensor]:
    """Name the hops for :attr:`Step.related`: ``kind/hop1``, ``kind/hop2``, ...; the first ``most`` images of each."""
    return {f"{kind}/hop{number}": hop[:, :most] for number, hop in enumerate(hops, start=1)}
