"""k-means by Lloyd's algorithm, block by block, without an empty cluster."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

SCORES = 2**24
"""Similarities of points and centroids held at once, so that memory does not double: 64 MiB in float32."""


@torch.no_grad()
def lloyd(
    points: Tensor, centroids: Tensor, iterations: int, done: Callable[[], None] = lambda: None
) -> tuple[Tensor, Tensor]:
    """Move centroids to the means of their points until no point changes its cluster.

    A cluster that loses its last member takes the point that lies farthest from its own centroid.

    Args:
        points: (N, D), finite.
        centroids: (C, D) to begin with, C at most N.
        iterations: most rounds of assignment and means.
        done: called after every round.

    Returns:
        labels (N,) int64, every cluster in use, and centroids (C, D), the means of the members.

    References:
        Lloyd, Least squares quantization in PCM, 1982.
    """
    labels = torch.full((len(points),), -1, dtype=torch.int64, device=points.device)
    for _ in range(iterations):
        before, (labels, distance) = labels, nearest(points, centroids)
        labels = with_every_cluster(labels, distance, len(centroids))
        centroids = means(points, labels, centroids)
        done()
        if torch.equal(labels, before):
            break
    return labels, centroids


@torch.no_grad()
def spread_out(points: Tensor, clusters: int, generator: torch.Generator) -> Tensor:
    """Choose first centroids far from each other: each with a chance that grows as the squared distance to the others.

    Args:
        points: (N, D), finite.
        clusters: C, at most N.
        generator: on the CPU.

    Returns:
        (C, D), rows of ``points``.

    References:
        Arthur and Vassilvitskii, k-means++: The Advantages of Careful Seeding, 2007, section 2.2.
    """
    norm = points.square().sum(1)
    chosen = [int(torch.randint(len(points), (1,), generator=generator))]
    distance = torch.full_like(norm, torch.inf)
    while len(chosen) < clusters:
        last = points[chosen[-1]]
        distance = torch.minimum(distance, (norm + norm[chosen[-1]] - 2 * (points @ last)).clamp_min(0))
        distance[chosen[-1]] = 0  # rounding may leave a little
        mass = distance.double().cumsum(0)
        place = torch.rand(1, generator=generator, dtype=torch.float64).to(mass.device) * mass[-1]
        chosen.append(min(int(torch.searchsorted(mass, place, right=True)), len(points) - 1))
    return points[chosen].clone()


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
