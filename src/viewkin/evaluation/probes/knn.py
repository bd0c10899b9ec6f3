"""Weighted k-nearest-neighbour classification of features."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from viewkin import metrics
from viewkin.evaluation.labels import train_and_test
from viewkin.ops.neighbours import top_k
from viewkin.runtime.wording import counted
from viewkin.settings import Bytes, Count, Filled, Positive, Settings

BYTES_PER_NEIGHBOUR = 36
"""Peak bytes per neighbour of a query: similarity, index, label, weight, and intermediate values."""

SMALL, FEW, MANY = 4000, 20, 200
"""Below SMALL training images FEW neighbours vote, else MANY, the published number, if the user leaves k open."""

Reference = Literal["recomputed", "bank"]


@dataclass(frozen=True, kw_only=True)
class KnnConfig(Settings):
    """Weighted kNN as NPID introduced it and the field reports it."""

    k: Literal["auto"] | Count | Annotated[tuple[Count, ...], Filled()] = "auto"
    """Number of neighbours that vote (K); several values are measured in one pass, e.g. (5, 20, 200). ``auto``: 200, or
    20 below 4,000 training images, but never more than a class has on average: the others would outvote it."""
    temperature: Positive = 0.1
    """Temperature of the votes (sigma), dimensionless; InvP 0.07, SimSiam 0.2."""
    weighted: bool = True
    """Weigh a vote by ``exp(similarity / temperature)``; otherwise every neighbour counts one."""
    normalise: bool = True
    """Scale features to unit norm first, so that the similarity is a cosine; otherwise the bare dot product."""
    reference: Reference = "recomputed"
    """Which features vote: ``recomputed`` from the training images, or the rows of the ``bank`` at the end of the run
    (NPID's and InvP's monitor; only for the run's own training images and ``--features embedding``)."""
    memory: Bytes = 256 * 2**20
    """Limit of working memory besides the given features, bytes; torch takes about 10 MiB more when first used."""

    @property
    def ks(self) -> tuple[int, ...]:
        """Every k asked for, as given; none where it is left open."""
        return self.k if isinstance(self.k, tuple) else () if self.k == "auto" else (self.k,)

    def fitted(self, count: int, classes: int) -> KnnConfig:
        """Choose k for ``count`` training images of ``classes`` classes, where it is left open."""
        if self.k != "auto":
            return self
        return replace(self, k=max(min(FEW if count < SMALL else MANY, count // max(classes, 1)), 1))


KNN_PRESETS = {
    "npid": KnnConfig(k=MANY),
    "eir": KnnConfig(k=(5, 20, MANY)),
    "invp": KnnConfig(k=MANY, temperature=0.07),
    "simsiam": KnnConfig(k=MANY, temperature=0.2),
}
"""Name to published settings."""


@dataclass(frozen=True, kw_only=True)
class KnnResult:
    """Accuracy of kNN classification."""

    top1: dict[int, float]
    """k -> top-1 accuracy on test, 0 to 1."""
    predicted: dict[int, Tensor]
    """k -> (M,) predicted labels, in the values of the training labels."""
    seconds: float
    """Wall-clock time."""
    config: KnnConfig
    """The protocol with the k that was taken."""
    notes: tuple[str, ...] = ()
    """Remarks that belong to the numbers: a k that was chosen, or is larger than the training set, classes without a
    training image."""

    def values(self) -> dict[str, float]:
        """Name to percent, as the papers print them."""
        return {f"knn@{k}": 100 * accuracy for k, accuracy in self.top1.items()}


def knn(config: KnnConfig, train: Tensor, train_labels: Tensor, test: Tensor, test_labels: Tensor) -> KnnResult:
    """Classify test features by a vote of their nearest training features.

    ``score_c = sum over the K nearest j of exp(s_j / sigma) [y_j = c]``; the prediction is ``argmax_c``. Of equal
    scores the smallest label is predicted.

    Args:
        config: the protocol.
        train: (N, D) training features: recomputed in eval mode without augmentation, or a bank's rows.
        train_labels: (N,) non-negative integers, any values.
        test: (M, D) queries.
        test_labels: (M,) likewise; a class without a training image cannot be predicted and counts as an error.

    Raises:
        UserError: shapes that do not fit, features that are not finite, or images without a label.

    References:
        Wu et al., Unsupervised Feature Learning via Non-Parametric Instance Discrimination, 2018, section 3.4.
    """
    began = time.perf_counter()
    data = train_and_test(train, train_labels, test, test_labels)
    asked, config = config, config.fitted(len(train), len(data.classes))
    scale = None
    if config.normalise:  # without a normalised copy of the training features, which may fill the memory
        scale = 1 / torch.linalg.vector_norm(data.train, dim=1).clamp_min(1e-12)
    chosen = f"k = {config.k} was chosen for {counted(len(train), 'training image')} of {len(data.classes)} classes; "
    notes = data.notes + ((f"{chosen}--set k=200 takes the published number.",) if asked.k == "auto" else ())
    notes += tuple(
        f"k = {k} is more than the {len(train)} reference images: all vote." for k in config.ks if k > len(train)
    )
    temperature = config.temperature if config.weighted else None
    winners: dict[int, list[Tensor]] = {k: [] for k in config.ks}
    bytes_per_query = (
        4 * data.train.shape[1] + BYTES_PER_NEIGHBOUR * min(max(config.ks), len(train)) + 8 * len(data.classes)
    )
    for query in data.test.split(max(config.memory // 4 // bytes_per_query, 1)):
        query = F.normalize(query, dim=1) if config.normalise else query
        similarity, index = top_k(query, data.train, max(config.ks), memory=config.memory * 3 // 4, scale=scale)
        for k, score in votes(similarity, data.y[index], len(data.classes), config.ks, temperature):
            winners[k].append(score.argmax(1))
    best = {k: torch.cat(parts) for k, parts in winners.items()}
    return KnnResult(
        top1={k: metrics.accuracy(best[k], data.test_y) for k in config.ks},
        predicted={k: data.classes[best[k]] for k in config.ks},
        seconds=time.perf_counter() - began,
        config=config,
        notes=notes,
    )


def votes(
    similarity: Tensor, labels: Tensor, classes: int, ks: tuple[int, ...], temperature: float | None
) -> Iterator[tuple[int, Tensor]]:
    """Sum the votes of the k nearest neighbours for every k, smallest first.

    The scores of a row are divided by ``exp(s_1 / sigma)``, which would overflow at low temperature; the argmax is
    the same.

    Args:
        similarity: (Q, K) falling.
        labels: (Q, K) class positions of the neighbours.
        classes: C.
        ks: numbers of neighbours that vote; for more than K all vote.
        temperature: sigma, or None for equal votes.

    Yields:
        (k, scores (Q, C)); the next k adds to the same tensor in place.
    """
    relative = similarity - similarity[:, :1]
    weight = torch.ones_like(relative) if temperature is None else (relative / temperature).exp()
    score = weight.new_zeros(len(similarity), classes)
    counted = 0
    for k in sorted(set(ks)):
        score.scatter_add_(1, labels[:, counted:k], weight[:, counted:k])
        counted = k
        yield k, score
