"""Columns that the points of a map are coloured by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from viewkin.collection.reader import Reader
from viewkin.runtime.errors import UserError

NUMBERS = ("width", "height", "size")
"""Columns of a collection that are numbers."""
SHOWN_NAMES = 500
"""Names of a column that the page is told; the others are together."""
OTHERS = "(others)"


def read_columns(path: Path, reader: Reader) -> dict[str, list[Any]]:
    """Read further columns of a CSV or Parquet file with a column ``key``, in the order of the rows.

    Raises:
        UserError: no such file, no column ``key``, or no key of the collection in it.
    """
    try:
        table: pa.Table = pa_csv.read_csv(path) if path.suffix.lower() == ".csv" else pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path} cannot be read as CSV or Parquet: name a file that viewkin wrote.") from error
    if "key" not in table.column_names:
        raise UserError(f"{path} has no column key, which says what image a row is about.")
    place = {str(key): row for row, key in enumerate(table["key"].to_pylist())}
    rows = [place.get(key) for key in reader.rows.keys]
    if all(row is None for row in rows):
        raise UserError(f"{path} names no image of {reader.folder} in its column key.")
    taken = [name for name in table.column_names if name not in ("key", "embedding") and _is_plain(table[name].type)]
    values = {name: table[name].to_pylist() for name in taken}
    return {name: [None if row is None else column[row] for row in rows] for name, column in values.items()}


def _is_plain(kind: pa.DataType) -> bool:
    types = pa.types
    return any(
        one(kind)
        for one in (types.is_string, types.is_large_string, types.is_integer, types.is_floating, types.is_boolean)
    )


def columns_of(reader: Reader) -> dict[str, list[Any]]:
    """Give the columns of a collection that tell images apart: class, folder, split, sizes."""
    table = reader.rows.table
    found: dict[str, list[Any]] = {}
    names, labels = table["class_name"].to_pylist(), table["label"].to_pylist()
    found["label"] = [label if name is None else name for name, label in zip(names, labels)]
    found["folder"] = [key.rpartition("/")[0] or "." for key in reader.rows.keys]
    found["top folder"] = [key.split("/")[0] if "/" in key else "." for key in reader.rows.keys]
    found |= {name: table[name].to_pylist() for name in ("split", *NUMBERS)}
    if found["top folder"] == found["folder"]:
        del found["top folder"]
    return {name: column for name, column in found.items() if len(set(column) - {None}) > 1}


def coloured(column: Sequence[Any]) -> dict[str, Any]:
    """Give a column as a page draws it.

    Returns:
        For numbers ``low``, ``high`` and ``values`` from 0 to 1; for names ``names``, most frequent first, ``counts``
        and ``values``, the place of each in ``names``. A missing value is -1.
    """
    if is_numbers(column):
        numbers = np.array([np.nan if one is None else float(one) for one in column])
        there = np.isfinite(numbers)
        low, high = float(numbers[there].min()), float(numbers[there].max())
        scaled = (numbers - low) / (high - low) if high > low else np.zeros_like(numbers)
        values = np.where(there, scaled, -1.0).round(4).tolist()
        return {"kind": "numbers", "low": low, "high": high, "values": values}
    counts = Counter(str(one) for one in column if one is not None)
    ranked = [name for name, _ in counts.most_common()]
    names = ranked if len(ranked) <= SHOWN_NAMES else [*ranked[: SHOWN_NAMES - 1], OTHERS]
    place = {name: min(rank, len(names) - 1) for rank, name in enumerate(ranked)}
    values = [-1 if one is None else place[str(one)] for one in column]
    of_name = [counts[name] for name in names]
    if len(names) < len(ranked):
        of_name[-1] = sum(counts[name] for name in ranked[SHOWN_NAMES - 1 :])
    return {"kind": "names", "names": names, "counts": of_name, "values": values}


def is_numbers(column: Sequence[Any]) -> bool:
    """Whether a column is drawn by a scale: it holds fractions, or more than 20 whole numbers."""
    values: set[Any] = {one for one in column if one is not None}
    if not values or not all(isinstance(one, int | float) and not isinstance(one, bool) for one in values):
        return False
    numbers = np.array([float(one) for one in values])
    numbers = numbers[np.isfinite(numbers)]
    return len(numbers) > 20 or bool((numbers != numbers.round()).any())
