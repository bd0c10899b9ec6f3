"""Search through Qdrant, an optional package, in its local mode: inside this process and in memory, one by one.

A server was not tried: none installs where this is tested. The client is the same for both.
"""

from __future__ import annotations

import importlib
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from viewkin.runtime.errors import UserError

KIND, COLLECTION = "qdrant", "rows"


class QdrantIndex:
    """A collection of Qdrant whose points are numbered by row."""

    name = KIND

    def __init__(self, client: Any, models: Any, facts: Mapping[str, Any]) -> None:
        """Take a client that holds the rows, the module of its types, and what is known of it."""
        self._client, self._models, self._facts = client, models, facts

    @property
    def facts(self) -> Mapping[str, Any]:
        """``rows``, and ``seconds`` that filling it took."""
        return self._facts

    def nearest(
        self, queries: NDArray[np.float32], k: int, among: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Find the nearest rows of each query."""
        similarity, rows = np.full((len(queries), k), -1.0, np.float32), np.full((len(queries), k), -1, np.int64)
        chosen: Any = None
        if among is not None:
            condition = self._models.HasIdCondition(has_id=np.flatnonzero(among).tolist())
            chosen = self._models.Filter(must=[condition])
        for place, query in enumerate(queries):
            found = self._client.query_points(COLLECTION, query=query.tolist(), limit=k, query_filter=chosen).points
            similarity[place, : len(found)] = [point.score for point in found]
            rows[place, : len(found)] = [point.id for point in found]
        return similarity, rows


def open_qdrant(folder: Path, state: str, rows: NDArray[np.float32]) -> tuple[QdrantIndex, list[str]]:  # noqa: ARG001
    """Fill a local Qdrant with some rows.

    Args:
        folder: the collection; nothing is written there.
        state: names the rows.
        rows: (N, D) unit norm.

    Returns:
        The index, and sentences on what was done.

    Raises:
        UserError: the client of Qdrant is not installed.
    """
    try:
        library: Any = importlib.import_module("qdrant_client")
    except ImportError as error:
        raise UserError("This index needs the client of Qdrant: pip install 'viewkin[qdrant]'.") from error
    began, models = time.perf_counter(), library.models
    client = library.QdrantClient(":memory:")
    size = models.VectorParams(size=rows.shape[1], distance=models.Distance.COSINE)
    client.create_collection(COLLECTION, vectors_config=size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it advises its server from 20,000 rows on
        client.upload_collection(COLLECTION, vectors=rows, ids=range(len(rows)))
    facts = {"rows": len(rows), "seconds": time.perf_counter() - began}
    return QdrantIndex(client, models, facts), [f"Vectors copied into a local Qdrant in {facts['seconds']:.1f} s."]
