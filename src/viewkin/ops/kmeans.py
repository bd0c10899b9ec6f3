"""k-means by Lloyd's algorithm, computed in blocks, without empty clusters."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

SCORES = 2**22
"""Maximum number of similarities of points and centroids in memory: 16 MiB in float32."""

TILE = 2048
"""Points and centroids per block in half precision, so that their products fit in the CPU's cache."""


@torch.no_grad()
def lloyd(
    points: Tensor,
    centroids: Tensor,
    iterations: int,
    done: Callable[[], None] = lambda: None,
    dtype: torch.dtype | None = None,
) -> tuple[Tensor, Tensor]:
    """Move centroids to the means of their points until no point changes its cluster.

    A cluster that loses its last member gets the point that is farthest from its own centroid.

    Args:
        points: (N, D), finite.
        centroids: (C, D) initial centroids, C at most N.
        iterations: maximum number of rounds.
        done: called after every round.
        dtype: type of the products, as in :func:`nearest_centroid`.

    Returns:
        labels (N,) int64, without an empty cluster, and centroids (C, D), the means of the members.

    References:
        Lloyd, Least squares quantization in PCM, 1982.
    """
    labels = torch.full((len(points),), -1, dtype=torch.int64, device=points.device)
    for _ in range(iterations):
        before, (labels, distance) = labels, nearest_centroid(points, centroids, dtype)
        labels = fill_empty_clusters(labels, distance, len(centroids))
        centroids = cluster_means(points, labels, centroids)
        done()
        if torch.equal(labels, before):
            break
    return labels, centroids


@torch.no_grad()
def kmeans_plus_plus(points: Tensor, clusters: int, generator: torch.Generator) -> Tensor:
    """Choose initial centroids by k-means++: each with probability proportional to its squared distance to the others.

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
        drawn = torch.rand(1, generator=generator, dtype=torch.float64).to(mass.device) * mass[-1]
        chosen.append(min(int(torch.searchsorted(mass, drawn, right=True)), len(points) - 1))
    return points[chosen].clone()


@torch.no_grad()
def nearest_centroid(points: Tensor, centroids: Tensor, dtype: torch.dtype | None = None) -> tuple[Tensor, Tensor]:
    """Find each point's nearest centroid: index (N,) int64 and squared Euclidean distance (N,).

    With ``dtype`` bfloat16 the products are rounded, which is several times faster if the hardware supports it; a
    centroid that is nearly as near may then be chosen. Distances are not rounded.
    """
    half = centroids.square().sum(1) / 2
    if dtype is None:
        nearest = [_nearest_exact(part, centroids, half) for part in blocks_of(points, len(centroids))]
        return torch.cat([index for index, _ in nearest]), torch.cat([distance for _, distance in nearest])
    # Half the squared norm becomes two more coordinates (its rounded value and the rest), so that a product suffices.
    coarse = half.to(dtype)
    rest = (half - coarse).to(dtype)
    rounded = torch.cat([centroids.to(dtype), -coarse.unsqueeze(1), -rest.unsqueeze(1)], 1)
    blocks = points.split(TILE)
    labels = [_best(functional.pad(part.to(dtype), (0, 2), value=1.0), rounded) for part in blocks]
    distance = [(part - centroids[own]).square().sum(1) for part, own in zip(blocks, labels)]
    return torch.cat(labels), torch.cat(distance)


def blocks_of(points: Tensor, clusters: int = 1) -> tuple[Tensor, ...]:
    """Split (N, D) in blocks with at most ``SCORES`` similarities to the centroids and ``SCORES / 4`` entries."""
    return points.split(max(SCORES // max(4 * points.shape[1], clusters, 1), 1))


def _nearest_exact(points: Tensor, centroids: Tensor, half: Tensor) -> tuple[Tensor, Tensor]:
    points = points.to(centroids.dtype)
    score, index = (points @ centroids.T).sub_(half).max(1)
    return index, (points.square().sum(1) - 2 * score).clamp_min(0)


def _best(points: Tensor, centroids: Tensor) -> Tensor:
    """Index of the largest product (n,), computed in tiles that fit in the CPU's cache."""
    best, where = None, torch.zeros(0)
    for start, tile in zip(range(0, len(centroids), TILE), centroids.split(TILE)):
        value, column = (points @ tile.T).max(1)
        if best is None:
            best, where = value, column
        else:
            better = value > best
            best, where = torch.where(better, value, best), torch.where(better, column + start, where)
    return where


def cluster_means(points: Tensor, labels: Tensor, before: Tensor) -> Tensor:
    """Mean of each cluster's members (C, D), not re-normalised; an empty cluster keeps its value from ``before``."""
    sums, blocks = torch.zeros_like(before), blocks_of(points)
    for part, own in zip(blocks, labels.split(len(blocks[0]))):
        sums.index_add_(0, own, part.to(before.dtype))
    counts = torch.bincount(labels, minlength=len(before)).unsqueeze(1)
    return torch.where(counts > 0, sums / counts.clamp_min(1), before)


def fill_empty_clusters(labels: Tensor, distance: Tensor, clusters: int) -> Tensor:
    """Give each empty cluster the point farthest from its centroid, among clusters with more than one member."""
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
