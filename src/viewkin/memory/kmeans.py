"""k-means of unit vectors, the same on every rank."""

from __future__ import annotations

import torch
from torch import Tensor

from viewkin import losses
from viewkin.ops.kmeans import lloyd
from viewkin.runtime import distributed
from viewkin.runtime.processor import has_bf16
from viewkin.runtime.progress import progress_bar

LARGE = 2**32
"""From so many products of points and centroids per round on, products are rounded. ImageNet with 10,000 clusters has
three times as many; in float32 on two cores it takes an hour."""


@torch.no_grad()
def kmeans(
    points: Tensor, clusters: int, generator: torch.Generator, *, iterations: int = 20, shown: bool = True
) -> tuple[Tensor, Tensor]:
    """Cluster all points by Lloyd's algorithm, with random points as initial centroids.

    A cluster that loses its last member gets the point that is farthest from its own centroid. The same points and
    generator give the same clusters; all ranks use those of rank 0. From ``LARGE`` products per round on, products are
    rounded to bfloat16 if the device supports it; either of two nearly equally near centroids may then be chosen.

    Args:
        points: (N, D), finite.
        clusters: C, at most N.
        generator: on the CPU; draws the initial centroids.
        iterations: maximum number of rounds.
        shown: whether rank 0 shows a progress bar if it takes long.

    Returns:
        labels (N,) int64, without an empty cluster, and centroids (C, D), the means of the members.

    References:
        Lloyd, 1982. InterCLR's release runs FAISS with 20 iterations on all points.
    """
    first = torch.randperm(len(points), generator=generator)[:clusters]
    with progress_bar("k-means", iterations, shown=shown and distributed.rank() == 0) as bar:
        rounded = len(points) * clusters >= LARGE and (points.is_cuda or has_bf16())
        dtype = torch.bfloat16 if rounded else None
        labels, centroids = lloyd(
            points, losses.at_least_float32(points[first.to(points.device)]), iterations, bar.advance, dtype
        )
    # The order of additions on a GPU varies, so ranks may differ on a point between two clusters.
    return distributed.agree(labels), distributed.agree(centroids)


def renumber_like(labels: Tensor, before: Tensor, clusters: int) -> Tensor:
    """Renumber the clusters of ``labels`` (N,) to match an earlier clustering ``before`` (N,).

    In falling order of overlap, each cluster gets the number of the earlier cluster, if that number is still free.
    """
    pairs, overlap = (before * clusters + labels).unique(return_counts=True)
    number: dict[int, int] = {}
    free = dict.fromkeys(range(clusters))
    for pair in pairs[overlap.argsort(descending=True, stable=True)].tolist():
        old, new = divmod(pair, clusters)
        if new not in number and old in free:
            number[new] = old
            del free[old]
    left = (new for new in range(clusters) if new not in number)
    number |= dict(zip(left, free))
    return torch.tensor([number[new] for new in range(clusters)], device=labels.device)[labels]


@torch.no_grad()
def two_means(points: Tensor, *, iterations: int = 20) -> Tensor:
    """Split points in two by 2-means, deterministically: (n,) bool, whether a point belongs to the second half.

    The initial centroids are the point farthest from the mean, and the point farthest from that one. If all points are
    (nearly) equal, none belongs to the second half.
    """
    one = points[(points - points.mean(0)).square().sum(1).argmax()]
    other = points[(points - one).square().sum(1).argmax()]
    second = torch.zeros(len(points), dtype=torch.bool, device=points.device)
    for _ in range(iterations):
        nearer_other = (points - other).square().sum(1) < (points - one).square().sum(1)
        # The rounded means of nearly equal rows may leave one half empty; the last proper split is kept.
        if not nearer_other.any() or nearer_other.all() or torch.equal(nearer_other, second):
            break
        second = nearer_other
        one, other = points[~second].mean(0), points[second].mean(0)
    return second


@torch.no_grad()
def masked_two_means(points: Tensor, there: Tensor, *, iterations: int = 20) -> Tensor:
    """:func:`two_means` of the rows of (n, D) where ``there`` (n,) is true, with fixed shapes: no wait for a GPU.

    If these rows are all equal, none belongs to the second half.
    """
    rows, outside = points * there.unsqueeze(1), ~there
    mean = rows.sum(0) / there.sum().clamp_min(1)
    ends = [_farthest(points, mean, outside)]
    ends.append(_farthest(points, ends[0], outside))
    centres = torch.stack(ends)
    second = torch.zeros_like(there)
    for _ in range(iterations):
        score = points @ centres.T - centres.square().sum(1) / 2
        nearer_second = there & (score[:, 1] > score[:, 0])
        halves = torch.stack([there & ~nearer_second, nearer_second]).to(points.dtype)
        size = halves.sum(1, keepdim=True)
        split = (size > 0).all()
        second = torch.where(split, nearer_second, second)
        centres = torch.where(split, halves @ rows / size.clamp_min(1), centres)
    return second


def _farthest(points: Tensor, centre: Tensor, outside: Tensor) -> Tensor:
    distance = (points - centre).square().sum(1).masked_fill(outside, -1)
    return points.index_select(0, distance.argmax(0, keepdim=True))[0]  # points[...] would wait for the index
