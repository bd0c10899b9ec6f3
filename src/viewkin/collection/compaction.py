"""Keeps a collection tidy: joins small parts, rewrites hollow ones, removes what killed writers left."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa

from viewkin.collection.manifest import (
    KEPT,
    Manifest,
    Part,
    added,
    generations,
    newest,
    place_of,
    publish,
    read_generation,
)
from viewkin.collection.parts import COLUMNS, encoded_part, read_part
from viewkin.collection.places import MANIFESTS, PARTS, clear_abandoned, locked, unwritable, written
from viewkin.collection.store import Store
from viewkin.runtime.errors import UserError
from viewkin.runtime.files import sync_folder

SMALL_PART = 2048
"""Rows below which a part is small."""
MANY_SMALL = 8
"""Small parts from which on they are joined."""
JOINED_ROWS = 65536
"""Rows of the largest part that joining makes."""


def tidy(store: Store) -> None:
    """Join small parts, rewrite those of which most is gone, and remove what killed writers left.

    Raises:
        UserError: the folder cannot be written.
    """
    try:
        with locked(store.folder):
            current = newest(store.folder)
            store.manifest = store.manifest if current is None else current
            parts = [part for part in store.manifest.parts if part.rows < SMALL_PART or is_hollow(store.manifest, part)]
            if len(parts) >= MANY_SMALL or any(is_hollow(store.manifest, part) for part in parts):
                join(store, parts)
            clear(store)
    except OSError as error:
        raise unwritable(store.folder, error) from error


def is_hollow(manifest: Manifest, part: Part) -> bool:
    """Whether more than half of a part's rows are gone."""
    return 2 * len(manifest.gone.get(part.name, [])) > part.rows


def join(store: Store, parts: Sequence[Part]) -> None:
    """Write the live rows of some parts as new ones; the lock is held."""
    tables = [read_part(store.folder, part, [*COLUMNS, "embedding"]).take(store.live(part)) for part in parts]
    whole = pa.concat_tables(tables)
    new: list[Part] = []
    for start in range(0, whole.num_rows, JOINED_ROWS):
        part, data = encoded_part(whole.slice(start, JOINED_ROWS).combine_chunks())
        with written(store.folder / PARTS, data) as path:
            path.rename(store.folder / PARTS / part.name)
        new.append(part)
    sync_folder(store.folder / PARTS)
    names = {part.name for part in parts}

    def change(manifest: Manifest) -> Manifest:
        kept = [part for part in manifest.parts if part.name not in names]
        gone = {name: rows for name, rows in manifest.gone.items() if name not in names}
        return replace(manifest, parts=(*kept, *new), gone=gone)

    following = added(store.manifest, change)
    if publish(store.folder, following):
        store.manifest = following


def clear(store: Store) -> None:
    """Remove unfinished files of killed writers, and parts that no kept generation names; the lock is held."""
    named: set[str] = set()
    for number in generations(store.folder)[-KEPT:]:
        with contextlib.suppress(UserError, FileNotFoundError):
            named |= {part.name for part in read_generation(place_of(store.folder, number)).parts}
    for path in (store.folder / PARTS).glob("part-*.parquet"):
        if path.name not in named:
            path.unlink(missing_ok=True)
    for name in (PARTS, MANIFESTS):
        clear_abandoned(store.folder / name)
