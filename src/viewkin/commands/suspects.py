"""List the labels of a collection that the other images contradict."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from viewkin.collection.findings import Findings, findings, joined
from viewkin.collection.label_column import Labels, labels_of, numbered
from viewkin.collection.suspects import K, suspects
from viewkin.commands.finding_files import check_finding_file, opened_collection, write_findings
from viewkin.runtime.errors import UserError, require


@dataclass(frozen=True, kw_only=True)
class SuspectsRequest:
    """Whose labels to look at."""

    collection: Path
    """Folder of the collection."""
    labels: Labels = None
    """CSV or Parquet with the columns ``key`` and ``label``; labels by key; None: the collection's own labels."""
    count: int | None = None
    """Images to list; None: all of which another class is more probable."""
    k: int = K
    """Neighbours that are shown."""
    out: Path | None = None
    """File to write: .csv, .parquet or .json; None: no file."""


def list_suspects(request: SuspectsRequest) -> Findings:
    """List doubtful labels, the most doubtful first, with the class that others speak for and the nearest images.

    Raises:
        UserError: no collection, fewer than two classes, or a file that cannot be read or written.
    """
    require(request.k >= 1, "-k", request.k, "at least 1")
    require(request.count is None or request.count >= 1, "-n", request.count, "at least 1")
    check_finding_file(request.out)
    reader = opened_collection(request.collection)
    numbers, names = numbered(labels_of(reader, request.labels))
    labels = np.array(numbers, dtype=np.int64)
    known = np.flatnonzero(labels >= 0)
    if len(names) < 2:
        raise UserError(f"{reader.folder} has labels of fewer than two classes: name a file of labels with --labels.")
    measured = suspects(reader.vectors[known], labels[known], request.k)
    doubtful = int(measured.contradicted.sum())
    order = [place for place in measured.order.tolist() if request.count is not None or measured.contradicted[place]]
    order = order[: request.count]
    keys = reader.rows.keys

    def evidence(place: int) -> str:
        near = known[measured.neighbours[place]]
        return joined([f"{keys[row]} ({names[labels[row]]})" for row in near[:5]])

    columns = {
        "rank": list(range(1, len(order) + 1)),
        "score": [float(measured.score[place]) for place in order],
        "given": [names[labels[known[place]]] for place in order],
        "suggested": [names[measured.suggested[place]] for place in order],
        "agreeing": [int(measured.agreeing[place]) for place in order],
        "neighbours": [evidence(place) for place in order],
    }
    k = measured.neighbours.shape[1]
    note = (
        f"Of {len(known):,} labelled images another class is more probable than the label for {doubtful:,}. Score: one "
        f"minus the probability of the label. Agreeing: how many of the {k} nearest have the same label."
    )
    found = findings(reader, known[order], columns, [note], ("rank", "score", "key", *list(columns)[2:]))
    write_findings(request.out, found)
    return found
