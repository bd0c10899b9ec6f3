"""List the images of a collection that are like few others."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from pathlib import Path

from viewkin.collection.findings import Findings, findings, joined
from viewkin.collection.outliers import K, outliers
from viewkin.commands.finding_files import check_finding_file, opened_collection, write_findings
from viewkin.runtime.errors import require
from viewkin.runtime.wording import counted

SHARE = 0.01
"""Share of the images that are listed where no number is given."""
LEAST = 10
"""Images that are listed at least."""
NEIGHBOURS = 5
"""Neighbours that are shown of each."""


@dataclass(frozen=True, kw_only=True)
class OutliersRequest:
    """Which images to look for."""

    collection: Path
    """Folder of the collection."""
    count: int | None = None
    """Images to list; None: one in a hundred, ten at least."""
    k: int = K
    """Neighbour that the distance is measured to."""
    out: Path | None = None
    """File to write: .csv, .parquet or .json; None: no file."""


def list_outliers(request: OutliersRequest) -> Findings:
    """List the images with the largest distance to their k-th nearest, with the nearest.

    Raises:
        UserError: no collection, a number below 1, or a file that cannot be written.
    """
    require(request.k >= 1, "-k", request.k, "at least 1")
    require(request.count is None or request.count >= 1, "-n", request.count, "at least 1")
    check_finding_file(request.out)
    reader = opened_collection(request.collection)
    measured = outliers(reader.vectors, request.k)
    keys = reader.rows.keys
    count = request.count or max(LEAST, ceil(SHARE * len(keys)))
    rows = measured.order[:count].tolist()
    columns = {
        "rank": list(range(1, len(rows) + 1)),
        "distance": [float(measured.distance[row]) for row in rows],
        "neighbours": [joined([keys[other] for other in measured.neighbours[row][:NEIGHBOURS]]) for row in rows],
    }
    usual = float(sorted(measured.distance.tolist())[len(keys) // 2])
    k = measured.neighbours.shape[1]
    note = (
        f"{counted(len(rows), 'image')} of {len(keys):,}, by the distance to the {k}{ordinal(k)} nearest "
        f"(one minus the cosine; half of all images have {usual:.3f} or less)."
    )
    found = findings(reader, rows, columns, [note], ("rank", "distance", "key", "neighbours"))
    write_findings(request.out, found)
    return found


def ordinal(number: int) -> str:
    """Give the ending of an ordinal number: st, nd, rd or th."""
    return "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
