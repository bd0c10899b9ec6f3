"""Labels of a collection's images: those that it holds, or those of a file with a key and a label a row."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from viewkin.collection.reader import Reader
from viewkin.runtime.errors import UserError

KEYS, LABELS = ("key", "id", "path"), ("class_name", "label")
"""Columns that may name the image and its class; the first that is there counts."""


Labels: TypeAlias = Path | Mapping[str, str | int] | None
"""A file, labels by key, or None: the collection's own."""


def labels_of(reader: Reader, file: Labels = None) -> list[str | None]:
    """Give the label of each image as a text, None where it has none.

    Args:
        reader: the collection.
        file: CSV or Parquet with a column ``key`` and a column ``label`` or ``class_name``; labels by key; None: the
            collection's own.

    Raises:
        UserError: the file cannot be read, lacks a column, or names no image of the collection.
    """
    if file is None:
        return _texts(reader.rows.table)
    if isinstance(file, Mapping):
        return [None if (label := file.get(key)) is None else str(label) for key in reader.rows.keys]
    table = read_table(file)
    named = keys_in(table, file, reader)
    if not any(name in table.column_names for name in LABELS):
        raise UserError(f"{file} has no column label or class_name: name the column of the labels so.")
    labels: list[str | None] = [None] * len(reader)
    for row, label in zip(named, _texts(table)):
        if row is not None:
            labels[row] = label
    return labels


def keys_in(table: pa.Table, file: Path, reader: Reader) -> list[int | None]:
    """Find the row of the collection that each row of a file is about.

    Raises:
        UserError: there is no column of keys, or none of them is in the collection.
    """
    column = next((name for name in KEYS if name in table.column_names), None)
    if column is None:
        raise UserError(f"{file} has no column key: name the column so that holds the keys of the images.")
    row_of = reader.rows.row_of
    if column == "path":
        paths: list[str | None] = reader.table(vectors=False)["path"].to_pylist()
        row_of = {path: row for row, path in enumerate(paths) if path is not None}
    rows = [row_of.get(str(key)) for key in table[column].to_pylist()]
    if all(row is None for row in rows):
        raise UserError(f"{file} names no image of {reader.folder}: keys are such as {reader.rows.keys[0]}.")
    return rows


def read_table(file: Path) -> pa.Table:
    """Read a table.

    Raises:
        UserError: it is not there, or neither CSV nor Parquet.
    """
    if not file.is_file():
        raise UserError(f"There is no file {file}: give a CSV or Parquet file with a column key.")
    try:
        return pq.read_table(file) if file.suffix.lower() == ".parquet" else pa_csv.read_csv(file)
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{file} cannot be read as CSV or Parquet: write it with a header and a column key.") from error


def _texts(table: pa.Table) -> list[str | None]:
    """Take the class names, and the numbers where there is no name; an empty text is none."""
    columns = [table[name].to_pylist() for name in LABELS if name in table.column_names]
    values = [next((value for value in several if value not in (None, "")), None) for several in zip(*columns)]
    return [None if value is None else str(value) for value in values]


def numbered(labels: list[str | None]) -> tuple[list[int], list[str]]:
    """Number labels by their sorted names, -1 where there is none."""
    names = sorted({label for label in labels if label is not None})
    number = {name: i for i, name in enumerate(names)}
    return [-1 if label is None else number[label] for label in labels], names
