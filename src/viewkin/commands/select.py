"""Choose the images of a collection to label first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from viewkin.collection.findings import Findings, findings
from viewkin.collection.label_column import keys_in, labels_of, read_table
from viewkin.collection.reader import Reader
from viewkin.collection.selection import METHODS, selected
from viewkin.commands.finding_files import check_finding_file, opened_collection, write_findings
from viewkin.runtime.errors import UserError, require
from viewkin.runtime.wording import counted

OWN = "label"
"""Stands for the collection's own labels in the place of a file."""


@dataclass(frozen=True, kw_only=True)
class SelectRequest:
    """How many images to choose, and how."""

    collection: Path
    """Folder of the collection."""
    count: int
    """Images to choose."""
    labelled: str | Sequence[str] | None = None
    """CSV or Parquet whose column ``key`` names what is labelled, or keys; ``label``: images that have a label in the
    collection; None: nothing is labelled."""
    method: str = METHODS[0]
    """One of :data:`viewkin.collection.selection.METHODS`."""
    seed: int = 0
    """Of all draws."""
    out: Path | None = None
    """File to write: .csv, .parquet or .json; None: no file."""


def select(request: SelectRequest) -> Findings:
    """Choose images to label, the most useful first.

    Raises:
        UserError: no collection, fewer images than asked for, or a file that cannot be read or written.
    """
    require(request.method in METHODS, "--method", request.method, f"one of {', '.join(METHODS)}")
    check_finding_file(request.out)
    reader = opened_collection(request.collection)
    labelled = labelled_rows(reader, request.labelled)
    left = len(reader) - len(labelled)
    if not 1 <= request.count <= left:
        raise UserError(f"-n is {request.count}; {counted(left, 'image')} without a label can be chosen from.")
    rows = selected(reader.vectors, request.count, labelled, request.method, request.seed)
    columns = {"rank": list(range(1, len(rows) + 1))}
    how = {"typical": "the most typical of as many clusters", "k-centre": "each the farthest from all before it"}
    note = f"{counted(len(rows), 'image')} of {left:,} without a label: {how.get(request.method, 'at random')}."
    found = findings(reader, rows, columns, [note], ("rank", "key"))
    write_findings(request.out, found)
    return found


def labelled_rows(reader: Reader, labelled: str | Sequence[str] | None) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Find the rows that have a label.

    Raises:
        UserError: the file cannot be read, or names no image of the collection.
    """
    if labelled is None:
        return np.zeros(0, dtype=np.int64)
    if labelled == OWN:
        return np.array([row for row, one in enumerate(labels_of(reader)) if one is not None], dtype=np.int64)
    if not isinstance(labelled, str):
        unknown = [key for key in labelled if key not in reader.rows.row_of]
        if unknown:
            raise UserError(f"{unknown[0]} is no key of {reader.folder}: keys are such as {reader.rows.keys[0]}.")
        return np.array(sorted({reader.rows.row_of[key] for key in labelled}), dtype=np.int64)
    file = Path(labelled)
    rows = {row for row in keys_in(read_table(file), file, reader) if row is not None}
    return np.array(sorted(rows), dtype=np.int64)
