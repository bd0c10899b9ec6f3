"""A collection as the page shows it: rows, map, pictures, columns, marks, and what is like what."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from io import BytesIO
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from viewkin.collection.clustering import clusters, names_of
from viewkin.collection.filters import chosen_rows
from viewkin.collection.reader import Query, Reader
from viewkin.commands.search import Searcher
from viewkin.explorer.columns import coloured, columns_of, read_columns
from viewkin.explorer.image_marks import ImageMarks
from viewkin.explorer.jobs import Job
from viewkin.explorer.kin import Kin, kin_of
from viewkin.explorer.pictures import Pictures
from viewkin.explorer.stored_map import MapOfCollection
from viewkin.runtime.errors import UserError

EXACT_ROWS = 500_000
"""Images up to which a query is compared with every one: that answers at once, where an index is built for seconds."""
CLUSTER = "cluster"
"""Column that is computed when it is first asked for."""
FACTS = ("class_name", "label", "split", "width", "height", "size")
"""Columns that are told of an image, beside its key."""


class ShownCollection:
    """One opened collection."""

    def __init__(
        self,
        folder: Path,
        *,
        model: str | None = None,
        device: str = "auto",
        wanted_map: str = "auto",
        columns: Sequence[Path] = (),
    ) -> None:
        """Open a collection.

        Args:
            folder: where it lies.
            model: where its model is; None: where it was.
            device: where the model runs.
            wanted_map: ``auto``, ``tsne``, ``umap`` or ``pca``.
            columns: files of further columns; those without any of its keys are refused.

        Raises:
            UserError: it is none, holds no images, or a column file does not fit.
        """
        self.reader = Reader(folder)
        if not len(self.reader):
            raise UserError(f"{folder} holds no images: fill it by `viewkin embed MODEL IMAGES --to {folder}`.")
        self.name = folder.resolve().name
        """Name of its folder."""
        self.pictures, self.marks = Pictures(self.reader), ImageMarks(self.reader)
        self.map = MapOfCollection(self.reader, wanted_map)
        self._columns = columns_of(self.reader)
        for path in columns:
            self._columns |= read_columns(path, self.reader)
        self._cluster_job = Job(self._clustered, "Clustering")
        self._searcher = Searcher(self.reader, model, device)
        self._model_lock = Lock()

    def told(self) -> dict[str, Any]:
        """Say what a page needs to know first."""
        manifest = self.reader.manifest
        return {
            "name": self.name,
            "folder": str(self.reader.folder),
            "images": len(self.reader),
            "of": manifest.images.name,
            "model": manifest.model.name,
            "state": manifest.state,
            "columns": [*self._columns, *([] if CLUSTER in self._columns else [CLUSTER])],
            "map": self.map.method,
        }

    def facts(self, row: int) -> dict[str, Any]:
        """Say what is known of an image."""
        table = self._pieces
        return {
            "row": row,
            "key": self.reader.rows.keys[row],
            **{name: table[name][row].as_py() for name in FACTS},
        }

    @cached_property
    def _pieces(self) -> dict[str, Any]:
        table = self.reader.rows.table
        return {name: table[name].combine_chunks() for name in FACTS}

    def column(self, name: str) -> dict[str, Any] | Job:
        """Give a column to colour by; clusters are computed by a job.

        Raises:
            LookupError: there is no such column.
        """
        if name != CLUSTER or name in self._columns:
            return coloured(self._columns[name])
        job = self._cluster_job.start()
        return coloured(job.result) if job.ended and job.error is None else job

    def values(self, name: str) -> list[Any]:
        """Give the values of a column that is there, by row.

        Raises:
            LookupError: there is no such column.
        """
        return self._columns[name]

    def add_column(self, name: str, rows: Sequence[int], values: Sequence[Any]) -> None:
        """Add a column to colour by, or replace it; other rows have no value."""
        column: list[Any] = [None] * len(self.reader)
        for row, value in zip(rows, values):
            column[row] = value
        self._columns[name] = column

    def _clustered(self, job: Job) -> list[str]:
        found = clusters(self.reader.vectors)
        names = names_of(self.reader.rows.keys, found.number)
        return [f"{number} {names.get(number, '')}".strip() for number in found.number.tolist()]

    def find(self, text: str, most: int) -> list[int]:
        """List the row of a key, rows whose key holds a text, or those that meet conditions such as ``label=cat``.

        Raises:
            UserError: a condition is none, or no image meets them.
        """
        if text in self.reader.rows.row_of:
            return [self.reader.rows.row_of[text]]
        if any(sign in text for sign in "=<>"):
            chosen = chosen_rows(self.reader.rows.table, text.split())
            return [] if chosen is None else np.flatnonzero(chosen)[:most].tolist()
        low = text.lower()
        found = [row for row, key in enumerate(self.reader.rows.keys) if low in key.lower()][:most]
        if not found:
            raise UserError(f"No key holds {text!r}.")
        return found

    def of_row(self, row: int) -> Query:
        """Make a query of a row, which does not find itself."""
        key = self.reader.rows.keys[row]
        return Query(key, self.reader.vectors[row], (key,))

    def of_key(self, key: str) -> Query | None:
        """Make a query of a key; None where there is no such image."""
        row = self.reader.rows.row_of.get(key)
        return None if row is None else self.of_row(row)

    def of_file(self, path: str) -> Query:
        """Encode an image file by the collection's model.

        Raises:
            UserError: it cannot be read, or the model is not there.
        """
        with self._model_lock:  # the model is opened once, and two images at a time would be slower than one by one
            (query,) = self._searcher.examples(path)
        return query

    def nearest(self, query: Query, k: int) -> list[dict[str, Any]]:
        """List the images nearest to a query, with what is known of each."""
        kind = "exact" if len(self.reader) <= EXACT_ROWS else "auto"
        found = self.reader.nearest([query], k, None, kind)
        row_of = self.reader.rows.row_of
        return [{**self.facts(row_of[match.key]), "similarity": match.similarity} for match in found]

    def as_csv(self, rows: Sequence[int]) -> bytes:
        """Write rows as CSV: what the collection knows of them, and their marks."""
        table = self.reader.table(vectors=False).take(pa.array(rows, pa.int64()))
        marks = self.marks.of_rows()
        table = table.append_column("mark", pa.array([marks.get(row) for row in rows], pa.string()))
        sink = BytesIO()
        pa_csv.write_csv(table, sink)
        return sink.getvalue()

    @cached_property
    def kin(self) -> Kin:
        """What the run of its model took for kin."""
        return kin_of(self.reader)
