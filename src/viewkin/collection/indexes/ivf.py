"""Approximate search by FAISS: rows lie in cells, and a query looks into the cells nearest to it (IVF)."""

from __future__ import annotations

import importlib
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from viewkin.collection.indexes.kept import keep, read_kept
from viewkin.ops.neighbours import top_k
from viewkin.runtime.errors import UserError

KIND = "ivf"
WANTED = 0.99
"""Recall@10 that the number of cells looked at is chosen for."""
HELD_OUT = 1000
"""Rows that are held out of the index while its recall is measured: half to choose by, half to report."""
NEIGHBOURS = 10
"""Nearest rows by which recall is counted."""
A_CELL = 64
"""Rows of a cell that k-means learns from."""
LEAST_ROWS = 1000
"""Rows from which on an index is of use."""
MARGIN = 1e-6
"""Cosine by which a row may be below the k-th and still count as one of the k: equal images are interchangeable."""


def faiss() -> Any:
    """Import FAISS.

    Raises:
        ImportError: it is not installed.
    """
    return importlib.import_module("faiss")


def has_faiss() -> bool:
    """Whether FAISS is installed."""
    try:
        faiss()
    except ImportError:
        return False
    return True


class IvfIndex:
    """Rows in cells."""

    name = "ivf"

    def __init__(self, index: Any, facts: Mapping[str, Any]) -> None:
        """Take an index of FAISS and what is known of it."""
        self._index, self._facts = index, facts

    @property
    def facts(self) -> Mapping[str, Any]:
        """``cells``, ``looked_at``, ``recall@10``, ``seconds`` and more."""
        return self._facts

    def nearest(
        self, queries: NDArray[np.float32], k: int, among: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Find the nearest rows of each query in the cells that are looked at."""
        library, cells, looked_at = faiss(), int(self._facts["cells"]), int(self._facts["looked_at"])
        if among is None:
            parameters = library.SearchParametersIVF(nprobe=looked_at)
            return self._index.search(queries, k, params=parameters)
        # Of fewer rows that count, the k nearest lie in more cells.
        looked_at = min(cells, math.ceil(looked_at * len(among) / max(1, int(among.sum()))))
        bits = np.packbits(among, bitorder="little")
        selector = library.IDSelectorBitmap(len(among), library.swig_ptr(bits))
        return self._index.search(queries, k, params=library.SearchParametersIVF(nprobe=looked_at, sel=selector))


def open_ivf(folder: Path, state: str, rows: NDArray[np.float32]) -> tuple[IvfIndex, list[str]]:
    """Open the index of some rows, or build and keep it.

    Args:
        folder: the collection.
        state: names the rows.
        rows: (N, D) unit norm.

    Returns:
        The index, and sentences on what was done.

    Raises:
        UserError: FAISS is not installed.
    """
    try:
        library = faiss()
    except ImportError as error:
        raise UserError("An index needs FAISS: pip install 'viewkin[index]'.") from error
    kept = read_kept(folder, KIND, state)
    if kept is not None:
        return IvfIndex(library.read_index(str(kept[0])), kept[1]), []
    index, facts = built(rows)
    stored = keep(folder, KIND, state, lambda path: library.write_index(index, str(path)), facts)
    note = (
        f"Index built in {facts['seconds']:.1f} s: a query looks into {facts['looked_at']} of {facts['cells']} cells; "
        f"recall@10 {facts['recall@10']:.4f} on {facts['held_out']} rows that were held out."
    )
    return IvfIndex(index, facts), [note] + [f"{folder} cannot be written, so it is not kept."] * (not stored)


def built(rows: NDArray[np.float32]) -> tuple[Any, dict[str, Any]]:
    """Build an index, choose how many cells a query looks at, and measure the recall of that choice.

    Some rows are held out: cells are learnt and filled without them, and they are the queries. Half of them choose the
    number of cells, the other half measure its recall. Then they are added.
    """
    library, began = faiss(), time.perf_counter()
    count, width = rows.shape
    cells = cells_for(count)
    held = min(HELD_OUT, count // 10) // 2 * 2
    order = np.random.default_rng(0).permutation(count)
    outside, inside = np.sort(order[:held]), np.sort(order[held:])
    index = library.IndexIVFFlat(library.IndexFlatIP(width), width, cells, library.METRIC_INNER_PRODUCT)
    index.cp.seed, index.cp.max_points_per_centroid = 0, A_CELL
    index.cp.spherical = True
    index.train(rows[inside])
    index.add_with_ids(rows[inside], inside)
    queries = np.random.default_rng(1).permutation(rows[outside])
    border = top_k(torch.from_numpy(queries), torch.from_numpy(rows[inside]), NEIGHBOURS)[0][:, -1].numpy()
    half = held // 2

    def hits(place: slice, looked_at: int) -> NDArray[np.float64]:
        parameters = library.SearchParametersIVF(nprobe=looked_at)
        similarity, _ = index.search(queries[place], NEIGHBOURS, params=parameters)
        return (similarity >= border[place, None] - MARGIN).mean(axis=1)

    looked_at = next((n for n in steps(cells) if safely(hits(slice(0, half), n))), cells)
    recall = float(hits(slice(half, held), looked_at).mean())
    index.add_with_ids(rows[outside], outside)
    facts = {"rows": count, "cells": cells, "looked_at": looked_at, "recall@10": recall, "held_out": held - half}
    return index, facts | {"seconds": time.perf_counter() - began, "faiss": library.__version__}


def cells_for(count: int) -> int:
    """Number the cells for so many rows: the power of two nearest to 1.7 times their square root."""
    return 2 ** max(2, round(math.log2(1.7 * math.sqrt(count))))


def steps(cells: int) -> list[int]:
    """Numbers of cells to try, rising by a quarter."""
    tried = {min(cells, round(1.25**i)) for i in range(64)}
    return sorted(tried)


def safely(hits: NDArray[np.float64]) -> bool:
    """Whether the recall of all queries is as wanted, even if these happen to be easy by one standard error."""
    return bool(hits.mean() - hits.std() / math.sqrt(len(hits)) >= WANTED)
