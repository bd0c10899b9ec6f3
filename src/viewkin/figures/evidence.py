"""Tables in a run directory: the positives and negatives that its method chose, and how it assigned parts of images.

``evidence.parquet`` has one row per anchor and kind of related images:

=============  =======================  =====================================================================
anchor         int64                    position of the anchor in the set that was trained on
path           string                   path or row id of the anchor
what           string                   ``term/what``: ``interclr/positives``, ``invp/hop1``; negatives if the second
                                        part begins with ``negatives``, else positives
image          list of int64            positions of the related images, in the method's order, 64 at most
similarity     list of float32, null    cosine of each to the anchor in the method's memory; null without a memory
=============  =======================  =====================================================================

``assignments.parquet`` has one row per anchor and feature map: anchor, path, what (``amdim/7``), height and width
(int32), and component (list of int16, row by row): the mixture component that each part is assigned to.

The schema of both has under ``viewkin`` a JSON object: run, step, and images (the size of the set).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from viewkin.runtime.errors import UserError
from viewkin.runtime.files import replacing

EVIDENCE_FILE, ASSIGNMENTS_FILE = "evidence.parquet", "assignments.parquet"
MAX_IMAGES = 64
"""Maximum number of related images per row."""
KEY = b"viewkin"
EVIDENCE = pa.schema(
    [
        ("anchor", pa.int64()),
        ("path", pa.string()),
        ("what", pa.string()),
        ("image", pa.list_(pa.int64())),
        ("similarity", pa.list_(pa.float32())),
    ]
)
ASSIGNMENTS = pa.schema(
    [
        ("anchor", pa.int64()),
        ("path", pa.string()),
        ("what", pa.string()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("component", pa.list_(pa.int16())),
    ]
)


@dataclass(frozen=True)
class RelatedImages:
    """The images that one term related to an anchor, as positives or as negatives."""

    anchor: int
    """Position in the set."""
    path: str
    """Path or row id."""
    what: str
    """``term/what``."""
    images: tuple[int, ...]
    """Positions of the related images."""
    similarities: tuple[float, ...] | None = None
    """Cosine of each to the anchor."""

    @property
    def negatives(self) -> bool:
        """Whether the images are negatives."""
        return self.what.rpartition("/")[2].startswith("negatives")


@dataclass(frozen=True)
class PartAssignments:
    """The mixture components that the parts of one anchor are assigned to."""

    anchor: int
    path: str
    what: str
    components: Tensor
    """(h, w) int64."""


def write_related(path: Path, related: Sequence[RelatedImages], about: Mapping[str, Any]) -> None:
    """Write ``evidence.parquet`` atomically."""
    columns = [
        [row.anchor for row in related],
        [row.path for row in related],
        [row.what for row in related],
        [list(row.images) for row in related],
        [None if row.similarities is None else list(row.similarities) for row in related],
    ]
    _write(path, columns, EVIDENCE, about)


def write_assignments(path: Path, assignments: Sequence[PartAssignments], about: Mapping[str, Any]) -> None:
    """Write ``assignments.parquet`` atomically."""
    columns = [
        [row.anchor for row in assignments],
        [row.path for row in assignments],
        [row.what for row in assignments],
        [row.components.shape[0] for row in assignments],
        [row.components.shape[1] for row in assignments],
        [row.components.flatten().tolist() for row in assignments],
    ]
    _write(path, columns, ASSIGNMENTS, about)


def read_related(path: Path) -> list[RelatedImages]:
    """Read ``evidence.parquet``.

    Raises:
        UserError: the file is missing, or is something else.
    """
    return [
        RelatedImages(
            anchor=row["anchor"],
            path=row["path"],
            what=row["what"],
            images=tuple(row["image"]),
            similarities=None if row["similarity"] is None else tuple(row["similarity"]),
        )
        for row in _rows(path, EVIDENCE)
    ]


def read_assignments(path: Path) -> list[PartAssignments]:
    """Read ``assignments.parquet``.

    Raises:
        UserError: the file is missing, or is something else.
    """
    return [
        PartAssignments(
            row["anchor"], row["path"], row["what"], torch.tensor(row["component"]).view(row["height"], row["width"])
        )
        for row in _rows(path, ASSIGNMENTS)
    ]


def _write(path: Path, columns: Sequence[Sequence[Any]], schema: pa.Schema, about: Mapping[str, Any]) -> None:
    schema = schema.with_metadata({KEY: json.dumps(dict(about)).encode()})
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema)]
    with replacing(path) as part:
        pq.write_table(pa.Table.from_arrays(arrays, schema=schema), part, write_page_checksum=True)


def _rows(path: Path, schema: pa.Schema) -> list[dict[str, Any]]:
    try:
        table = pq.read_table(path, page_checksum_verification=True)
        table.validate(full=True)  # texts that are no UTF-8
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path} cannot be read; train the run again, or restore it from a copy.") from error
    if not table.schema.equals(schema):
        raise UserError(f"{path} has other columns than {', '.join(schema.names)}; it is another version's.")
    rows = table.to_pylist()
    if not all(_is_complete(row) for row in rows):
        raise UserError(f"{path} is damaged: a row lacks a value; train the run again, or restore it from a copy.")
    return rows


def _is_complete(row: Mapping[str, Any]) -> bool:
    """Whether a row has every value but the similarities, which may be missing as a whole."""
    if any(value is None for name, value in row.items() if name != "similarity"):
        return False
    if any(None in value for value in row.values() if isinstance(value, list)):
        return False
    if "component" in row:
        return min(row["height"], row["width"]) > 0 and row["height"] * row["width"] == len(row["component"])
    return row["similarity"] is None or len(row["similarity"]) == len(row["image"])
