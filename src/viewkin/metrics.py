"""Measures of features and predictions: tensors in, numbers out.

Letters: N rows, D dimensions, K neighbours. Rates are fractions from 0 to 1.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def accuracy(predicted: Tensor, labels: Tensor) -> float:
    """Fraction of rows with a right prediction.

    Args:
        predicted: (N,) class, or (N, k) classes of which one must be right (top-k accuracy).
        labels: (N,) class.
    """
    right = predicted.reshape(len(labels), -1) == labels[:, None]
    return right.any(1).double().mean().item()


def recall_at_k(neighbour_labels: Tensor, labels: Tensor, k: int) -> float:
    """Recall@k: fraction of queries with at least one image of their class among the k nearest.

    A query whose class no other image has counts as a miss.

    Args:
        neighbour_labels: (N, K) classes of the neighbours, nearest first, the query itself left out.
        labels: (N,) class of the queries.
        k: number of neighbours; at most K are used.

    References:
        Ye et al., Unsupervised Embedding Learning via Invariant and Spreading Instance Feature, 2019, section 4.2.
    """
    return accuracy(neighbour_labels[:, :k], labels)


def map_at_r(neighbour_labels: Tensor, labels: Tensor, relevant: Tensor) -> float:
    """MAP@R: mean over queries of ``1/R sum_{i=1..R} P(i) rel(i)``, R the number of other images of the query's class.

    ``rel(i)`` is 1 if the i-th neighbour has the query's class, else 0; ``P(i)`` is its mean over the first i. The
    result is 1 if the R nearest of every query are of its class. A query that is alone in its class counts 0.

    Args:
        neighbour_labels: (N, K) classes of the neighbours, nearest first, the query itself left out; K at least the
            largest R.
        labels: (N,) class of the queries.
        relevant: (N,) number of other images of the query's class (R).

    References:
        Musgrave, Belongie and Lim, A Metric Learning Reality Check, 2020, section 3.2.
    """
    rank = torch.arange(1, neighbour_labels.shape[1] + 1, device=labels.device)
    right = (neighbour_labels == labels[:, None]) & (rank <= relevant[:, None])
    precision = right.cumsum(1).double() / rank
    return ((precision * right).sum(1) / relevant.clamp_min(1)).mean().item()


def average_precision(scores: Tensor, positive: Tensor, *, interpolated: bool = True) -> float:
    """Area under the precision-recall curve: ``sum_i (r_i - r_{i-1}) max_{j >= i} p_j``, as in VOC since 2010.

    Without interpolation the maximum is replaced by ``p_i``, as in scikit-learn. Neither is the 11-point rule. Equal
    scores enter together, so that the value does not depend on the order of the rows. NaN without a positive.

    Args:
        scores: (N,) real numbers; larger is more certain.
        positive: (N,) bool.
        interpolated: whether to take the best precision at a recall or above it.

    References:
        Everingham et al., The PASCAL Visual Object Classes Challenge 2010 development kit, section 3.4.1.
    """
    order = scores.argsort(descending=True, stable=True)
    value, hits = scores[order], positive[order].double().cumsum(0)
    last = torch.cat([value[1:] != value[:-1], value.new_ones(1, dtype=torch.bool)])
    precision = (hits / torch.arange(1, len(value) + 1, device=value.device))[last]
    height = precision.flip(0).cummax(0).values.flip(0) if interpolated else precision
    recall = hits[last] / hits[-1]
    return (torch.diff(recall, prepend=recall.new_zeros(1)) * height).sum().item()


def nmi(first: Tensor, second: Tensor) -> float:
    """Normalised mutual information of two partitions, ``2 I(a; b) / (H(a) + H(b))``; 1 if both have one cluster.

    Args:
        first: (N,) integers, any values.
        second: (N,) likewise.

    References:
        Strehl and Ghosh, Cluster Ensembles, 2002, with the arithmetic mean of the entropies as the normaliser.
    """
    joint = contingency(first, second).double() / len(first)
    if joint.numel() == 1:
        return 1.0
    of_a, of_b = _entropy(joint.sum(1)), _entropy(joint.sum(0))
    information = of_a + of_b - _entropy(joint.flatten())
    return max(2 * information / (of_a + of_b), 0.0)


def adjusted_rand(first: Tensor, second: Tensor) -> float:
    """Adjusted Rand index of two partitions: agreement on pairs, 0 at chance level, 1 for the same partition.

    ``(sum_ij C(n_ij, 2) - E) / ((A + B) / 2 - E)``, with A and B the pairs within a part of either and
    ``E = A B / C(N, 2)``.

    Args:
        first: (N,) integers, any values.
        second: (N,) likewise.

    References:
        Hubert and Arabie, Comparing partitions, 1985, equation 5.
    """
    joint = contingency(first, second).double()
    together, of_a, of_b, every = (
        float((n * (n - 1) / 2).sum()) for n in (joint, joint.sum(1), joint.sum(0), joint.sum().reshape(1))
    )
    expected = of_a * of_b / every if every else 0.0
    most = (of_a + of_b) / 2
    return 1.0 if most == expected else (together - expected) / (most - expected)


def purity(clusters: Tensor, labels: Tensor) -> float:
    """Fraction of rows that have the most common class of their cluster; it grows with the number of clusters.

    Args:
        clusters: (N,) integers, any values.
        labels: (N,) likewise.
    """
    return contingency(clusters, labels).amax(1).sum().item() / len(labels)


def contingency(first: Tensor, second: Tensor) -> Tensor:
    """Contingency table of two partitions (N,): (parts of the first, parts of the second) int64."""
    a, b = (torch.unique(part, return_inverse=True)[1] for part in (first, second))
    rows, columns = int(a.max()) + 1, int(b.max()) + 1
    return torch.bincount(a * columns + b, minlength=rows * columns).view(rows, columns)


def alignment(x: Tensor, y: Tensor, alpha: float = 2.0) -> float:
    """Mean distance of the two views of an image, ``E ||x - y||^alpha``: 0 if views are equal, 2 for random pairs.

    Args:
        x: (N, D) unit norm, one view.
        y: (N, D) unit norm, the other, row by row.
        alpha: exponent.

    References:
        Wang and Isola, Understanding Contrastive Representation Learning through Alignment and Uniformity, 2020, eq. 9.
    """
    return (x - y).norm(dim=1).pow(alpha).mean().item()


def class_alignment(x: Tensor, labels: Tensor) -> float:
    """Mean squared distance of two images of one class, over all such pairs; NaN if no class has two images.

    It is the :func:`alignment` of images of a class instead of views of an image. The pairs of n unit rows with sum s
    have a total of ``n^2 - |s|^2``, so pairs are not formed.

    Args:
        x: (N, D) unit norm.
        labels: (N,) class.

    References:
        Wang and Isola, 2020, equation 9, with alpha = 2.
    """
    classes, position, n = torch.unique(labels, return_inverse=True, return_counts=True)
    sums = x.new_zeros(len(classes), x.shape[1], dtype=torch.float64).index_add_(0, position, x.double())
    pairs = (n * (n - 1) / 2).sum().item()
    distance = (n.double().square() - sums.square().sum(1))[n > 1].sum().clamp_min(0).item()
    return distance / pairs if pairs else math.nan


@torch.no_grad()
def uniformity(x: Tensor, t: float = 2.0, *, block: int = 1024) -> float:
    """Logarithm of the mean Gaussian potential of all pairs, ``log E exp(-t ||x_i - x_j||^2)``, i < j.

    0 if all rows are equal; about -4 at t = 2 for a uniform distribution on a high-dimensional sphere.

    Args:
        x: (N, D) unit norm, N >= 2.
        t: sharpness of the potential, dimensionless.
        block: rows per block.

    References:
        Wang and Isola, 2020, equation 10.
    """
    norm = x.square().sum(1)
    total: list[Tensor] = []
    for start in range(0, len(x), block):
        part = slice(start, start + block)
        distance = norm[part, None] + norm - 2 * (x[part] @ x.T)
        exponent = distance.clamp_(min=0).mul_(-t)
        exponent.diagonal(start).fill_(-torch.inf)
        total.append(exponent.double().logsumexp((0, 1)))
    return torch.stack(total).logsumexp(0).item() - math.log(len(x) * (len(x) - 1))


def effective_rank(x: Tensor) -> float:
    """Effective number of dimensions of the rows: ``exp(H(p))``, ``p_i = sigma_i / sum sigma``, 1 to min(N, D).

    The singular values sigma are those of x without centring, so features that collapsed to one point have rank 1. All
    zeros give 0.

    Args:
        x: (N, D).

    References:
        Roy and Vetterli, The effective rank: a measure of effective dimensionality, 2007, definition 1.
    """
    x = x.detach().double()
    x = x if len(x) >= x.shape[1] else x.T
    # The Gram matrix is D x D for any number of rows; float64 resolves singular values down to 1e-8 of the largest.
    sigma = torch.linalg.eigvalsh(x.T @ x).clamp(min=0).sqrt()
    sigma = sigma[sigma > 1e-7 * sigma[-1]]
    return math.exp(_entropy(sigma / sigma.sum())) if len(sigma) else 0.0


def per_dimension_std(x: Tensor) -> Tensor:
    """Standard deviation of each dimension of the rows scaled to unit norm: (N, D) -> (D,).

    Its mean is about ``1 / sqrt(D)`` for well-spread features, and 0 if they collapse to a point.

    References:
        Chen and He, SimSiam, 2021, section 4.1 (figure 2, middle).
    """
    return F.normalize(x.detach().float(), dim=1).std(0, correction=0)


def _entropy(p: Tensor) -> float:
    """``-sum p log p`` in nats; zeros contribute nothing."""
    return -torch.xlogy(p, p).sum().item()
