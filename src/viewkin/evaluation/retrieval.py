"""Retrieval: every image is a query for the other images of its class."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from viewkin import metrics
from viewkin.evaluation.labels import checked_features
from viewkin.ops.neighbours import top_k
from viewkin.runtime.errors import UserError
from viewkin.runtime.progress import progress_bar
from viewkin.settings import Bytes, Count, Filled, Settings

BYTES_PER_NEIGHBOUR = 48
"""Peak bytes per neighbour of a query: similarity, index, label, and the intermediate values of MAP@R."""


@dataclass(frozen=True, kw_only=True)
class RetrievalConfig(Settings):
    """Recall@K and MAP@R, by default as for CUB-200 and Cars-196."""

    k: Annotated[tuple[Count, ...], Filled()] = (1, 2, 4, 8)
    """Numbers of neighbours (K); a query is a hit if one of them has its class."""
    memory: Bytes = 256 * 2**20
    """Bound on working memory, bytes."""


@dataclass(frozen=True, kw_only=True)
class RetrievalResult:
    """Measures of retrieval."""

    recall: dict[int, float]
    """K -> fraction of queries with an image of their class among the K nearest, 0 to 1."""
    map_at_r: float
    """MAP@R, 0 to 1."""
    seconds: float
    """Wall-clock time."""
    notes: tuple[str, ...] = ()
    """Remarks that belong to the numbers: queries alone in their class, a K larger than the set."""

    def values(self) -> dict[str, float]:
        """Name to percent, as the papers print them."""
        return {**{f"R@{k}": 100 * recall for k, recall in self.recall.items()}, "MAP@R": 100 * self.map_at_r}


def retrieval(config: RetrievalConfig, features: Tensor, labels: Tensor, *, progress: bool = True) -> RetrievalResult:
    """Find each image's nearest neighbours among all others and compare their classes with its own.

    Similarity is the cosine; on unit vectors it ranks like the Euclidean distance. A query whose class no other image
    has counts as a miss. Equal similarities are ordered by index.

    Args:
        config: the protocol.
        features: (N, D); the protocol wants classes that were not in training.
        labels: (N,) non-negative integers, any values.
        progress: show a bar after two seconds.

    Raises:
        UserError: shapes do not match, features are not finite, an image has no label, or there is a single class.

    References:
        Ye et al., Unsupervised Embedding Learning via Invariant and Spreading Instance Feature, 2019, section 4.2;
        Musgrave, Belongie and Lim, A Metric Learning Reality Check, 2020, section 3.2.
    """
    began = time.perf_counter()
    features, labels = checked_features("test", features, labels, features.device)
    relevant = count_same_class(labels)
    features = F.normalize(features, dim=1)
    most = max(*config.k, int(relevant.max()))
    sums = dict.fromkeys((*config.k, "map"), 0.0)
    rows = max(config.memory // (2 * BYTES_PER_NEIGHBOUR * min(most + 1, len(features))), 1)
    with progress_bar("retrieval", len(features), shown=progress) as bar:
        for start in range(0, len(features), rows):
            part = slice(start, start + rows)
            neighbour_labels = labels[nearest_others(features, part, most, config.memory // 2)]
            for k in config.k:
                sums[k] += metrics.recall_at_k(neighbour_labels, labels[part], k) * len(neighbour_labels)
            sums["map"] += metrics.map_at_r(neighbour_labels, labels[part], relevant[part]) * len(neighbour_labels)
            bar.advance(len(neighbour_labels))
    return RetrievalResult(
        recall={k: sums[k] / len(features) for k in config.k},
        map_at_r=sums["map"] / len(features),
        seconds=time.perf_counter() - began,
        notes=_notes(config, relevant),
    )


def count_same_class(labels: Tensor) -> Tensor:
    """Count the other images of each image's class: (N,).

    Raises:
        UserError: all images are of one class, so that every neighbour is right.
    """
    classes, position, counts = torch.unique(labels, return_inverse=True, return_counts=True)
    if len(classes) < 2:
        raise UserError("retrieval needs images of two classes at least: among those of one, every neighbour is right.")
    return counts[position] - 1


def nearest_others(features: Tensor, part: slice, k: int, memory: int) -> Tensor:
    """Find the k nearest other images of the queries in ``part``: index (Q, min(k, N - 1)).

    It searches k + 1 neighbours and drops the query itself. If more than k duplicates come before the query, it drops
    the last neighbour instead.
    """
    _, index = top_k(features[part], features, k + 1, memory=memory)
    own = torch.arange(len(features), device=features.device)[part, None]
    is_own = index == own
    is_own[:, -1] |= ~is_own.any(1)
    return index[~is_own].view(len(index), -1)


def chance_level(config: RetrievalConfig, labels: Tensor) -> dict[str, float]:
    """Expected measures of neighbours in a random order, percent.

    R of the N - 1 other images are relevant: ``R@K = 1 - C(N-1-R, K) / C(N-1, K)``, and the i-th neighbour adds
    ``(1 + (i-1) (R-1)/(N-2)) / i * R/(N-1)`` to R times the average precision.
    """
    relevant, queries = (part.double() for part in count_same_class(labels).unique(return_counts=True))
    others, share = len(labels) - 1, queries / len(labels)
    expected: dict[str, float] = {}
    for k in config.k:
        log_miss = torch.zeros_like(relevant)
        for i in range(min(k, others)):
            log_miss += ((others - relevant - i).clamp_min(0) / (others - i)).log()
        expected[f"R@{k}"] = 100 * float((share * (1 - log_miss.exp())).sum())
    precision = torch.zeros_like(relevant)
    for i in range(1, int(relevant.max()) + 1):
        term = (1 + (i - 1) * (relevant - 1) / max(others - 1, 1)) / i / others
        precision += torch.where(i <= relevant, term, 0.0)
    expected["MAP@R"] = 100 * float((share * precision).sum())
    return expected


def _notes(config: RetrievalConfig, relevant: Tensor) -> tuple[str, ...]:
    alone, others = int((relevant == 0).sum()), len(relevant) - 1
    notes = [f"{alone} of {len(relevant)} queries are alone in their class: they count as misses."] if alone else []
    notes += [f"K = {k} is more than the {others} other images: all are looked at." for k in config.k if k > others]
    return tuple(notes)
