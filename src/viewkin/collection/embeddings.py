"""Embeddings as Parquet: one row an image, ``id, path, label?, embedding``, readable by any table library."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from viewkin.runtime.errors import UserError
from viewkin.runtime.files import replacing

KEY = b"viewkin"
"""Schema metadata key of the JSON object that describes the file."""
ROWS = 65536
"""Rows of a row group: what one worker reads at a time."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Embeddings:
    """A file of embeddings in memory."""

    embeddings: Tensor
    """(N, D) float32."""
    keys: tuple[str, ...]
    """Path or row id of each image in its data set (column ``path``)."""
    index: Tensor
    """(N,) int64 position in the data set (column ``id``)."""
    labels: Tensor | None = None
    """(N,) int64, -1 where an image has none; None for a set without labels."""
    classes: tuple[str, ...] = ()
    """Class names by label, where known."""
    metadata: dict[str, Any] = field(default_factory=lambda: {})
    """What was written beside them: model, created (ISO time, UTC), normalised, and more."""
    notes: tuple[str, ...] = ()
    """Plain sentences on the images: what was chosen, what was left out. Not written."""

    def __len__(self) -> int:
        """Count the images, N."""
        return len(self.embeddings)

    def __repr__(self) -> str:
        """Say how many there are, of what, and from which model."""
        model = self.metadata.get("model", "")
        of = f" of {model}" if model else ""
        classes = f", {len(self.classes)} classes" if self.labels is not None else ""
        return f"Embeddings({len(self):,} images, {self.embeddings.shape[1]} numbers each{of}{classes})"

    def save(self, path: Path | str) -> None:
        """Write them as Parquet, whole or not at all.

        Raises:
            UserError: they are not finite, or the place cannot be written.
        """
        write_embeddings(path, self.embeddings, self.keys, self.labels, self.classes, self.metadata, index=self.index)


def write_embeddings(
    path: Path | str,
    embeddings: Tensor,
    keys: Sequence[str],
    labels: Tensor | None = None,
    classes: Sequence[str] = (),
    metadata: Mapping[str, Any] | None = None,
    *,
    index: Tensor | None = None,
) -> None:
    """Write embeddings in row groups, whole or not at all.

    Args:
        path: file to write; one that exists is replaced.
        embeddings: (N, D), any float type and device; stored as float32.
        keys: N paths or row keys.
        labels: (N,) integers, negative where an image has none.
        classes: class names by label.
        metadata: JSON values kept in the schema, such as ``model``; ``created`` and ``normalised`` are added.
        index: (N,) positions in the data set, by default 0..N-1.

    Raises:
        UserError: lengths that differ, embeddings that are not finite, or a place that cannot be written.
    """
    _check(embeddings, keys, labels, index)
    path = Path(path)
    index = torch.arange(len(keys)) if index is None else index.cpu()
    described = {"normalised": _normalised(embeddings), "created": datetime.now(UTC).isoformat(timespec="seconds")}
    described |= {**(metadata or {}), "classes": list(classes), "format": 1}
    schema = _schema(embeddings.shape[1], labels is not None, described)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as part, pq.ParquetWriter(part, schema, use_dictionary=False) as writer:
            for start in range(0, len(keys), ROWS):
                rows = slice(start, start + ROWS)
                columns = [pa.array(index[rows].numpy()), pa.array(list(keys[rows]), pa.string())]
                if labels is not None:
                    label = labels[rows].cpu().numpy()
                    columns.append(pa.array(label, pa.int64(), mask=label < 0))
                flat = pa.array(embeddings[rows].detach().to("cpu", torch.float32).contiguous().numpy().ravel())
                columns.append(pa.FixedSizeListArray.from_arrays(flat, embeddings.shape[1]))
                writer.write_table(pa.Table.from_arrays(columns, schema=schema))
    except OSError as error:
        raise UserError(f"cannot write {path} ({error.strerror or error}): choose a place you may write to.") from error


def read_schema(path: Path | str) -> pa.Schema:
    """Read the columns of a file that :func:`write_embeddings` wrote.

    Raises:
        UserError: it did not.
    """
    try:
        schema = pq.read_schema(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise UserError(f"cannot read {path}: it is no complete Parquet file.") from error
    _check_schema(path, schema)
    if KEY not in (schema.metadata or {}):
        raise UserError(f"{path} was not written by viewkin embed.")
    return schema


def read_embeddings(path: Path | str) -> Embeddings:
    """Read a file of embeddings.

    Raises:
        UserError: no such file, no Parquet file, or one with other columns.
    """
    try:
        table = pq.read_table(path)
    except OSError as error:
        raise UserError(f"cannot read {path} ({error.strerror or 'not a complete Parquet file'}).") from error
    except pa.ArrowException as error:
        raise UserError(f"{path} is not a Parquet file: give one that `viewkin embed` wrote.") from error
    _check_schema(path, table.schema)
    if any(table[name].null_count for name in ("id", "path", "embedding")):
        raise UserError(f"{path} has rows without id, path or embedding: write the embeddings again.")
    described = json.loads((table.schema.metadata or {}).get(KEY, b"{}"))
    width = table.schema.field("embedding").type.list_size
    blocks = [np.asarray(chunk.flatten()) for chunk in table["embedding"].chunks]
    flat = np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
    labels = table["label"].fill_null(-1).to_numpy() if "label" in table.column_names else None
    return Embeddings(
        embeddings=torch.from_numpy(flat.reshape(-1, width)),
        keys=tuple(table["path"].to_pylist()),
        index=torch.tensor(table["id"].to_numpy()),
        labels=None if labels is None else torch.tensor(labels, dtype=torch.int64),
        classes=tuple(described.pop("classes", ())),
        metadata=described,
    )


def _check(embeddings: Tensor, keys: Sequence[str], labels: Tensor | None, index: Tensor | None) -> None:
    """Refuse what would make a file that lies."""
    if embeddings.ndim != 2 or not embeddings.is_floating_point():
        raise UserError(f"embeddings must be (N, D) floats, not {tuple(embeddings.shape)} of {embeddings.dtype}.")
    for name, column in (("keys", keys), ("labels", labels), ("positions", index)):
        if column is not None and len(column) != len(embeddings):
            raise UserError(f"there are {len(embeddings)} embeddings but {len(column)} {name}: give one each.")
    if not bool(torch.isfinite(embeddings).all()):
        raise UserError("the embeddings hold NaN or infinity: the encoder has diverged, so there is nothing to write.")


def _check_schema(path: Path | str, schema: pa.Schema) -> None:
    """Refuse a file with other columns, naming those it has."""
    wanted: dict[str, Any] = {"id": pa.types.is_integer, "path": pa.types.is_string, "label": pa.types.is_integer}
    wanted["embedding"] = lambda kind: pa.types.is_fixed_size_list(kind) and kind.value_type == pa.float32()
    for name, fits in wanted.items():
        missing = name not in schema.names
        if (missing and name != "label") or (not missing and not fits(schema.field(name).type)):
            columns = ", ".join(f"{column.name} ({column.type})" for column in schema)
            raise UserError(
                f"{path} is not a file of embeddings: it needs id (integer), path (string), embedding (fixed-size list "
                f"of float32) and perhaps label (integer), but has {columns}."
            )


def _schema(width: int, labelled: bool, described: Mapping[str, Any]) -> pa.Schema:
    """Columns of the file."""
    fields = [pa.field("id", pa.int64()), pa.field("path", pa.string())]
    fields += [pa.field("label", pa.int64())] if labelled else []
    fields += [pa.field("embedding", pa.list_(pa.float32(), width))]
    return pa.schema(fields, metadata={KEY: json.dumps(described).encode()})


def _normalised(embeddings: Tensor) -> bool:
    """Whether every row has unit norm, to the precision of half floats."""
    return all(bool(((part.float().norm(dim=1) - 1).abs() < 2e-3).all()) for part in embeddings.split(ROWS))
