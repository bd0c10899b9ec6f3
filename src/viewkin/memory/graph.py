"""A nearest-neighbour graph of all images: a few edges an image, walked to find its kin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from viewkin.runtime.errors import require


@dataclass(frozen=True, kw_only=True)
class GraphConfig:
    """How many edges the graph has, and which of the images that they lead to are taken for kin."""

    neighbours: int = 4
    """k, edges of every image."""
    hops: int = 3
    """l, edges from an anchor to its farthest kin."""
    search: Literal["walk", "bfs"] = "walk"
    """``walk`` joins the lists of neighbours, repeats and all (the released code); ``bfs`` takes each image once and
    never the anchor (the paper)."""
    positives: int = 50
    """P, images of those found that enter the loss: the least similar, "hard" ones."""
    easy: bool = False
    """Take the most similar ones instead."""

    def __post_init__(self) -> None:
        require(self.neighbours >= 1, "method.graph.neighbours", self.neighbours, "at least 1")
        require(self.hops >= 1, "method.graph.hops", self.hops, "at least 1")
        require(self.search in ("walk", "bfs"), "method.graph.search", self.search, "walk or bfs")
        require(self.positives >= 1, "method.graph.positives", self.positives, "at least 1")
        images = self.found
        require(
            images <= 4096, "method.graph.hops", self.hops, f"fewer: {self.neighbours} neighbours give {images} images"
        )

    @property
    def found(self) -> int:
        """Columns of all hops together: ``k + k^2 + ... + k^l``."""
        return sum(self.neighbours**hop for hop in range(1, self.hops + 1))


class NeighbourGraph(nn.Module):
    """k nearest neighbours of every image, in data-set order, each row rewritten when a view of its image is seen.

    Reads have no side effect; :meth:`update_` takes the joined batch of all ranks, so every rank holds the same graph.
    A row that was never written has no edges. (The release's point to image 0, and nothing is pulled in the meantime.)

    References:
        Wang et al., Unsupervised Representation Learning by Invariance Propagation (InvP), 2020, section 3.2.
    """

    neighbours: Tensor
    """(N, k) int64, nearest first; -1 where the row was never written."""
    churn: Tensor
    """() share of the neighbours last written that their rows did not have before."""

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
        """All ends of all paths from an image, repeats kept and the image itself too.

        Args:
            index: (B,) int64.
            hops: l.

        Returns:
            l tensors (B, k^h) int64, of the paths of h = 1 to l edges; -1 where a path ends before.
        """
        reached = [index.unsqueeze(1)]
        for _ in range(hops):
            ends = reached[-1]
            reached.append(self.neighbours[ends.clamp_min(0)].masked_fill((ends < 0).unsqueeze(2), -1).flatten(1))
        return tuple(reached[1:])

    def bfs(self, index: Tensor, hops: int) -> tuple[Tensor, ...]:
        """All images within some hops, each once and at its shortest distance, the anchor never.

        What a path of h edges reaches, and no shorter one, lies at distance h: a breadth-first search is the walk
        without its repeats.

        Args:
            index: (B,) int64.
            hops: l.

        Returns:
            l tensors (B, k^h) int64 of the images at distance h = 1 to l; -1 stands where the walk repeats itself
            or ends.
        """
        walked = self.walk(index, hops)
        nodes = torch.cat([index.unsqueeze(1), *walked], 1)
        rising, order = nodes.sort(dim=1, stable=True)  # stable: of equal images the one reached first stays first
        again = torch.zeros_like(rising, dtype=torch.bool)
        again[:, 1:] = rising[:, 1:] == rising[:, :-1]
        repeats = torch.empty_like(again).scatter_(1, order, again)
        return nodes.masked_fill(repeats, -1)[:, 1:].split([hop.shape[1] for hop in walked], 1)

    def reached(self, index: Tensor, config: GraphConfig) -> tuple[Tensor, ...]:
        """What the configured search finds from (B,) images, one (B, k^h) tensor a hop."""
        return (self.bfs if config.search == "bfs" else self.walk)(index, config.hops)

    @torch.no_grad()
    def update_(self, index: Tensor, nearest: Tensor) -> None:
        """Rewrite rows from sorted lists of nearest images.

        Keeps the first k of k + 1; an image among its own first k is replaced *in place* by the last of the list.

        Args:
            index: (B,) int64 without repeats.
            nearest: (B, k + 1) int64, nearest first, as the current view found them in the bank.
        """
        first = nearest[:, :-1]
        rows = torch.where(first == index.unsqueeze(1), nearest[:, -1:], first)
        new = (rows.unsqueeze(2) != self.neighbours[index].unsqueeze(1)).all(2)
        self.churn.copy_(new.to(self.churn.dtype).mean())
        self.neighbours[index] = rows


def found_by_hop(kind: str, hops: tuple[Tensor, ...], most: int = 256) -> dict[str, Tensor]:
    """Name the hops for a Step's ``found``: ``kind/hop1`` and on, the first ``most`` images of each."""
    return {f"{kind}/hop{number}": hop[:, :most] for number, hop in enumerate(hops, start=1)}
