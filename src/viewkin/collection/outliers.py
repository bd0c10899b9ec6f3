"""Images that are like few others: their distance to the k-th nearest.

References:
    Ramaswamy, Rastogi and Shim, Efficient algorithms for mining outliers from large data sets, 2000, definition 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from viewkin.ops.neighbours import top_k

K = 10
"""Neighbour that the distance is measured to."""


@dataclass(frozen=True)
class Outliers:
    """How far each image is from the others."""

    distance: NDArray[np.float32]
    """(N,) one minus the cosine to the k-th nearest, 0 to 2."""
    neighbours: NDArray[np.int64]
    """(N, k) rows of the nearest, by falling similarity."""
    similarity: NDArray[np.float32]
    """(N, k) their cosines."""

    @property
    def order(self) -> NDArray[np.int64]:
        """Rows by falling distance."""
        return np.argsort(-self.distance, kind="stable")


def outliers(vectors: NDArray[np.float32], k: int = K) -> Outliers:
    """Measure the distance of each row to its k-th nearest other.

    Args:
        vectors: (N, D) unit norm, N at least 2.
        k: at least 1; where there are fewer others, the farthest of them counts.
    """
    rows = torch.from_numpy(vectors)
    similarity, index = top_k(rows, rows, k, exclude_self=True)
    return Outliers((1 - similarity[:, -1]).numpy(), index.numpy(), similarity.numpy())
