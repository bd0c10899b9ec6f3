"""Hugging Face image Parquet: one image a row, as bytes or as a struct of bytes and path."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from secrets import token_hex
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from viewkin.data.cache import Stamp, key_of, stamp_of
from viewkin.data.formats.parquet_columns import (
    class_groups,
    class_names,
    image_column,
    read_columns,
    read_facts,
    read_ids,
    read_labels,
)
from viewkin.data.listing import Listing, evenly, openable_splits
from viewkin.runtime.errors import UserError

SPLITS = ("train", "test", "val")
"""What a file's name holds that belongs to a split; ``val`` also finds ``validation``."""


@dataclass
class Rows:
    """The image column of some Parquet files, by row over all files.

    It reads one row group at a time and keeps the last two, which suits reading in order.
    """

    files: list[Path]
    """Parquet files, in order."""
    column: str
    """The image column."""
    groups: list[tuple[int, int, int]]
    """(file, row group, first row) of every row group."""
    total: int
    """Rows."""
    _held: dict[int, pa.ChunkedArray] = field(default_factory=dict[int, Any])
    _lock: Lock = field(default_factory=Lock)

    def __len__(self) -> int:
        """Count the rows."""
        return self.total

    def open(self, position: int) -> BytesIO:
        """Give one row's bytes as a stream; an empty one where the row is null."""
        group = int(np.searchsorted([first for _, _, first in self.groups], position, side="right")) - 1
        return stream_of(self._group(group)[position - self.groups[group][2]])

    def _group(self, group: int) -> pa.ChunkedArray:
        """Read a row group's image column, unless it is one of the last two."""
        with self._lock:
            if group not in self._held:
                while len(self._held) > 1:
                    self._held.pop(next(iter(self._held)))
                file, number, _ = self.groups[group]
                with pq.ParquetFile(self.files[file]) as parquet:
                    self._held[group] = parquet.read_row_group(number, columns=[self.column])[self.column]
            return self._held[group]

    def sample(self, count: int) -> list[int]:
        """Choose ``count`` rows from up to eight row groups."""
        chosen = evenly(len(self.groups), 8)
        ends = [*(first for _, _, first in self.groups[1:]), self.total]
        starts = [(self.groups[g][2], ends[g]) for g in chosen]
        each = -(-count // len(starts))
        return [first + i for first, end in starts for i in evenly(end - first, each)]

    def stamps(self) -> list[Stamp]:
        """Give the stamp of each file, named with the column."""
        return [stamp_of(f"{path.name}#{self.column}", path) for path in self.files]

    def random_access(self, folder: Path) -> Packed:
        """Unpack the column into an Arrow file of the cache, which can be read in any order.

        Raises:
            UserError: the cache folder cannot take it.
        """
        path = folder / f"{key_of(self.stamps(), 0)}.arrow"
        part = path.with_suffix(f".{token_hex(4)}.part")
        try:
            if not path.exists():
                folder.mkdir(parents=True, exist_ok=True)
                self._unpack(part)
                part.replace(path)
        except OSError as error:
            raise UserError(
                f"{folder} cannot take the unpacked Parquet images ({error}): name a writable cache folder by "
                "VIEWKIN_CACHE, or raise the memory limit."
            ) from error
        finally:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
        return Packed(path)

    def _unpack(self, target: Path) -> None:
        kind = pa.large_binary()
        with pa.OSFile(str(target), "wb") as file, pa.ipc.new_file(file, pa.schema([("bytes", kind)])) as writer:
            for group in range(len(self.groups)):
                rows = [stream_of(row).getvalue() for row in self._group(group)]
                writer.write_batch(pa.record_batch([pa.array(rows, kind)], names=["bytes"]))


class Packed:
    """The encoded images of an Arrow file, memory-mapped: any row at the cost of reading it."""

    def __init__(self, path: Path) -> None:
        with pa.memory_map(str(path)) as file:
            self._bytes = pa.ipc.open_file(file).read_all()["bytes"]

    def open(self, position: int) -> BytesIO:
        """Give one row's bytes as a stream."""
        return BytesIO(self._bytes[position].as_py())


def stream_of(cell: pa.Scalar) -> BytesIO:
    """Take the bytes out of a cell of either kind."""
    value = cell.as_py()
    return BytesIO((value.get("bytes") if isinstance(value, dict) else value) or b"")


def parquet_files(path: Path) -> list[Path]:
    """List the Parquet files that a path names: the file, or those of the folder or of its ``data`` subfolder."""
    if path.is_file():
        return [path]
    return sorted(path.glob("*.parquet")) or sorted((path / "data").glob("*.parquet"))


def files_by_split(files: Sequence[Path]) -> dict[str, list[Path]]:
    """Sort files into splits by their names; a name without one belongs to train."""
    found: dict[str, list[Path]] = {}
    for path in files:
        split = next((s for s in SPLITS if s in path.stem.lower()), "train")
        found.setdefault(split, []).append(path)
    return found


def choose_files(path: Path, split: str) -> tuple[list[Path], tuple[str, ...], list[str]]:
    """Pick the files of a split: (files, splits there are, notes).

    Raises:
        UserError: there is no such split.
    """
    files = parquet_files(path)
    found = {"train": files} if path.is_file() else files_by_split(files)
    splits = tuple(found)
    if split in found:
        return found[split], splits, []
    if split == "test" and "val" in found:
        return found["val"], splits, [f"{path} has no test file, so its val file stands in."]
    raise UserError(
        f"{path} has no {split} split, only {', '.join(splits)}: give a folder with a *{split}*.parquet file, "
        "or set part of the images aside with --holdout."
    )


def row_groups(files: list[Path]) -> tuple[list[tuple[int, int, int]], int]:
    """Find every row group that holds rows: (file, group, first row), and the number of rows."""
    groups: list[tuple[int, int, int]] = []
    total = 0
    for number, path in enumerate(files):
        metadata = pq.read_metadata(path)
        for group in range(metadata.num_row_groups):
            if rows := metadata.row_group(group).num_rows:
                groups.append((number, group, total))
                total += rows
    return groups, total


def list_parquet(path: Path, split: str) -> Listing:
    """List the images of one split of a Parquet file or folder.

    Raises:
        UserError: no such split, not a Parquet file, no image column, or no rows.
    """
    files, splits, notes = choose_files(path, split)
    try:
        schema = pq.read_schema(files[0])
        column = image_column(files[0], schema)
        groups, total = row_groups(files)
        table = read_facts(files, column, schema)
        others = [read_columns(file, ("label",)) for file in set(parquet_files(path)) - set(files)]
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path} cannot be read as Parquet ({str(error).splitlines()[0]}): fetch it again.") from error
    if total == 0:
        raise UserError(f"{path} holds no rows; give a Parquet file with at least 2 images.")
    labels, classes, more = read_labels(table, others, class_names(schema))
    return Listing(
        name=path.stem,
        encoded=Rows(files, column, groups, total),
        ids=read_ids(table, column) if table.num_columns else [str(i) for i in range(total)],
        labels=labels,
        classes=classes,
        splits=openable_splits(splits),
        notes=notes + more,
        groups=class_groups(schema) if labels is not None else {},
    )
