"""Weighted k-nearest-neighbour classification of features."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from viewkin import metrics
from viewkin.evaluation.labels import paired
from viewkin.ops.neighbours import top_k
from viewkin.runtime.errors import UserError, require

BYTES_PER_NEIGHBOUR = 36
"""Peak bytes of one neighbour of a query: similarity, index, label, weight, and what these are made from."""

Reference = Literal["recomputed", "bank"]


@dataclass(frozen=True, kw_only=True)
class KnnConfig:
    """Weighted kNN as NPID introduced it and the field reports it."""

    k: int | tuple[int, ...] = 200
    """Neighbours that vote (K); several are measured in one pass, e.g. (5, 20, 200)."""
    temperature: float = 0.1
    """Softness of the vote (sigma), dimensionless; InvP 0.07, SimSiam 0.2."""
    weighted: bool = True
    """Weigh a vote by ``exp(similarity / temperature)``; otherwise every neighbour counts one."""
    normalise: bool = True
    """Scale features to unit norm first, so that the similarity is a cosine; otherwise the bare dot product."""
    reference: Reference = "recomputed"
    """What votes: ``recomputed`` features of the training images, or the rows of the training ``bank`` as the run's end
    left it (NPID's and InvP's monitor; the run's own training images and ``--features embedding``)."""
    memory: int = 256 * 2**20
    """Bound on working memory beyond the features given, bytes; torch itself takes some 10 MiB more when first used."""

    def __post_init__(self) -> None:
        """Check the values."""
        if not self.ks or min(self.ks) < 1:
            raise UserError(f"kNN needs at least one neighbour: k is {self.k}, give 1 or more.")
        if not self.temperature > 0:
            raise UserError(f"the kNN temperature must be above 0, not {self.temperature}.")
        require(self.reference in get_args(Reference), "reference", self.reference, "recomputed or bank")
        if self.memory < 1:
            raise UserError(f"the kNN memory bound must be at least 1 byte, not {self.memory}.")

    @property
    def ks(self) -> tuple[int, ...]:
        """Every k asked for, as given."""
        return self.k if isinstance(self.k, tuple) else (self.k,)


KNN_PRESETS = {
    "npid": KnnConfig(),
    "eir": KnnConfig(k=(5, 20, 200)),
    "invp": KnnConfig(temperature=0.07),
    "simsiam": KnnConfig(temperature=0.2),
}
"""Name to published settings (METHODS 8.1)."""


@dataclass(frozen=True, kw_only=True)
class KnnResult:
    """What kNN found."""

    top1: dict[int, float]
    """k asked for -> share of test images that are right, 0 to 1."""
    predicted: dict[int, Tensor]
    """k asked for -> (M,) predicted labels, in the values of the training labels."""
    seconds: float
    """Wall-clock time."""
    notes: tuple[str, ...] = ()
    """What the reader of the number should know: a k that was larger than the reference, classes never seen."""

    def values(self) -> dict[str, float]:
        """Name to percent, as the papers print them."""
        return {f"knn@{k}": 100 * share for k, share in self.top1.items()}


def knn(config: KnnConfig, train: Tensor, train_labels: Tensor, test: Tensor, test_labels: Tensor) -> KnnResult:
    """Classify test features by a vote of their nearest training features.

    ``score_c = sum over the K nearest j of exp(s_j / sigma) [y_j = c]``, prediction ``argmax_c`` (the smallest label
    wins a tie).

    Args:
        config: the protocol.
        train: (N, D) reference features: recomputed in eval mode without augmentation, or a bank's rows.
        train_labels: (N,) non-negative integers, any values.
        test: (M, D) query features.
        test_labels: (M,) likewise; a class that no reference image has cannot be predicted and counts as an error.

    Raises:
        UserError: shapes that do not fit, features that are not finite, or images without a label.

    References:
        Wu et al., Unsupervised Feature Learning via Non-Parametric Instance Discrimination, 2018, section 3.4.
    """
    began = time.perf_counter()
    pair = paired(train, train_labels, test, test_labels)
    scale = None
    if config.normalise:  # no normalised copy of the reference, which may be most of the memory there is
        scale = 1 / torch.linalg.vector_norm(pair.train, dim=1).clamp_min(1e-12)
    notes = pair.notes + tuple(
        f"k = {k} is more than the {len(train)} reference images: all vote." for k in config.ks if k > len(train)
    )
    temperature = config.temperature if config.weighted else None
    winners: dict[int, list[Tensor]] = {k: [] for k in config.ks}
    wide = 4 * pair.train.shape[1] + BYTES_PER_NEIGHBOUR * min(max(config.ks), len(train)) + 8 * len(pair.classes)
    for query in pair.test.split(max(config.memory // 4 // wide, 1)):
        query = F.normalize(query, dim=1) if config.normalise else query
        similarity, index = top_k(query, pair.train, max(config.ks), memory=config.memory * 3 // 4, scale=scale)
        for k, score in votes(similarity, pair.y[index], len(pair.classes), config.ks, temperature):
            winners[k].append(score.argmax(1))
    best = {k: torch.cat(parts) for k, parts in winners.items()}
    return KnnResult(
        top1={k: metrics.accuracy(best[k], pair.wanted) for k in config.ks},
        predicted={k: pair.classes[best[k]] for k in config.ks},
        seconds=time.perf_counter() - began,
        notes=notes,
    )


def votes(
    similarity: Tensor, labels: Tensor, classes: int, ks: tuple[int, ...], temperature: float | None
) -> Iterator[tuple[int, Tensor]]:
    """Sum the votes of the k nearest for every k, smallest first.

    Each score lacks the factor ``exp(s_1 / sigma)`` of its row, which overflows at low temperature and which no argmax
    sees.

    Args:
        similarity: (Q, K) falling.
        labels: (Q, K) class positions of the neighbours.
        classes: C.
        ks: neighbours that vote; beyond K all do.
        temperature: sigma, or None for one vote each.

    Yields:
        (k, scores (Q, C)); the same tensor is added to for the next k.
    """
    relative = similarity - similarity[:, :1]
    weight = torch.ones_like(relative) if temperature is None else (relative / temperature).exp()
    score = weight.new_zeros(len(similarity), classes)
    counted = 0
    for k in sorted(set(ks)):
        score.scatter_add_(1, labels[:, counted:k], weight[:, counted:k])
        counted = k
        yield k, score
