"""Labels that the other images contradict."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from viewkin.collection.held_out import held_out_probabilities
from viewkin.ops.neighbours import top_k

K = 10
"""Neighbours that are the evidence."""


@dataclass(frozen=True)
class Suspects:
    """How doubtful the label of each image is."""

    score: NDArray[np.float32]
    """(N,) one minus the probability of the label, by a classifier that was taught by other images."""
    suggested: NDArray[np.int64]
    """(N,) the class, other than the label, that the other images speak for."""
    contradicted: NDArray[np.bool_]
    """(N,) whether the suggested class is more probable than the label."""
    neighbours: NDArray[np.int64]
    """(N, k) nearest images, by falling similarity."""
    agreeing: NDArray[np.int64]
    """(N,) how many of them have the image's own label."""

    @property
    def order(self) -> NDArray[np.int64]:
        """Rows by falling score; of equal ones first those with fewer agreeing neighbours."""
        return np.lexsort((self.agreeing, -self.score))


def suspects(vectors: NDArray[np.float32], labels: NDArray[np.int64], k: int = K) -> Suspects:
    """Measure how much the other images contradict each label.

    Args:
        vectors: (N, D) unit norm.
        labels: (N,) from 0 to C - 1, of at least two classes.
        k: neighbours to show.
    """
    rows, classes = torch.from_numpy(vectors), torch.from_numpy(labels)
    probability = held_out_probabilities(rows, classes, int(labels.max()) + 1)
    own = probability.gather(1, classes.unsqueeze(1)).squeeze(1)
    others = probability.scatter(1, classes.unsqueeze(1), -1.0)
    value, suggested = others.max(1)
    _, index = top_k(rows, rows, k, exclude_self=True)
    agreeing = (classes[index] == classes.unsqueeze(1)).sum(1)
    return Suspects(
        score=(1 - own).numpy(),
        suggested=suggested.numpy(),
        contradicted=(value > own).numpy(),
        neighbours=index.numpy(),
        agreeing=agreeing.numpy(),
    )
