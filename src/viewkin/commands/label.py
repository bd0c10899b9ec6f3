"""Pass a few labels on to all images of a collection."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from viewkin.collection.findings import Findings, findings
from viewkin.collection.label_column import Labels, labels_of, numbered
from viewkin.collection.propagation import K, propagated
from viewkin.commands.finding_files import check_finding_file, opened_collection, write_findings
from viewkin.runtime.errors import UserError, require


@dataclass(frozen=True, kw_only=True)
class LabelRequest:
    """Which labels to pass on."""

    collection: Path
    """Folder of the collection."""
    labels: Labels = None
    """CSV or Parquet with the columns ``key`` and ``label``; labels by key; None: the collection's own labels."""
    least_confidence: float = 0.0
    """Confidence below which an image gets no label, 0 to 1."""
    k: int = K
    """Labelled images that vote."""
    out: Path | None = None
    """File to write: .csv, .parquet or .json; None: no file."""


def label_images(request: LabelRequest) -> Findings:
    """Give each image the label of the labelled ones nearest to it, or none where that is too uncertain.

    Raises:
        UserError: no collection, no label, a number out of range, or a file that cannot be read or written.
    """
    require(request.k >= 1, "-k", request.k, "at least 1")
    least = request.least_confidence
    require(0 <= least <= 1, "--least-confidence", least, "0 to 1")
    check_finding_file(request.out)
    reader = opened_collection(request.collection)
    numbers, names = numbered(labels_of(reader, request.labels))
    if not names:
        raise UserError(f"No image of {reader.folder} has a label: name a file of labels with --labels.")
    given = np.array(numbers, dtype=np.int64)
    number, confidence = propagated(reader.vectors, given, request.k)
    sure = confidence >= least
    columns = {
        "predicted": [names[one] if kept else None for one, kept in zip(number.tolist(), sure.tolist())],
        "confidence": confidence.tolist(),
        "given": [names[one] if one >= 0 else None for one in numbers],
    }
    asked = given < 0
    labelled = int((asked & sure).sum())
    notes = [
        f"{int((~asked).sum()):,} images had a label. {labelled:,} of the other {int(asked.sum()):,} have one now"
        + (f"; the rest are less certain than {least:g}." if labelled < int(asked.sum()) else ".")
    ]
    found = findings(reader, list(range(len(reader))), columns, notes, ("key", "predicted", "confidence", "given"))
    write_findings(request.out, found)
    return found
