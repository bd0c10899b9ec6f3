"""What a method took for kin and for strangers, and how it divided images, as tables beside a run.

``evidence.parquet`` has one row an anchor and kind of find:

=============  =======================  =====================================================================
anchor         int64                    position of the anchor in the set that was trained on
path           string                   path or row id of the anchor
what           string                   ``term/what``: ``interclr/positives``, ``invp/hop1``; names whose second
                                        part begins with ``negatives`` are strangers, all others kin
image          list of int64            positions of the images found, in the method's order, 64 at most
similarity     list of float32, null    cosine of each to the anchor in the method's memory; null without one
=============  =======================  =====================================================================

``assignments.parquet`` has one row an anchor and map of a network: anchor, path, what (``amdim/7``), height and width
(int32), and component (list of int16, row by row): which component of the mixture answers for each part.

Both keep in their schema, under ``viewkin``, a JSON object: run, step, and images (the size of the set).
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

KIN_FILE, PARTS_FILE = "evidence.parquet", "assignments.parquet"
KEPT = 64
"""Most images that are kept of a find."""
KEY = b"viewkin"
KIN = pa.schema(
    [
        ("anchor", pa.int64()),
        ("path", pa.string()),
        ("what", pa.string()),
        ("image", pa.list_(pa.int64())),
        ("similarity", pa.list_(pa.float32())),
    ]
)
PARTS = pa.schema(
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
class Find:
    """What one term took for kin, or for strangers, of one anchor."""

    anchor: int
    """Position in the set."""
    path: str
    """Path or row id."""
    what: str
    """``term/what``."""
    images: tuple[int, ...]
    """Positions of the images found."""
    similarities: tuple[float, ...] | None = None
    """Cosine of each to the anchor."""

    @property
    def strangers(self) -> bool:
        """Whether these were taken for strangers."""
        return self.what.rpartition("/")[2].startswith("negatives")


@dataclass(frozen=True)
class Parts:
    """Components of one anchor's parts."""

    anchor: int
    path: str
    what: str
    components: Tensor
    """(h, w) int64."""


def write_finds(path: Path, finds: Sequence[Find], about: Mapping[str, Any]) -> None:
    """Write ``evidence.parquet``, whole or not at all."""
    columns = [
        [find.anchor for find in finds],
        [find.path for find in finds],
        [find.what for find in finds],
        [list(find.images) for find in finds],
        [None if find.similarities is None else list(find.similarities) for find in finds],
    ]
    _write(path, columns, KIN, about)


def write_parts(path: Path, parts: Sequence[Parts], about: Mapping[str, Any]) -> None:
    """Write ``assignments.parquet``, whole or not at all."""
    columns = [
        [part.anchor for part in parts],
        [part.path for part in parts],
        [part.what for part in parts],
        [part.components.shape[0] for part in parts],
        [part.components.shape[1] for part in parts],
        [part.components.flatten().tolist() for part in parts],
    ]
    _write(path, columns, PARTS, about)


def read_finds(path: Path) -> list[Find]:
    """Read ``evidence.parquet``.

    Raises:
        UserError: there is none, or it holds something else.
    """
    return [
        Find(
            anchor=row["anchor"],
            path=row["path"],
            what=row["what"],
            images=tuple(row["image"]),
            similarities=None if row["similarity"] is None else tuple(row["similarity"]),
        )
        for row in _rows(path, KIN)
    ]


def read_parts(path: Path) -> list[Parts]:
    """Read ``assignments.parquet``.

    Raises:
        UserError: there is none, or it holds something else.
    """
    return [
        Parts(row["anchor"], row["path"], row["what"], torch.tensor(row["component"]).view(row["height"], row["width"]))
        for row in _rows(path, PARTS)
    ]


def _write(path: Path, columns: Sequence[Sequence[Any]], schema: pa.Schema, about: Mapping[str, Any]) -> None:
    schema = schema.with_metadata({KEY: json.dumps(dict(about)).encode()})
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema)]
    with replacing(path) as part:
        pq.write_table(pa.Table.from_arrays(arrays, schema=schema), part)


def _rows(path: Path, schema: pa.Schema) -> list[dict[str, Any]]:
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path} cannot be read; train the run again, or restore it from a copy.") from error
    if not table.schema.equals(schema):
        raise UserError(f"{path} has other columns than {', '.join(schema.names)}; it is another version's.")
    return table.to_pylist()
