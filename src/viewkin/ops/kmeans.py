"""k-means by Lloyd's algorithm, block by block, without an empty cluster."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

SCORES = 2**22
"""Similarities of points and centroids held at once: 16 MiB in float32, so that memory does not double."""

TILE = 2048
"""Points and centroids compared at once in half precision: their products stay in a processor's cache."""


@torch.no_grad()
def lloyd(
    points: Tensor,
    centroids: Tensor,
    iterations: int,
    done: Callable[[], None] = lambda: None,
    dtype: torch.dtype | None = None,
) -> tuple[Tensor, Tensor]:
    """Move centroids to the means of their points until no point changes its cluster.

    A cluster that loses its last member takes the point that lies farthest from its own centroid.

    Args:
        points: (N, D), finite.
        centroids: (C, D) to begin with, C at most N.
        iterations: most rounds of assignment and means.
        done: called after every round.
        dtype: of the products, as of :func:`nearest`.

    Returns:
        labels (N,) int64, every cluster in use, and centroids (C, D), the means of the members.

    References:
        Lloyd, Least squares quantization in PCM, 1982.
    """
    labels = torch.full((len(points),), -1, dtype=torch.int64, device=points.device)
    for _ in range(iterations):
        before, (labels, distance) = labels, nearest(points, centroids, dtype)
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
    norm = torch.cat([part.square().sum(1) for part in blocks_of(points)])
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
def nearest(points: Tensor, centroids: Tensor, dtype: torch.dtype | None = None) -> tuple[Tensor, Tensor]:
    """Find each point's nearest centroid: index (N,) int64 and squared Euclidean distance (N,).

    ``dtype`` bfloat16 compares by rounded products, several times faster where the processor has it: a centroid nearly
    as near may win. Distances are those of the winner, not rounded.
    """
    half = centroids.square().sum(1) / 2
    if dtype is None:
        found = [_nearest_exact(part, centroids, half) for part in blocks_of(points, len(centroids))]
        return torch.cat([index for index, _ in found]), torch.cat([distance for _, distance in found])
    # The half square is two more coordinates, what rounding leaves of it the second, so that the product alone decides.
    coarse = half.to(dtype)
    rest = (half - coarse).to(dtype)
    rounded = torch.cat([centroids.to(dtype), -coarse.unsqueeze(1), -rest.unsqueeze(1)], 1)
    blocks = points.split(TILE)
    labels = [_best(functional.pad(part.to(dtype), (0, 2), value=1.0), rounded) for part in blocks]
    distance = [(part - centroids[own]).square().sum(1) for part, own in zip(blocks, labels)]
    return torch.cat(labels), torch.cat(distance)


def blocks_of(points: Tensor, clusters: int = 1) -> tuple[Tensor, ...]:
    """Split (N, D) in blocks of ``SCORES`` similarities to the centroids and a quarter as many entries at most."""
    return points.split(max(SCORES // max(4 * points.shape[1], clusters, 1), 1))


def _nearest_exact(points: Tensor, centroids: Tensor, half: Tensor) -> tuple[Tensor, Tensor]:
    points = points.to(centroids.dtype)
    score, index = (points @ centroids.T).sub_(half).max(1)
    return index, (points.square().sum(1) - 2 * score).clamp_min(0)


def _best(points: Tensor, centroids: Tensor) -> Tensor:
    """Index of the largest product (n,), by tiles that stay in a processor's cache."""
    best, where = None, torch.zeros(0)
    for start, tile in zip(range(0, len(centroids), TILE), centroids.split(TILE)):
        value, column = (points @ tile.T).max(1)
        if best is None:
            best, where = value, column
        else:
            better = value > best
            best, where = torch.where(better, value, best), torch.where(better, column + start, where)
    return where


def means(points: Tensor, labels: Tensor, before: Tensor) -> Tensor:
    """Mean of each cluster's members (C, D), not re-normalised; a cluster without any keeps its value of ``before``."""
    sums, blocks = torch.zeros_like(before), blocks_of(points)
    for part, own in zip(blocks, labels.split(len(blocks[0]))):
        sums.index_add_(0, own, part.to(before.dtype))
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
