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
"""Products of points and centroids in a round above which they are rounded: ImageNet's 10,000 clusters have three times
as many, and take an hour in float32 on two cores."""


@torch.no_grad()
def kmeans(
    points: Tensor, clusters: int, generator: torch.Generator, *, iterations: int = 20, shown: bool = True
) -> tuple[Tensor, Tensor]:
    """Cluster points by Lloyd's algorithm from random points as first centroids, all points taking part.

    A cluster that loses its last member takes the point that lies farthest from its own centroid. The same points and
    generator give the same clusters; rank 0's are every rank's. From ``LARGE`` products a round on, these are rounded
    to bfloat16 where the device multiplies it: of centroids nearly as near, either may win.

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
    with progress_bar("k-means", iterations, shown=shown and distributed.rank() == 0) as bar:
        rounded = len(points) * clusters >= LARGE and (points.is_cuda or has_bf16())
        dtype = torch.bfloat16 if rounded else None
        labels, centroids = lloyd(points, losses.wide(points[first.to(points.device)]), iterations, bar.advance, dtype)
    # A sum on a GPU adds in any order, so that a point between two clusters may go to either.
    return distributed.agree(labels), distributed.agree(centroids)


def numbered_as(labels: Tensor, before: Tensor, clusters: int) -> Tensor:
    """Number the clusters of labels (N,) by those of an earlier clustering (N,), the largest overlaps first.

    Each gets the number of the earlier cluster that it shares most images with, among those still free.
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
def halves(points: Tensor, *, iterations: int = 20) -> Tensor:
    """Split points by 2-means without chance: which belong to the second half, (n,) bool.

    The first centroids are the point farthest from the mean and the point farthest from that one. Of points that are
    all equal, or as good as, none belongs to the second half.
    """
    one = points[(points - points.mean(0)).square().sum(1).argmax()]
    other = points[(points - one).square().sum(1).argmax()]
    second = torch.zeros(len(points), dtype=torch.bool, device=points.device)
    for _ in range(iterations):
        found = (points - other).square().sum(1) < (points - one).square().sum(1)
        # Means of rows a rounding apart may lie beyond all of them: the last split that is one stays.
        if not found.any() or found.all() or torch.equal(found, second):
            break
        second = found
        one, other = points[~second].mean(0), points[second].mean(0)
    return second


@torch.no_grad()
def halves_among(points: Tensor, there: Tensor, *, iterations: int = 20) -> Tensor:
    """:func:`halves` of the rows of (n, D) that are ``there`` (n,), by a fixed number of products: no wait for a GPU.

    Of rows that are all equal none belongs to the second half.
    """
    rows, outside = points * there.unsqueeze(1), ~there
    mean = rows.sum(0) / there.sum().clamp_min(1)
    ends = [_farthest(points, mean, outside)]
    ends.append(_farthest(points, ends[0], outside))
    centres = torch.stack(ends)
    second = torch.zeros_like(there)
    for _ in range(iterations):
        score = points @ centres.T - centres.square().sum(1) / 2
        found = there & (score[:, 1] > score[:, 0])
        share = torch.stack([there & ~found, found]).to(points.dtype)
        size = share.sum(1, keepdim=True)
        split = (size > 0).all()
        second = torch.where(split, found, second)
        centres = torch.where(split, share @ rows / size.clamp_min(1), centres)
    return second


def _farthest(points: Tensor, centre: Tensor, outside: Tensor) -> Tensor:
    distance = (points - centre).square().sum(1).masked_fill(outside, -1)
    return points.index_select(0, distance.argmax(0, keepdim=True))[0]  # points[...] would read the number
