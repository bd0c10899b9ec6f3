"""Clustering: agreement of k-means with the classes, and the geometry of the features on the unit sphere."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from viewkin import metrics
from viewkin.evaluation.labels import checked_features
from viewkin.ops.kmeans import kmeans_plus_plus, lloyd, nearest_centroid
from viewkin.runtime.draws import generator_for
from viewkin.runtime.errors import UserError
from viewkin.runtime.progress import progress_bar
from viewkin.settings import Count, Settings


@dataclass(frozen=True, kw_only=True)
class ClusterConfig(Settings):
    """k-means of unit features, by default with as many clusters as there are classes."""

    clusters: Count | None = None
    """Number of clusters (C); None: one per class."""
    restarts: Count = 10
    """Runs of k-means from different initial centroids; the one with the smallest inertia is kept, without labels."""
    iterations: Count = 300
    """Maximum number of rounds of each run."""
    seed: int = 0
    """Seed of the initial centroids."""


@dataclass(frozen=True, kw_only=True)
class ClusterResult:
    """Agreement of clusters and classes, and measures of the features themselves."""

    nmi: float
    """Normalised mutual information of clusters and classes, 0 to 1."""
    ari: float
    """Adjusted Rand index, 0 by chance, 1 for the same partition."""
    purity: float
    """Fraction of images whose class is the most common one of their cluster, 0 to 1."""
    class_alignment: float
    """Mean squared distance of two images of a class, 0 to 4; NaN if no class has two images."""
    uniformity: float
    """Logarithm of the mean Gaussian potential of all pairs; 0 if all features are equal, lower is more uniform."""
    effective_rank: float
    """Effective number of dimensions of the features, 1 to D."""
    labels: Tensor
    """(N,) cluster of each image."""
    seconds: float
    """Wall-clock time."""
    notes: tuple[str, ...] = ()
    """Remarks that belong to the numbers."""

    def values(self) -> dict[str, float]:
        """Name to value: NMI, ARI and purity in percent, the others as they are."""
        agreement = {"NMI": 100 * self.nmi, "ARI": 100 * self.ari, "purity": 100 * self.purity}
        geometry = {"alignment": self.class_alignment, "uniformity": self.uniformity, "rank": self.effective_rank}
        return {**agreement, **geometry}


def cluster(config: ClusterConfig, features: Tensor, labels: Tensor, *, progress: bool = True) -> ClusterResult:
    """Cluster unit features by k-means and compare the clusters with the classes.

    Args:
        config: the protocol.
        features: (N, D).
        labels: (N,) non-negative integers, any values. Before the comparison they only set the number of clusters.
        progress: show a bar after two seconds.

    Raises:
        UserError: shapes do not match, features are not finite, an image has no label, there is a single class, or
            there are more clusters than images.

    References:
        Ye et al., Unsupervised Embedding Learning via Invariant and Spreading Instance Feature, 2019, section 4.2
        (NMI); Wang and Isola, Understanding Contrastive Representation Learning, 2020 (alignment, uniformity).
    """
    began = time.perf_counter()
    features, labels = checked_features("test", features, labels, features.device)
    classes = len(labels.unique())
    if classes < 2:
        raise UserError("clustering needs images of two classes at least: a single one agrees with any clusters.")
    clusters = config.clusters or classes
    if clusters > len(features):
        raise UserError(f"clusters is {clusters}, but there are {len(features)} images; give fewer clusters.")
    features = F.normalize(features, dim=1)
    assigned = _best_of_restarts(config, features, clusters, progress)
    return ClusterResult(
        nmi=metrics.nmi(assigned, labels),
        ari=metrics.adjusted_rand(assigned, labels),
        purity=metrics.purity(assigned, labels),
        class_alignment=metrics.class_alignment(features, labels),
        uniformity=metrics.uniformity(features),
        effective_rank=metrics.effective_rank(features),
        labels=assigned,
        seconds=time.perf_counter() - began,
        notes=(f"{clusters} clusters beside {classes} classes.",) if clusters != classes else (),
    )


def _best_of_restarts(config: ClusterConfig, points: Tensor, clusters: int, progress: bool) -> Tensor:
    """Run k-means several times; return the labels (N,) with the smallest inertia (sum of squared distances)."""
    best, lowest_inertia = torch.zeros(len(points), dtype=torch.int64), torch.inf
    with progress_bar("k-means", config.restarts, shown=progress) as bar:
        for restart in range(config.restarts):
            first = kmeans_plus_plus(points, clusters, generator_for(config.seed, "cluster", restart))
            labels, centroids = lloyd(points, first, config.iterations)
            inertia = nearest_centroid(points, centroids)[1].double().sum().item()
            if inertia < lowest_inertia:
                best, lowest_inertia = labels, inertia
            bar.advance()
    return best
