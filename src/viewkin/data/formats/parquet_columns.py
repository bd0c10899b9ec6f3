"""What the columns of an image Parquet say of its images: which one holds them, labels, class names, identities."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from viewkin.runtime.errors import UserError

IMAGE_COLUMNS = ("image", "img")
"""Names of the image column, in order of preference."""
MOST_CLASSES = 10**6
"""Whole numbers from here on are names of classes, such as bar codes, and no count of them."""


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
    elsewhere = [distinct(other) for other in map(label_column, others) if other is not None]
    values = sorted(value for value in own.union(*elsewhere) if type(value) is kind)
    if kind is int and values[-1] < max(MOST_CLASSES, len(names)):
        labels = torch.from_numpy(column.cast(pa.int64()).fill_null(-1).to_numpy().copy()).clamp(min=-1)
        top = int(labels.max())
        return labels, names if len(names) > top else tuple(map(str, range(top + 1))), []
    number = {value: label for label, value in enumerate(values)}
    labels = torch.tensor([number.get(value, -1) for value in column.to_pylist()])
    note = f"Labels go up to {values[-1]}, so the {len(values):,} that occur are numbered from 0 in their order."
    return labels, tuple(map(str, values)), [note] if kind is int else []


def read_names(table: pa.Table, column: str) -> list[str]:
    """Read what each row calls itself: its ``name``, else its image's path; [] unless all have one and they differ."""
    names: list[Any] = []
    if "name" in table.column_names:
        names = table["name"].to_pylist()
    elif column in table.column_names:
        names = [image.get("path") if image else None for image in table[column].to_pylist()]
    if names and all(names) and len(set(names)) == len(names):
        return [str(name) for name in names]
    return []


def columns_of_facts(schema: pa.Schema) -> list[str]:
    """Name the columns that say something about the images, without the images."""
    wanted = [name for name in ("label", "name") if name in schema.names]
    for name in IMAGE_COLUMNS:
        kind = schema.field(name).type if name in schema.names else None
        if kind is not None and pa.types.is_struct(kind) and kind.get_field_index("path") >= 0:
            wanted.append(f"{name}.path")  # a leaf of a struct is read by its dotted name
    return wanted


@dataclass(frozen=True)
class FileFacts:
    """What one Parquet file says without its images."""

    schema: pa.Schema
    """Columns and metadata."""
    group_rows: list[int]
    """Rows of each row group."""
    table: pa.Table
    """The columns about the images that the file has."""
    empty: dict[str, int]
    """Image column to how many rows of it hold no image, as far as the file's statistics say."""

    @property
    def rows(self) -> int:
        """Rows in all."""
        return sum(self.group_rows)


def read_facts(path: Path) -> FileFacts:
    """Open a Parquet file once and read all but its images; raises OSError or ArrowException where it is damaged."""
    with pq.ParquetFile(path) as parquet:
        schema, metadata = parquet.schema_arrow, parquet.metadata
        group_rows = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
        table = parquet.read(columns=columns_of_facts(schema))
    return FileFacts(schema, group_rows, table, {name: null_rows(metadata, name) for name in IMAGE_COLUMNS})


def null_rows(metadata: pq.FileMetaData, column: str) -> int:
    """Count the rows without bytes in an image column by the file's statistics; 0 where it keeps none."""
    count = 0
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        for leaf in map(group.column, range(group.num_columns)):
            if leaf.path_in_schema in (column, f"{column}.bytes") and leaf.statistics is not None:
                count += leaf.statistics.null_count or 0
    return count
