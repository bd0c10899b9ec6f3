"""What the file system says of files whose content is known: a cache that saves reading unchanged files.

A stamp is size, times of modification and change, and inode. The kernel sets the time of change at every write, also
where a tool puts the time of modification back. A stamp is kept only where the file had it before and after it was
read, and where its time of change lay at least ``SETTLED`` seconds back: a later write then has another time, however
coarse the clock of the file system is. So a file of a known stamp has the content that was read.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from viewkin.collection.places import STAMPS
from viewkin.runtime.files import replacing

SETTLED = 3.0
"""Seconds; the coarsest common file system (FAT) counts times in steps of two."""
Stamp = tuple[int, int, int, int]
"""Bytes, times of modification and of change in nanoseconds, inode."""
SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("content", pa.string()),
        ("whole", pa.string()),
        ("size", pa.int64()),
        ("modified", pa.int64()),
        ("changed", pa.int64()),
        ("inode", pa.uint64()),
    ]
)


@dataclass(frozen=True)
class Known:
    """What was read of an image while its file had a stamp."""

    stamp: Stamp
    """The stamp."""
    content: str
    """Content id."""
    whole: str | None = None
    """Hash of all its bytes, where it was read whole."""


class Stamps:
    """The stamps of the files of one set, beside those that the cache has."""

    def __init__(self, folder: Path) -> None:
        """Read the cache of a collection; it is empty where it is missing or damaged."""
        self._folder, self._before, self._began = folder, load_stamps(folder), time.time()
        self._now: dict[str, Known] = {}
        self._files: dict[str, str] = {}
        self._stamps: dict[str, Stamp | None] = {}

    def known(self, key: str, file: str) -> Known | None:
        """Look at the file of an image: what is known of it as it is now, else None."""
        self._files[key] = file
        if file not in self._stamps:
            self._stamps[file] = stamp_at(file)
        before = self._before.get(key)
        if before is None or before.stamp != self._stamps[file]:
            return None
        self._now[key] = before
        return before

    def note(self, key: str, content: str, whole: str | None = None) -> None:
        """Note what was read since :meth:`known` looked, where the file has not changed meanwhile."""
        stamp = self._stamps.get(self._files.get(key, ""))
        if stamp is None or stamp[2] / 1e9 > self._began - SETTLED:
            return
        now = self._now.get(key)
        if now is not None and now.content == content and (whole is None or whole == now.whole):
            return
        if stamp_at(self._files[key]) == stamp:
            self._now[key] = Known(stamp, content, whole)

    def whole(self, key: str) -> str | None:
        """Give the hash of all bytes of an image, where it is known."""
        return self._now[key].whole if key in self._now else None

    def save(self) -> None:
        """Write the cache, where anything is new; a folder that cannot take it goes without."""
        if self._now != self._before:
            keep_stamps(self._folder, self._now)
            self._before = dict(self._now)


def stamp_at(path: str | Path) -> Stamp | None:
    """Read the stamp of a file; None where it is not there."""
    try:
        facts = os.stat(path)  # noqa: PTH116 (a Path for each of 50,000 files takes longer than the question)
    except (OSError, ValueError):
        return None
    return facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino


def load_stamps(folder: Path) -> dict[str, Known]:
    """Read the cache, by key."""
    try:
        table = pq.read_table(folder / STAMPS, page_checksum_verification=True)
        columns = [table[name].to_pylist() for name in SCHEMA.names]
    except (OSError, pa.ArrowException, KeyError, ValueError):
        return {}
    return {key: Known((a, b, c, d), content, whole) for key, content, whole, a, b, c, d in zip(*columns)}


def keep_stamps(folder: Path, known: dict[str, Known]) -> None:
    """Write the cache."""
    rows = [(key, one.content, one.whole, *one.stamp) for key, one in known.items()]
    columns = list(zip(*rows)) or [()] * len(SCHEMA)
    table = pa.Table.from_arrays([pa.array(column, one.type) for one, column in zip(SCHEMA, columns)], schema=SCHEMA)
    with contextlib.suppress(OSError), replacing(folder / STAMPS) as part:
        pq.write_table(table, part, write_page_checksum=True)
