"""Exact search: one matrix product."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from viewkin.ops.neighbours import top_k


class ExactIndex:
    """Compares a query with every row."""

    name = "exact"

    def __init__(self, rows: NDArray[np.float32]) -> None:
        """Search among ``rows`` (N, D) of unit norm, which are not copied."""
        self._rows = torch.from_numpy(rows)

    @property
    def facts(self) -> Mapping[str, Any]:
        """Nothing is approximate."""
        return {"recall@10": 1.0}

    def nearest(
        self, queries: NDArray[np.float32], k: int, among: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Find the nearest rows of each query; equal cosines are ordered by row."""
        if among is None:
            similarity, index = top_k(torch.from_numpy(queries), self._rows, k)
            return similarity.numpy(), index.numpy()
        chosen = torch.from_numpy(np.flatnonzero(among))
        similarity, index = top_k(torch.from_numpy(queries), self._rows[chosen], k)
        return similarity.numpy(), chosen[index].numpy()
