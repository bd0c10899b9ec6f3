"""A collection on disk: reads its live rows, and adds generations so that no kill and no other writer can harm it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from viewkin.collection.manifest import (
    Manifest,
    Part,
    added,
    newest,
    publish,
)
from viewkin.collection.parts import (
    FIELDS,
    DamagedPartError,
    encoded_part,
    read_part,
    schema_of,
    vector_column,
    vectors_of,
)
from viewkin.collection.places import (
    MANIFESTS,
    PARTS,
    locked,
    unwritable,
    written,
)
from viewkin.runtime.errors import UserError
from viewkin.runtime.files import sync_folder

Place = tuple[str, int]
"""Name of a part, and a row in it."""


@dataclass(frozen=True)
class Rows:
    """The live rows of one generation, without their vectors."""

    table: pa.Table
    """Columns of :data:`viewkin.collection.parts.FIELDS`, a row an image."""
    places: list[Place]
    """Where each row lies."""
    damaged: list[Part] = field(default_factory=list[Part])
    """Parts that could not be read; their rows are missing."""

    @cached_property
    def keys(self) -> list[str]:
        """Key of each row."""
        return self.table["key"].to_pylist()

    @cached_property
    def row_of(self) -> dict[str, int]:
        """Key to row."""
        return {key: row for row, key in enumerate(self.keys)}


@dataclass(frozen=True)
class Change:
    """What a writer adds and takes away, all or nothing."""

    table: pa.Table | None = None
    """Rows to add, with their vectors."""
    gone: Mapping[str, tuple[Place, str]] = field(default_factory=dict[str, tuple[Place, str]])
    """Key to place and content of rows that are no longer there."""


class Store:
    """A folder of parts with a manifest."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        """Take a generation of a collection."""
        self.folder, self.manifest = folder, manifest
        self._columns: dict[str, pa.Table] = {}
        self._known = {part.name for part in manifest.parts}

    @classmethod
    def open(cls, folder: Path) -> Store:
        """Open a collection to read it.

        Raises:
            UserError: it is none, or its manifest is damaged.
        """
        manifest = newest(folder)
        if manifest is None:
            raise UserError(f"{folder} is no collection: make one by `viewkin embed MODEL IMAGES --to {folder}`.")
        return cls(folder, manifest)

    @classmethod
    def create(cls, folder: Path, manifest: Manifest) -> Store:
        """Make an empty collection; where another writer made it first, open that.

        Raises:
            UserError: the folder cannot be written.
        """
        try:
            for name in (PARTS, MANIFESTS):
                (folder / name).mkdir(parents=True, exist_ok=True)
            with locked(folder):
                publish(folder, replace(manifest, generation=1))
        except OSError as error:
            raise unwritable(folder, error) from error
        return cls.open(folder)

    def columns(self, part: Part) -> pa.Table:
        """Give the columns of a part but for its vectors; they are read once.

        Raises:
            DamagedPartError: it is missing or damaged.
        """
        if part.name not in self._columns:
            self._columns[part.name] = read_part(self.folder, part)
        return self._columns[part.name]

    def rows(self, *, mend: bool = False) -> Rows:
        """Give the live rows without their vectors.

        Args:
            mend: name damaged parts instead of raising.

        Raises:
            DamagedPartError: a part is missing or damaged.
        """
        tables = [pa.schema(FIELDS).empty_table()]
        places: list[Place] = []
        damaged: list[Part] = []
        for part in self.manifest.parts:
            try:
                columns = self.columns(part)
            except DamagedPartError:
                if not mend:
                    raise
                damaged.append(part)
                continue
            live = self.live(part)
            tables.append(columns.take(pa.array(live)) if len(live) < part.rows else columns)
            places += [(part.name, row) for row in live.tolist()]
        return Rows(pa.concat_tables(tables), places, damaged)

    def live(self, part: Part) -> NDArray[np.int64]:
        """Number the live rows of a part."""
        rows = np.ones(part.rows, dtype=bool)
        rows[self.manifest.gone.get(part.name, [])] = False
        return np.flatnonzero(rows)

    def vectors(self) -> NDArray[np.float32]:
        """Read the vectors of all live rows (N, D), in the order of :meth:`rows`.

        Raises:
            DamagedPartError: a part is missing or damaged.
        """
        rows = np.empty((self.manifest.live, self.manifest.model.width), np.float32)
        start = 0
        for part in self.manifest.parts:
            live = self.live(part)
            found = vectors_of(read_part(self.folder, part, ["embedding"]))
            rows[start : start + len(live)] = found[live] if len(live) < part.rows else found
            start += len(live)
        return rows

    def vectors_at(self, places: Sequence[Place]) -> NDArray[np.float32]:
        """Read the vectors (n, D) of some rows.

        Raises:
            DamagedPartError: a part is missing or damaged.
        """
        rows = np.empty((len(places), self.manifest.model.width), np.float32)
        for part in self.manifest.parts:
            mine = [i for i, (name, _) in enumerate(places) if name == part.name]
            if mine:
                rows[mine] = vectors_of(read_part(self.folder, part, ["embedding"]))[[places[i][1] for i in mine]]
        return rows

    def table(self, columns: Mapping[str, Sequence[object]], rows: NDArray[np.float32]) -> pa.Table:
        """Make rows to add, of columns and vectors (n, D)."""
        number = self.manifest.number
        arrays = [pa.array(columns[one.name], one.type) for one in FIELDS]
        schema = schema_of(self.manifest.model.width, number)
        return pa.Table.from_arrays([*arrays, vector_column(rows, number)], schema=schema)

    def commit(self, change: Change, **facts: object) -> None:
        """Add rows and forget others in the next generation, on top of what other writers did meanwhile.

        Args:
            change: the rows.
            facts: fields of the manifest to set, such as ``classes``.

        Raises:
            UserError: the folder cannot be written, or the collection is of another model meanwhile.
        """
        part, data = (None, b"") if change.table is None else encoded_part(change.table)
        keys = set[str]() if change.table is None else set(change.table["key"].to_pylist())
        try:
            with written(self.folder / PARTS, data) as path, locked(self.folder):
                if part is not None:
                    path.rename(self.folder / PARTS / part.name)
                    sync_folder(self.folder / PARTS)
                self._publish(change, part, keys, facts)
        except OSError as error:
            raise unwritable(self.folder, error) from error

    def _publish(self, change: Change, part: Part | None, keys: set[str], facts: Mapping[str, object]) -> None:
        """Add the generation; the lock is held, and where there are none, tried again until it is the next."""

        def changed(manifest: Manifest) -> Manifest:
            if manifest.model.fingerprint != self.manifest.model.fingerprint:
                raise UserError(f"{self.folder} was made anew by another model meanwhile: name another collection.")
            gone = {name: set(rows) for name, rows in manifest.gone.items()}
            names = {one.name for one in manifest.parts}
            for (name, row), _ in change.gone.values():
                if name in names:
                    gone.setdefault(name, set()).add(row)
            for other in manifest.parts:  # what another writer added meanwhile
                if other.name not in self._known:
                    gone.setdefault(other.name, set()).update(self._displaced(other, keys, change))
            parts = [*manifest.parts, *([part] if part is not None else [])]
            parts, gone = without_empty(parts, gone)
            sorted_gone = {name: sorted(rows) for name, rows in gone.items() if rows}
            return replace(manifest, parts=tuple(parts), gone=sorted_gone, **facts)  # pyright: ignore[reportArgumentType]

        while True:
            current = newest(self.folder)
            following = added(self.manifest if current is None else current, changed)
            if publish(self.folder, following):
                self.manifest = following
                self._known |= set() if part is None else {part.name}
                return

    def _displaced(self, part: Part, keys: set[str], change: Change) -> list[int]:
        """Number the rows of another writer's part that this change replaces or forgets."""
        with contextlib.suppress(DamagedPartError):
            columns = self.columns(part)
            pairs = zip(columns["key"].to_pylist(), columns["content"].to_pylist())
            return [
                row
                for row, (key, content) in enumerate(pairs)
                if key in keys or (key in change.gone and change.gone[key][1] == content)
            ]
        return []

    def drop(self, damaged: Sequence[Part], generation: int) -> None:
        """Take damaged parts out, in a generation after ``generation``.

        Raises:
            UserError: the folder cannot be written.
        """
        names = {part.name for part in damaged}

        def without(manifest: Manifest) -> Manifest:
            parts = tuple(part for part in manifest.parts if part.name not in names)
            gone = {name: rows for name, rows in manifest.gone.items() if name not in names}
            return replace(manifest, parts=parts, gone=gone)

        try:
            with locked(self.folder):
                following = replace(added(self.manifest, without), generation=generation + 1)
                if publish(self.folder, following):
                    self.manifest = following
        except OSError as error:
            raise unwritable(self.folder, error) from error


def without_empty(parts: Sequence[Part], gone: Mapping[str, set[int]]) -> tuple[list[Part], dict[str, set[int]]]:
    """Leave out parts of which no row is live."""
    kept = [part for part in parts if len(gone.get(part.name, ())) < part.rows]
    names = {part.name for part in kept}
    return kept, {name: rows for name, rows in gone.items() if name in names}
