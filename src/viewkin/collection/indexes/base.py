"""What every index can do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Index(Protocol):
    """Finds the nearest of some rows of unit length by their cosine."""

    @property
    def name(self) -> str:
        """What a table calls it: ``exact``, ``ivf``, ``lancedb``, ``qdrant``."""
        ...

    @property
    def facts(self) -> Mapping[str, Any]:
        """What is known of it: how it was made, how long that took, its measured recall."""
        ...

    def nearest(
        self, queries: NDArray[np.float32], k: int, among: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Find the nearest rows of each query.

        Args:
            queries: (Q, D) unit norm.
            k: how many; at most as many as there are.
            among: (N,) rows that count; None: all.

        Returns:
            Cosine (Q, k) falling, and row (Q, k); where fewer were found, the rest are -1.
        """
        ...
