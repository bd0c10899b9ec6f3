"""Search through LanceDB, an optional package: a copy of the vectors in a table of its own, compared one by one."""

from __future__ import annotations

import importlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from viewkin.collection.indexes.kept import keep_folder, read_kept_folder
from viewkin.runtime.errors import UserError

KIND, TABLE = "lancedb", "rows"


class LanceIndex:
    """A table of LanceDB with the columns ``row`` and ``vector``."""

    name = KIND

    def __init__(self, table: Any, facts: Mapping[str, Any]) -> None:
        """Take an opened table and what is known of it."""
        self._table, self._facts = table, facts

    @property
    def facts(self) -> Mapping[str, Any]:
        """``rows``, ``seconds`` that writing them took, and the version of LanceDB."""
        return self._facts

    def nearest(
        self, queries: NDArray[np.float32], k: int, among: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Find the nearest rows of each query."""
        similarity, rows = np.full((len(queries), k), -1.0, np.float32), np.full((len(queries), k), -1, np.int64)
        chosen = None if among is None else f"row IN ({', '.join(map(str, np.flatnonzero(among)))})"
        for place, query in enumerate(queries):
            asked = self._table.search(query).distance_type("cosine").limit(k)
            found = (asked if chosen is None else asked.where(chosen, prefilter=True)).to_arrow()
            count = found.num_rows
            similarity[place, :count] = 1 - found["_distance"].to_numpy()
            rows[place, :count] = found["row"].to_numpy()
        return similarity, rows


def open_lancedb(folder: Path, state: str, rows: NDArray[np.float32]) -> tuple[LanceIndex, list[str]]:
    """Open the table of some rows, or write it.

    Args:
        folder: the collection.
        state: names the rows.
        rows: (N, D) unit norm.

    Returns:
        The index, and sentences on what was done.

    Raises:
        UserError: LanceDB is not installed, or the folder cannot be written.
    """
    try:
        library = importlib.import_module("lancedb")
    except ImportError as error:
        raise UserError("This index needs LanceDB: pip install 'viewkin[lancedb]'.") from error
    kept, notes = read_kept_folder(folder, KIND, state), list[str]()
    if kept is None:
        began = time.perf_counter()
        place = keep_folder(folder, KIND, state, lambda path: _write(library, path, rows))
        facts = {"rows": len(rows), "seconds": time.perf_counter() - began, "lancedb": library.__version__}
        kept, notes = (place, facts), [f"Vectors copied into LanceDB in {facts['seconds']:.1f} s."]
    return LanceIndex(library.connect(str(kept[0])).open_table(TABLE), kept[1]), notes


def _write(library: Any, place: Path, rows: NDArray[np.float32]) -> None:
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), rows.shape[1])
    table = pa.table({"row": pa.array(np.arange(len(rows))), "vector": vectors})
    library.connect(str(place)).create_table(TABLE, table)
