"""Clustering: whether k-means finds the classes, and how features lie on the sphere."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from viewkin import metrics
from viewkin.evaluation.labels import checked
from viewkin.ops.kmeans import lloyd, nearest, spread_out
from viewkin.runtime.draws import generator_for
from viewkin.runtime.errors import UserError, require
from viewkin.runtime.progress import LateBar


@dataclass(frozen=True, kw_only=True)
class ClusterConfig:
    """k-means of unit features, by default with as many clusters as there are classes."""

    clusters: int | None = None
    """Clusters (C); None: one a class."""
    restarts: int = 10
    """Runs of k-means from other first centroids; the tightest is kept, without looking at a label."""
    iterations: int = 300
    """Most rounds of each run."""
    seed: int = 0
    """Seed of the first centroids."""

    def __post_init__(self) -> None:
        require(self.clusters is None or self.clusters >= 1, "clusters", self.clusters, "at least 1, or none")
        require(self.restarts >= 1, "restarts", self.restarts, "at least 1")
        require(self.iterations >= 1, "iterations", self.iterations, "at least 1")


@dataclass(frozen=True, kw_only=True)
class ClusterResult:
    """What k-means found, and the measures of the features themselves."""

    nmi: float
    """Normalised mutual information of clusters and classes, 0 to 1."""
    ari: float
    """Adjusted Rand index, 0 by chance, 1 for the same partition."""
    purity: float
    """Share of images of the commonest class of their cluster, 0 to 1."""
    class_alignment: float
    """Mean squared distance of two images of a class, 0 to 4; NaN where no class has two images."""
    uniformity: float
    """Logarithm of the mean Gaussian potential of all pairs, 0 when all are one point; lower is more even."""
    effective_rank: float
    """Dimensions that the features really use, 1 to D."""
    labels: Tensor
    """(N,) cluster of each image."""
    seconds: float
    """Wall-clock time."""
    notes: tuple[str, ...] = ()
    """What the reader of the number should know."""

    def values(self) -> dict[str, float]:
        """Name to value: NMI, ARI and purity in percent, the others as they are."""
        shares = {"NMI": 100 * self.nmi, "ARI": 100 * self.ari, "purity": 100 * self.purity}
        lie = {"alignment": self.class_alignment, "uniformity": self.uniformity, "rank": self.effective_rank}
        return {**shares, **lie}


def cluster(config: ClusterConfig, features: Tensor, labels: Tensor, *, progress: bool = True) -> ClusterResult:
    """Cluster unit features by k-means and compare the clusters with the classes.

    Args:
        config: the protocol.
        features: (N, D).
        labels: (N,) non-negative integers, any values; they decide the number of clusters, and nothing else before
            the comparison.
        progress: show a bar after two seconds.

    Raises:
        UserError: shapes that do not fit, features that are not finite, images without a label, a single class, or
            more clusters than images.

    References:
        Ye et al., Unsupervised Embedding Learning via Invariant and Spreading Instance Feature, 2019, section 4.2
        (NMI); Wang and Isola, Understanding Contrastive Representation Learning, 2020 (alignment, uniformity).
    """
    began = time.perf_counter()
    features, labels = checked("test", features, labels, features.device)
    classes = len(labels.unique())
    if classes < 2:
        raise UserError("clustering needs images of two classes at least: a single one agrees with any clusters.")
    wanted = config.clusters or classes
    if wanted > len(features):
        raise UserError(f"clusters is {wanted}, but there are {len(features)} images; give fewer clusters.")
    features = F.normalize(features, dim=1)
    found = _tightest(config, features, wanted, progress)
    return ClusterResult(
        nmi=metrics.nmi(found, labels),
        ari=metrics.adjusted_rand(found, labels),
        purity=metrics.purity(found, labels),
        class_alignment=metrics.class_alignment(features, labels),
        uniformity=metrics.uniformity(features),
        effective_rank=metrics.effective_rank(features),
        labels=found,
        seconds=time.perf_counter() - began,
        notes=(f"{wanted} clusters beside {classes} classes.",) if wanted != classes else (),
    )


def _tightest(config: ClusterConfig, points: Tensor, clusters: int, progress: bool) -> Tensor:
    """Run k-means several times; the labels (N,) with the smallest sum of squared distances to the centroids."""
    best, least = torch.zeros(len(points), dtype=torch.int64), torch.inf
    with LateBar("k-means", config.restarts, shown=progress) as bar:
        for restart in range(config.restarts):
            first = spread_out(points, clusters, generator_for(config.seed, "cluster", restart))
            labels, centroids = lloyd(points, first, config.iterations)
            spread = nearest(points, centroids)[1].double().sum().item()
            if spread < least:
                best, least = labels, spread
            bar.advance()
    return best
