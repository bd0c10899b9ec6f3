"""List pictures of poor quality in a collection: blurred, dark, bright, empty, of odd shape, tiny."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from viewkin.collection.findings import Findings, findings
from viewkin.collection.quality import ISSUES, issues_of
from viewkin.commands.finding_files import check_finding_file, opened_collection, write_findings
from viewkin.commands.stored_images import StoredImages
from viewkin.data.picture_quality import picture_quality
from viewkin.runtime.errors import require
from viewkin.runtime.wording import counted


@dataclass(frozen=True, kw_only=True)
class QualityRequest:
    """Which pictures to look at."""

    collection: Path
    """Folder of the collection."""
    only: Sequence[str] = ()
    """Names of :data:`viewkin.collection.quality.ISSUES`, with ``-`` or a space; none: all."""
    out: Path | None = None
    """File to write: .csv, .parquet or .json; None: no file."""


def quality(request: QualityRequest) -> Findings:
    """Measure every picture, and list what is wrong.

    Raises:
        UserError: no collection, an unknown issue, or a file that cannot be written.
    """
    wanted = [name.replace("-", " ") for name in request.only] or list(ISSUES)
    for name in wanted:
        require(name in ISSUES, "--only", name, f"one of {', '.join(ISSUES)}".replace(" information", "-information"))
    check_finding_file(request.out)
    reader = opened_collection(request.collection, least=1)
    look = partial(picture_quality, value_range=reader.manifest.value_range)
    seen = list(StoredImages(reader).each(range(len(reader)), look, "Looking at images"))
    table: Any = reader.rows.table
    width, height = (table[name].to_numpy().astype(np.float64) for name in ("width", "height"))
    issues = [one for one in issues_of(seen, width, height) if one.issue in wanted]
    columns = {
        "issue": [one.issue for one in issues],
        "value": [one.value for one in issues],
        "limit": [one.limit for one in issues],
    }
    unread = sum(one is None for one in seen)
    counts = {name: sum(one.issue == name for one in issues) for name in wanted}
    notes = [
        f"{counted(len({one.row for one in issues}), 'image')} of {len(reader):,}: "
        + ", ".join(f"{count:,} {name}" for name, count in counts.items())
        + "."
    ]
    if unread:
        notes.append(
            f"{counted(unread, 'image')} could not be read or are not where they were; only their size is judged."
        )
    found = findings(reader, [one.row for one in issues], columns, notes)
    write_findings(request.out, found)
    return found
