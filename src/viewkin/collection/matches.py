"""What a search finds, as a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from typing import overload

import pyarrow as pa

from viewkin.runtime.tables import html_table, text_table

SHOWN = 50
"""Lines that a table shows of itself."""


@dataclass(frozen=True)
class Match:
    """An image that was found."""

    query: str
    """Key or path of the query, or several joined."""
    rank: int
    """Place among what was found for the query, from 1."""
    similarity: float
    """Cosine of the two vectors, -1 to 1."""
    key: str
    """Key of the image in the collection."""
    path: str | None
    """Absolute path of the file that holds it; None for images in memory."""
    split: str | None
    """Its split."""
    label: int | None
    """Number of its class."""
    class_name: str | None
    """Name of its class."""
    width: int | None
    """Width, pixels."""
    height: int | None
    """Height, pixels."""


NAMES = [one.name for one in fields(Match)]
TYPES = [
    *(pa.string(), pa.int64(), pa.float64(), pa.string(), pa.string()),
    *(pa.string(), pa.int64(), pa.string(), pa.int64(), pa.int64()),
]


class Matches(Sequence[Match]):
    """What a search found: the matches of the first query by falling similarity, then those of the next."""

    def __init__(self, matches: Sequence[Match], notes: Sequence[str] = ()) -> None:
        """Take matches, and sentences on how they were found."""
        self._matches = tuple(matches)
        self.notes: tuple[str, ...] = tuple(notes)
        """Plain sentences on how they were found."""

    @overload
    def __getitem__(self, place: int) -> Match: ...
    @overload
    def __getitem__(self, place: slice) -> Matches: ...
    def __getitem__(self, place: int | slice) -> Match | Matches:
        """Give one match, or some."""
        return Matches(self._matches[place], self.notes) if isinstance(place, slice) else self._matches[place]

    def __len__(self) -> int:
        """Count the matches."""
        return len(self._matches)

    def __iter__(self) -> Iterator[Match]:
        """Go through them."""
        return iter(self._matches)

    @property
    def keys(self) -> list[str]:
        """Key of each."""
        return [match.key for match in self]

    @property
    def queries(self) -> dict[str, list[Match]]:
        """The matches of each query, by its name."""
        found: dict[str, list[Match]] = {}
        for match in self:
            found.setdefault(match.query, []).append(match)
        return found

    def table(self) -> pa.Table:
        """Give them as a table of Arrow, a row a match, with the fields of :class:`Match`."""
        columns = zip(*(asdict(match).values() for match in self)) if len(self) else [()] * len(NAMES)
        arrays = [pa.array(column, kind) for column, kind in zip(columns, TYPES)]
        return pa.Table.from_arrays(arrays, names=NAMES)

    def rows(self) -> tuple[list[str], list[list[str]]]:
        """Give header and cells for a person: columns that are empty everywhere are left out."""
        several = len(self.queries) > 1
        named = any(match.class_name is not None for match in self)
        labelled = named or any(match.label is not None for match in self)
        split = len({match.split for match in self}) > 1
        header = ["query"] * several + ["rank", "similarity", "key"] + ["class"] * labelled + ["split"] * split
        cells = [
            [match.query] * several
            + [str(match.rank), f"{match.similarity:.3f}", match.key]
            + [match.class_name or ("" if match.label is None else str(match.label))] * labelled
            + [match.split or ""] * split
            for match in self
        ]
        return header, cells

    def __repr__(self) -> str:
        header, cells = self[:SHOWN].rows()
        more = f"\n... {len(self) - SHOWN:,} more" * (len(self) > SHOWN)
        return (text_table(header, cells) if cells else "no matches") + more

    def _repr_html_(self) -> str:
        header, cells = self[:SHOWN].rows()
        return html_table(header, cells)
