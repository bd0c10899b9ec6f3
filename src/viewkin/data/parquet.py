"""Hugging Face image Parquet: one image a row, as bytes or as a struct of bytes and path."""

from __future__ import annotations

import contextlib
import json
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
import torch
from torch import Tensor

from viewkin.data.cache import Stamp, key_of, stamp_of
from viewkin.data.listing import Listing, evenly, openable_splits
from viewkin.errors import UserError

IMAGE_COLUMNS = ("image", "img")
"""Names of the image column, in order of preference."""
SPLITS = ("train", "test", "val")
"""What a file's name holds that belongs to a split; ``val`` also finds ``validation``."""
MOST_CLASSES = 10**6
"""Whole numbers from here on are names of classes, such as bar codes, and no count of them."""


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


def image_column(path: Path, schema: pa.Schema) -> str:
    """Find the column of images: bytes, or a struct with a field of bytes.

    Raises:
        UserError: there is none.
    """
    for name in IMAGE_COLUMNS:
        if name in schema.names:
            kind = schema.field(name).type
            if pa.types.is_struct(kind):
                kind = kind.field("bytes").type if kind.get_field_index("bytes") >= 0 else kind
            if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
                return name
    raise UserError(
        f"{path} has no column 'image' of encoded images, one a row; its columns are {', '.join(schema.names)}."
    )


def class_names(schema: pa.Schema) -> tuple[str, ...]:
    """Read class names from the schema's metadata, in either of the two common places; () without."""
    metadata = schema.metadata or {}
    try:
        if b"class_names" in metadata:
            return tuple(map(str, json.loads(metadata[b"class_names"])))
        features = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
        return tuple(map(str, features["label"]["names"]))
    except (ValueError, KeyError, TypeError):
        return ()


def class_groups(schema: pa.Schema) -> dict[str, tuple[int, ...]]:
    """Read from the schema's ``class_split``, one name a label, which labels each name has; {} without."""
    try:
        split: list[str] = json.loads((schema.metadata or {})[b"class_split"])
        return {str(name): tuple(i for i, own in enumerate(split) if own == name) for name in dict.fromkeys(split)}
    except (ValueError, KeyError, TypeError):
        return {}


def label_column(table: pa.Table) -> pa.ChunkedArray | None:
    """Find the column of labels, a dictionary written out: whole numbers, truth values or texts; None without."""
    if "label" not in table.column_names:
        return None
    column = table["label"]
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    types = pa.types
    known = (types.is_integer, types.is_boolean, types.is_string, types.is_large_string, types.is_null)
    return column if any(is_one(column.type) for is_one in known) else None


def distinct(column: pa.ChunkedArray) -> set[Any]:
    """Collect the values of a column of labels: null, negative numbers and empty texts are none."""
    return {v for v in column.unique().to_pylist() if (v != "" if isinstance(v, str) else v is not None and v >= 0)}


def read_labels(
    table: pa.Table, others: Sequence[pa.Table], names: tuple[str, ...]
) -> tuple[Tensor | None, tuple[str, ...], list[str]]:
    """Read the ``label`` column: labels, or None when no image has one; class names; notes.

    Whole numbers are labels as they are. Texts, truth values and numbers of MOST_CLASSES and more are numbered in their
    order over all splits, of which ``others`` are those not read.
    """
    column = label_column(table)
    if column is None and "label" in table.column_names:
        return None, (), [f"Labels must be whole numbers or texts; the column label holds {table['label'].type}."]
    own = set[Any]() if column is None else distinct(column)
    if column is None or not own:
        return None, (), []
    kind = type(next(iter(own)))
    found = [distinct(other) for other in map(label_column, others) if other is not None]
    values = sorted(value for value in own.union(*found) if type(value) is kind)
    if kind is int and values[-1] < max(MOST_CLASSES, len(names)):
        labels = torch.from_numpy(column.cast(pa.int64()).fill_null(-1).to_numpy().copy()).clamp(min=-1)
        top = int(labels.max())
        return labels, names if len(names) > top else tuple(map(str, range(top + 1))), []
    number = {value: label for label, value in enumerate(values)}
    labels = torch.tensor([number.get(value, -1) for value in column.to_pylist()])
    note = f"Labels go up to {values[-1]}, so the {len(values):,} that occur are numbered from 0 in their order."
    return labels, tuple(map(str, values)), [note] if kind is int else []


def read_ids(table: pa.Table, column: str) -> list[str]:
    """Name each row by its ``name``, else by its image's path, else by its number; names must differ."""
    names: list[Any] = []
    if "name" in table.column_names:
        names = table["name"].to_pylist()
    elif column in table.column_names:
        names = [image.get("path") if image else None for image in table[column].to_pylist()]
    if names and all(names) and len(set(names)) == len(names):
        return [str(name) for name in names]
    return [str(i) for i in range(table.num_rows)]


def read_facts(files: list[Path], column: str, schema: pa.Schema) -> pa.Table:
    """Read the columns that say something about the images, without the images."""
    wanted = [name for name in ("label", "name") if name in schema.names]
    kind = schema.field(column).type
    if pa.types.is_struct(kind) and kind.get_field_index("path") >= 0:
        wanted.append(f"{column}.path")
    return pa.concat_tables([read_columns(file, wanted) for file in files])


def read_columns(file: Path, wanted: Sequence[str]) -> pa.Table:
    """Read those columns of a file that it has."""
    # A leaf of a struct is read by its dotted name here, and not by pq.read_table.
    return pq.ParquetFile(file).read(columns=list(wanted))


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
