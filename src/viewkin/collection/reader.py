"""A collection in memory: its rows, its vectors, and what lies nearest to a vector."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from viewkin.collection.filters import Where, chosen_rows
from viewkin.collection.indexes.base import Index
from viewkin.collection.indexes.exact import ExactIndex
from viewkin.collection.indexes.ivf import LEAST_ROWS, has_faiss, open_ivf
from viewkin.collection.indexes.lancedb import open_lancedb
from viewkin.collection.indexes.qdrant import open_qdrant
from viewkin.collection.manifest import Manifest, newest
from viewkin.collection.matches import Match, Matches
from viewkin.collection.parts import DamagedPartError, vector_column
from viewkin.collection.store import Rows, Store
from viewkin.runtime.errors import UserError, require
from viewkin.runtime.progress import reporter
from viewkin.runtime.wording import counted

EXACT_ROWS = 50_000
"""Rows up to which a query is compared with every one of them."""
Opener = Callable[[Path, str, NDArray[np.float32]], tuple[Index, list[str]]]
"""Folder, name of the rows, and rows to an index with sentences on what was done."""
OPENERS: dict[str, Opener] = {"ivf": open_ivf, "lancedb": open_lancedb, "qdrant": open_qdrant}
"""Kind of an index to what opens or builds it."""
KINDS = ("auto", "exact", *OPENERS)
"""Ways to search."""
Made = TypeVar("Made")


@dataclass(frozen=True)
class Query:
    """A vector to search by."""

    name: str
    """Key or path of the image, or several joined."""
    vector: NDArray[np.float32]
    """(D,), of any length but zero."""
    own: Collection[str] = ()
    """Keys that are not to be found: the images that the query is made of."""


class Reader:
    """One generation of a collection; rows and vectors are read when they are first asked for."""

    def __init__(self, folder: Path) -> None:
        """Open a collection.

        Raises:
            UserError: it is none, or its manifest is damaged.
        """
        self.folder = folder
        self._store = Store.open(folder)
        self._indexes: dict[str, tuple[Index, list[str]]] = {}

    @property
    def manifest(self) -> Manifest:
        """The generation that was opened."""
        return self._store.manifest

    def __len__(self) -> int:
        """Count the images, N."""
        return self.manifest.live

    def _read(self, ask: Callable[[Store], Made]) -> Made:
        """Read parts; where others joined or removed them meanwhile, those of the newest generation.

        Raises:
            DamagedPartError: a part of the newest generation is missing or damaged.
        """
        while True:
            try:
                return ask(self._store)
            except DamagedPartError:
                current = newest(self.folder)
                if current is None or current.generation == self.manifest.generation:
                    raise
                if self._begun:
                    raise UserError(f"{self.folder} has changed since it was opened: open it again.") from None
                self._store = Store(self.folder, current)

    @property
    def _begun(self) -> bool:
        """Whether rows were given out already, which another generation would not fit."""
        return "rows" in vars(self) or "vectors" in vars(self)

    @cached_property
    def rows(self) -> Rows:
        """The rows without their vectors.

        Raises:
            DamagedPartError: a part is missing or damaged.
        """
        return self._read(Store.rows)

    @cached_property
    def vectors(self) -> NDArray[np.float32]:
        """The vectors (N, D), unit norm, in the order of the rows.

        Raises:
            DamagedPartError: a part is missing or damaged.
        """
        vectors = self._read(Store.vectors)
        if self.manifest.number == "float16":  # rounding moved their length
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors

    def table(self, *, vectors: bool = True) -> pa.Table:
        """Give the rows as a table of Arrow; ``path`` is absolute.

        Args:
            vectors: with the column ``embedding``, a list of float32.
        """
        table, root = self.rows.table, self.manifest.images.root
        if root is not None:
            paths = [None if path is None else f"{root}/{path}" for path in table["path"].to_pylist()]
            table = table.set_column(table.column_names.index("path"), "path", pa.array(paths, pa.string()))
        return table.append_column("embedding", vector_column(self.vectors, "float32")) if vectors else table

    def index(self, kind: str, count: int) -> tuple[Index, list[str]]:
        """Give an index of a kind, built once; ``auto`` is exact up to 50,000 rows and IVF above, where FAISS is there.

        Args:
            kind: one of :data:`KINDS`.
            count: rows that a query is compared with.

        Returns:
            The index, and sentences on what was done for it.

        Raises:
            UserError: an unknown kind, or a library that is not installed.
        """
        require(kind in KINDS, "The index", kind, f"one of {', '.join(KINDS)}")
        notes: list[str] = []
        if kind == "auto":
            kind = "ivf" if count > EXACT_ROWS and has_faiss() else "exact"
            if count > EXACT_ROWS and kind == "exact":
                notes = [
                    f"A query is compared with all {count:,} images; pip install 'viewkin[index]' makes that faster."
                ]
        if kind == "ivf" and len(self) < LEAST_ROWS:
            kind, notes = "exact", [f"A query is compared with every image: cells are of use from {LEAST_ROWS:,} on."]
        if kind == "exact":
            return ExactIndex(self.vectors), notes
        if kind not in self._indexes:
            with reporter().bar("Opening the index", None):
                index, said = OPENERS[kind](self.folder, self.manifest.state, self.vectors)
            self._indexes[kind] = index, []
            return index, said
        return self._indexes[kind]

    def nearest(self, queries: Sequence[Query], k: int, where: Where = None, kind: str = "auto") -> Matches:
        """Find the images nearest to each query.

        Args:
            queries: the vectors.
            k: how many for each; where fewer are left, all of them.
            where: conditions that they meet (:mod:`viewkin.collection.filters`).
            kind: the index, one of :data:`KINDS`.

        Raises:
            UserError: no images, no k, a condition that no image meets, or a damaged part.
        """
        require(k >= 1, "k", k, "at least 1")
        if not len(self):
            raise UserError(
                f"{self.folder} holds no images: fill it by `viewkin embed MODEL IMAGES --to {self.folder}`."
            )
        among = chosen_rows(self.rows.table, where)
        count = len(self) if among is None else int(among.sum())
        most = max((len(query.own) for query in queries), default=0)
        index, notes = self.index(kind, count)
        matrix = np.stack([unit(query.vector) for query in queries])
        similarity, rows = index.nearest(matrix, min(k + most, count), among)
        found: list[Match] = []
        least = k
        for query, values, places in zip(queries, similarity, rows):
            own = {self.rows.row_of.get(key) for key in query.own}
            pairs = [(float(s), int(p)) for s, p in zip(values, places) if p >= 0 and int(p) not in own][:k]
            least = min(least, len(pairs))
            found += [self.match(query.name, rank, *pair) for rank, pair in enumerate(pairs, 1)]
        if least < k:
            notes = [*notes, f"There are only {counted(least, 'image')} to find, fewer than the {k} asked for."]
        return Matches(found, notes)

    def match(self, query: str, rank: int, similarity: float, row: int) -> Match:
        """Describe a row as a match of a query."""
        one, root = self._facts, self.manifest.images.root
        path = one["path"][row].as_py()
        return Match(
            query=query,
            rank=rank,
            similarity=similarity,
            key=self.rows.keys[row],
            path=path if path is None or root is None else f"{root}/{path}",
            **{name: one[name][row].as_py() for name in ("split", "label", "class_name", "width", "height")},
        )

    @cached_property
    def _facts(self) -> dict[str, Any]:
        """Columns in one piece, of which a cell is found at once."""
        return {name: self.rows.table[name].combine_chunks() for name in self.rows.table.column_names}


def unit(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale a vector to length 1.

    Raises:
        UserError: it has none, as where examples and counter-examples are the same.
    """
    length = float(np.linalg.norm(vector))
    if not length > 1e-6:
        raise UserError("The examples and the counter-examples cancel out: name others.")
    return np.ascontiguousarray(vector / length, dtype=np.float32)
