"""What was found out about the images of a collection, as a table: a row an image, with sentences on how."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from viewkin.collection.reader import Reader
from viewkin.runtime.tables import html_table, text_table

SHOWN = 50
"""Lines that a table shows of itself."""
OF_IMAGE = ("key", "path", "split", "width", "height", "size", "label", "class_name")
"""Columns that say which image a row is about."""
TYPES = {
    **dict.fromkeys(("group", "rank", "cluster", "agreeing"), pa.int64()),
    **dict.fromkeys(("likeness", "distance", "similarity", "score", "value", "limit", "confidence"), pa.float64()),
    "keep": pa.bool_(),
}
"""Types of the columns that are no text, so that a table without rows has them too."""
UNSEEN = ("path", "split", "label", "width", "height", "size", "class_name")
"""Columns that are in a file, and that a person sees only where a command names them."""


class Findings:
    """A table of findings. Iterating gives a dict a row."""

    def __init__(self, table: pa.Table, notes: Sequence[str] = (), shown: Sequence[str] = ()) -> None:
        """Take a table.

        Args:
            table: a row a finding.
            notes: plain sentences on how it was found.
            shown: columns that a person sees; none: all but :data:`UNSEEN`.
        """
        self._table = table
        self.notes: tuple[str, ...] = tuple(notes)
        """Plain sentences on how it was found."""
        self.shown: tuple[str, ...] = tuple(shown) or tuple(n for n in table.column_names if n not in UNSEEN)
        """Columns that a person sees."""

    def __len__(self) -> int:
        """Count the rows."""
        return self._table.num_rows

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Go through the rows."""
        return iter(self._table.to_pylist())

    def __getitem__(self, column: str) -> list[Any]:
        """Give a column."""
        return self._table[column].to_pylist()

    @property
    def keys(self) -> list[str]:
        """Key of each row's image."""
        return self["key"]

    def table(self) -> pa.Table:
        """Give the table of Arrow."""
        return self._table

    def cells(self, most: int | None = None) -> tuple[list[str], list[list[str]]]:
        """Give header and cells for a person, of the first rows."""
        some = self._table.select(self.shown).slice(0, most)
        return list(self.shown), [[cell(value) for value in row.values()] for row in some.to_pylist()]

    def __repr__(self) -> str:
        header, cells = self.cells(SHOWN)
        more = f"\n... {len(self) - SHOWN:,} more" * (len(self) > SHOWN)
        return (text_table(header, cells) if cells else "nothing found") + more

    def _repr_html_(self) -> str:
        return html_table(*self.cells(SHOWN))


def cell(value: Any) -> str:
    """Write a value for a person."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def findings(
    reader: Reader,
    rows: Sequence[int] | NDArray[np.int64],
    columns: Mapping[str, Any],
    notes: Sequence[str] = (),
    shown: Sequence[str] = (),
) -> Findings:
    """Make a table: what was found first, then which image it is about.

    Args:
        reader: the collection.
        rows: row of the image of each finding.
        columns: name to one value a finding.
        notes: plain sentences.
        shown: columns that a person sees; none: all that are found, and the key.
    """
    images = reader.table(vectors=False).select(OF_IMAGE).take(pa.array(np.asarray(rows, dtype=np.int64)))
    found = {name: pa.array(column, TYPES.get(name, pa.string())) for name, column in columns.items()}
    arrays = {**found, **{name: images[name] for name in OF_IMAGE if name not in found}}
    return Findings(pa.table(arrays), notes, shown or ("key", *columns))


def joined(names: Sequence[str]) -> str:
    """Join keys in one cell."""
    return " | ".join(names)
