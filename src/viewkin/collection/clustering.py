"""Clusters of a collection's images: how many, which images, and words that name them.

References:
    Vendramin, Campello and Hruschka, Relative clustering validity criteria, 2010 (simplified silhouette).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from viewkin.ops.kmeans import kmeans_plus_plus, lloyd
from viewkin.runtime.draws import generator_for
from viewkin.runtime.progress import counting

TRIED = (2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 25, 32, 40, 50, 64)
"""Numbers of clusters that are tried."""
MEMBERS = 5
"""Images a cluster that a number of clusters has to leave at least, in the mean."""
SAMPLE = 4000
"""Images by which the number is chosen."""
STARTS = 2
"""Starts of k-means for each number that is tried."""
FEW, CLEAR = 3, 0.25
"""So few clusters are taken only if their silhouette is so high: any set falls into two rough halves."""
ROUNDS = 30
"""Rounds of k-means."""
COMMON, LIFT = 0.3, 1.5
"""A word names a cluster if this share of its paths has it, and this many times the share of all paths."""
WORDS = 3
"""Words of a name."""


@dataclass(frozen=True)
class Clusters:
    """Which image is in which cluster. Cluster 1 is the largest."""

    number: NDArray[np.int64]
    """(N,) from 1 to C."""
    similarity: NDArray[np.float32]
    """(N,) cosine to the middle of the own cluster, the mean of all images subtracted from both."""
    silhouette: float
    """How clear the clusters are, -1 to 1."""

    @property
    def count(self) -> int:
        """C."""
        return int(self.number.max())

    def members(self, number: int) -> NDArray[np.int64]:
        """Rows of a cluster, the most typical first."""
        rows = np.flatnonzero(self.number == number)
        return rows[np.argsort(-self.similarity[rows], kind="stable")]


def centred(vectors: NDArray[np.float32]) -> Tensor:
    """Subtract the mean and scale rows to length 1: what all images share tells none apart."""
    rows = torch.from_numpy(vectors)
    return functional.normalize(rows - rows.mean(0), dim=1)


def clusters(vectors: NDArray[np.float32], count: int | None = None, seed: int = 0) -> Clusters:
    """Cluster images by k-means.

    Args:
        vectors: (N, D) unit norm.
        count: number of clusters, at most N; None: chosen by the simplified silhouette.
        seed: of the initial centres.
    """
    rows = centred(vectors)
    count = chosen_count(rows, seed) if count is None else count
    labels, middles = kmeans(rows, count, seed)
    sizes = labels.bincount(minlength=count)
    order = sizes.argsort(descending=True, stable=True)
    number = torch.empty(count, dtype=torch.int64)
    number[order] = torch.arange(1, count + 1)
    own = (rows * functional.normalize(middles, dim=1)[labels]).sum(1)
    return Clusters(number[labels].numpy(), own.numpy(), silhouette(rows, labels, middles))


def kmeans(rows: Tensor, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Cluster rows: labels (N,) and means (C, D)."""
    return lloyd(rows, kmeans_plus_plus(rows, count, generator_for(seed, "clusters", count)), ROUNDS)


def chosen_count(rows: Tensor, seed: int) -> int:
    """Choose the number of clusters whose simplified silhouette is highest, on a sample; two or three where clear."""
    some = rows[torch.randperm(len(rows), generator=generator_for(seed, "sample of clusters"))[:SAMPLE]]
    tried = [count for count in TRIED if count * MEMBERS <= len(some)] or [min(2, len(some))]
    scores: list[float] = []
    for (count,) in counting(([one] for one in tried), "Clustering", len(tried)):
        score = max(silhouette(some, *kmeans(some, count, seed + again)) for again in range(STARTS))
        scores.append(score if count > FEW or score >= CLEAR or len(tried) <= FEW else -1.0)
    return tried[int(np.argmax(scores))]


def silhouette(rows: Tensor, labels: Tensor, middles: Tensor) -> float:
    """Mean of (b - a) / max(a, b): a is the distance to a row's middle, b that to the nearest other; one cluster: 0."""
    if len(middles) < 2:
        return 0.0
    distance = torch.cdist(rows, middles)
    a = distance.gather(1, labels.unsqueeze(1)).squeeze(1)
    b = distance.scatter(1, labels.unsqueeze(1), torch.inf).amin(1)
    return float(((b - a) / torch.maximum(a, b).clamp_min(1e-12)).mean())


def names_of(keys: Sequence[str], number: NDArray[np.int64]) -> dict[int, str]:
    """Name clusters by the words of their paths that are over-represented; one without such a word has no name."""
    words = [set(words_of(key)) for key in keys]
    overall = Counter(word for some in words for word in some)
    names: dict[int, str] = {}
    for one in range(1, int(number.max()) + 1):
        rows = np.flatnonzero(number == one)
        own = Counter(word for row in rows for word in words[row])
        lift = {word: (count / len(rows)) / (overall[word] / len(keys)) for word, count in own.items()}
        telling = [word for word, count in own.items() if count >= COMMON * len(rows) and lift[word] >= LIFT]
        telling.sort(key=lambda word: (-own[word] * np.log(lift[word]), word))
        if telling:
            names[one] = " ".join(telling[:WORDS])
    return names


def words_of(key: str) -> list[str]:
    """Split a path into words of three letters or more, its ending left out."""
    stem = re.sub(r"\.\w{2,5}$", "", key)
    return [word for word in re.split(r"[\W\d_]+", stem.lower()) if len(word) >= 3]
