"""k-means of unit vectors, block by block, without an empty cluster."""

from __future__ import annotations

import torch
from torch import Tensor

from viewkin import distributed
from viewkin.progress import LateBar

SCORES = 2**24
"""Similarities of points and centroids held at once, so that memory does not double: 64 MiB in float32."""


@torch.no_grad()
def kmeans(
    points: Tensor, clusters: int, generator: torch.Generator, *, iterations: int = 20, shown: bool = True
) -> tuple[Tensor, Tensor]:
    """Cluster points by Lloyd's algorithm from random points as first centroids, all points taking part.

    A cluster that loses its last member takes the point that lies farthest from its own centroid. The same points and
    generator give the same clusters; rank 0's are every rank's.

    Args:
        points: (N, D), finite.
        clusters: C, at most N.
        generator: on the CPU; draws the first centroids.
        iterations: most rounds of assignment and means.
        shown: whether rank 0 shows a bar if it takes long.

    Returns:
        labels (N,) int64, every cluster in use, and centroids (C, D), the means of the members.

    References:
        Lloyd, 1982. InterCLR's release runs FAISS with 20 iterations on all points (METHODS 6.4).
    """
    first = torch.randperm(len(points), generator=generator)[:clusters]
    centroids = points[first.to(points.device)].clone()
    labels = torch.full((len(points),), -1, dtype=torch.int64, device=points.device)
    with LateBar("k-means", iterations, shown=shown and distributed.rank() == 0) as bar:
        for _ in range(iterations):
            before, (labels, distance) = labels, nearest(points, centroids)
            labels = with_every_cluster(labels, distance, clusters)
            centroids = means(points, labels, centroids)
            bar.advance()
            if torch.equal(labels, before):
                break
    # A sum on a GPU adds in any order, so that a point between two clusters may go to either.
    return distributed.agree(labels), distributed.agree(centroids)


@torch.no_grad()
def nearest(points: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor]:
    """Find each point's nearest centroid: index (N,) int64 and squared Euclidean distance (N,)."""
    half = centroids.square().sum(1) / 2
    found = [
        torch.max(part @ centroids.T - half, dim=1) for part in points.split(max(SCORES // max(len(centroids), 1), 1))
    ]
    score = torch.cat([one.values for one in found])
    return torch.cat([one.indices for one in found]), (points.square().sum(1) - 2 * score).clamp_min(0)


def means(points: Tensor, labels: Tensor, before: Tensor) -> Tensor:
    """Mean of each cluster's members (C, D), not re-normalised; a cluster without any keeps its value of ``before``."""
    sums = torch.zeros_like(before).index_add_(0, labels, points.to(before.dtype))
    counts = torch.bincount(labels, minlength=len(before)).unsqueeze(1)
    return torch.where(counts > 0, sums / counts.clamp_min(1), before)


def with_every_cluster(labels: Tensor, distance: Tensor, clusters: int) -> Tensor:
    """Give each empty cluster the point farthest from its centroid, among those that are not their cluster's last."""
    counts = torch.bincount(labels, minlength=clusters).tolist()
    empty = [cluster for cluster, count in enumerate(counts) if count == 0]
    if not empty:
        return labels
    labels = labels.clone()
    owner = labels.tolist()
    for point in distance.argsort(descending=True, stable=True).tolist():
        if counts[owner[point]] > 1:
            counts[owner[point]] -= 1
            labels[point] = empty.pop()
            if not empty:
                break
    return labels


@torch.no_grad()
def halves(points: Tensor, *, iterations: int = 20) -> Tensor:
    """Split points by 2-means without chance: which belong to the second half, (n,) bool.

    The first centroids are the point farthest from the mean and the point farthest from that one. Of points that are
    all equal none belongs to the second half.
    """
    one = points[(points - points.mean(0)).square().sum(1).argmax()]
    other = points[(points - one).square().sum(1).argmax()]
    second = torch.zeros(len(points), dtype=torch.bool, device=points.device)
    for _ in range(iterations):
        before, second = second, (points - other).square().sum(1) < (points - one).square().sum(1)
        if not second.any() or second.all():
            break
        if torch.equal(second, before):
            break
        one, other = points[~second].mean(0), points[second].mean(0)
    return second
