"""Retrieval: every image asks for the others of its class."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from viewkin import metrics
from viewkin.evaluation.labels import checked
from viewkin.ops.neighbours import top_k
from viewkin.runtime.errors import UserError, require
from viewkin.runtime.progress import LateBar

BYTES_PER_NEIGHBOUR = 48
"""Peak bytes of one neighbour of a query: similarity, index, label, and what MAP@R makes of them."""


@dataclass(frozen=True, kw_only=True)
class RetrievalConfig:
    """Recall@K and MAP@R, by default as for CUB-200 and Cars-196."""

    k: tuple[int, ...] = (1, 2, 4, 8)
    """Neighbours among which one of the query's class is looked for (K)."""
    memory: int = 256 * 2**20
    """Bound on working memory, bytes."""

    def __post_init__(self) -> None:
        require(len(self.k) > 0 and min(self.k) >= 1, "k", self.k, "whole numbers of at least 1")
        require(self.memory >= 1, "memory", self.memory, "at least 1 byte")


@dataclass(frozen=True, kw_only=True)
class RetrievalResult:
    """What retrieval found."""

    recall: dict[int, float]
    """K -> share of queries with one of their class among the K nearest, 0 to 1."""
    map_at_r: float
    """MAP@R, 0 to 1."""
    seconds: float
    """Wall-clock time."""
    notes: tuple[str, ...] = ()
    """What the reader of the number should know: queries without a mate, a K beyond the set."""

    def values(self) -> dict[str, float]:
        """Name to percent, as the papers print them."""
        return {**{f"R@{k}": 100 * share for k, share in self.recall.items()}, "MAP@R": 100 * self.map_at_r}


def retrieval(config: RetrievalConfig, features: Tensor, labels: Tensor, *, progress: bool = True) -> RetrievalResult:
    """Ask with every image for its nearest among all others, by cosine, which ranks as Euclidean distance does.

    A query whose class no other image has counts as a miss. Equal similarities come in the order of their index.

    Args:
        config: the protocol.
        features: (N, D) of classes that training has not seen, by the protocol.
        labels: (N,) non-negative integers, any values.
        progress: show a bar after two seconds.

    Raises:
        UserError: shapes that do not fit, features that are not finite, images without a label, or a single class.

    References:
        Ye et al., Unsupervised Embedding Learning via Invariant and Spreading Instance Feature, 2019, section 4.2;
        Musgrave, Belongie and Lim, A Metric Learning Reality Check, 2020, section 3.2; METHODS 8.7.
    """
    began = time.perf_counter()
    features, labels = checked("test", features, labels, features.device)
    mates = mates_of(labels)
    features = F.normalize(features, dim=1)
    wanted = max(*config.k, int(mates.max()))
    sums = dict.fromkeys((*config.k, "map"), 0.0)
    rows = max(config.memory // (2 * BYTES_PER_NEIGHBOUR * min(wanted + 1, len(features))), 1)
    with LateBar("retrieval", len(features), shown=progress) as bar:
        for start in range(0, len(features), rows):
            part = slice(start, start + rows)
            near = labels[neighbours_of(features, part, wanted, config.memory // 2)]
            for k in config.k:
                sums[k] += metrics.recall_at_k(near, labels[part], k) * len(near)
            sums["map"] += metrics.map_at_r(near, labels[part], mates[part]) * len(near)
            bar.advance(len(near))
    return RetrievalResult(
        recall={k: sums[k] / len(features) for k in config.k},
        map_at_r=sums["map"] / len(features),
        seconds=time.perf_counter() - began,
        notes=_notes(config, mates),
    )


def mates_of(labels: Tensor) -> Tensor:
    """Count the other images of each image's class: (N,).

    Raises:
        UserError: all images are of one class, so that every neighbour is right.
    """
    classes, place, counts = torch.unique(labels, return_inverse=True, return_counts=True)
    if len(classes) < 2:
        raise UserError("retrieval needs images of two classes at least: among those of one, every neighbour is right.")
    return counts[place] - 1


def neighbours_of(features: Tensor, part: slice, k: int, memory: int) -> Tensor:
    """Find the k nearest of the other images for the queries in ``part``: index (Q, min(k, N - 1)).

    One more is looked for, and the query itself or, where more than k duplicates come before it, the last, dropped.
    """
    _, index = top_k(features[part], features, k + 1, memory=memory)
    own = torch.arange(len(features), device=features.device)[part, None]
    is_own = index == own
    is_own[:, -1] |= ~is_own.any(1)
    return index[~is_own].view(len(index), -1)


def by_chance(config: RetrievalConfig, labels: Tensor) -> dict[str, float]:
    """What neighbours in a random order give in expectation, percent.

    Of N - 1 others R are mates: ``R@K = 1 - C(N-1-R, K) / C(N-1, K)``, and the i-th neighbour adds
    ``(1 + (i-1) (R-1)/(N-2)) / i * R/(N-1)`` to R times the average precision.
    """
    mates, weight = (part.double() for part in mates_of(labels).unique(return_counts=True))
    others, share = len(labels) - 1, weight / len(labels)
    found: dict[str, float] = {}
    for k in config.k:
        none = torch.zeros_like(mates)
        for i in range(min(k, others)):
            none += ((others - mates - i).clamp_min(0) / (others - i)).log()
        found[f"R@{k}"] = 100 * float((share * (1 - none.exp())).sum())
    precision = torch.zeros_like(mates)
    for i in range(1, int(mates.max()) + 1):
        term = (1 + (i - 1) * (mates - 1) / max(others - 1, 1)) / i / others
        precision += torch.where(i <= mates, term, 0.0)
    found["MAP@R"] = 100 * float((share * precision).sum())
    return found


def _notes(config: RetrievalConfig, mates: Tensor) -> tuple[str, ...]:
    alone, others = int((mates == 0).sum()), len(mates) - 1
    notes = [f"{alone} of {len(mates)} queries are alone in their class: they count as misses."] if alone else []
    notes += [f"K = {k} is more than the {others} other images: all are looked at." for k in config.k if k > others]
    return tuple(notes)
