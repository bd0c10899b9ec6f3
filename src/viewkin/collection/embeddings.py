"""Embeddings as Parquet: a row an image, ``id, path, split?, label?, class_name?, embedding``, for any library."""

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

from viewkin.collection.plain_files import write_csv, write_npy
from viewkin.runtime.errors import UserError
from viewkin.runtime.files import replacing
from viewkin.runtime.json_text import read_json
from viewkin.runtime.wording import one_line

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
    splits: tuple[str, ...] = ()
    """Split of each image (column ``split``); empty in files of older versions."""
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
        return one_line(f"Embeddings({len(self):,} images, {self.embeddings.shape[1]} numbers each{of}{classes})")

    @property
    def class_names(self) -> list[str | None]:
        """Class name of each image (column ``class_name``); None where it has no label, or its label no name."""
        return named(self.labels, self.classes, len(self))

    def save(self, path: Path | str) -> None:
        """Write them, whole or not at all; the ending of the path chooses the format.

        ``.csv`` has the columns ``key, split, label, class_name, e0, e1, ...``. ``.npy`` is the matrix (N, D), and
        ``NAME.csv`` beside it has the other columns. All else is Parquet, the only one that :func:`read_embeddings`
        reads.

        Raises:
            UserError: they are not finite, or the place cannot be written.
        """
        path = Path(path)
        write = {".csv": write_csv, ".npy": write_npy}.get(path.suffix.lower())
        if write is None:
            rows, metadata = self.embeddings, self.metadata
            write_embeddings(
                path, rows, self.keys, self.labels, self.classes, metadata, index=self.index, splits=self.splits
            )
            return
        _check(self.embeddings, self.keys, self.labels, self.index, self.splits)
        labels = [None] * len(self) if self.labels is None else [i if i >= 0 else None for i in self.labels.tolist()]
        columns = {
            "key": pa.array(self.keys, pa.string()),
            "split": pa.array(self.splits or [None] * len(self), pa.string()),
            "label": pa.array(labels, pa.int64()),
            "class_name": pa.array(self.class_names, pa.string()),
        }
        write(path, self.embeddings.detach().to("cpu", torch.float32), pa.table(columns))


def write_embeddings(
    path: Path | str,
    embeddings: Tensor,
    keys: Sequence[str],
    labels: Tensor | None = None,
    classes: Sequence[str] = (),
    metadata: Mapping[str, Any] | None = None,
    *,
    index: Tensor | None = None,
    splits: Sequence[str] = (),
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
        splits: N names; none: no such column.

    Raises:
        UserError: lengths that differ, embeddings that are not finite, or a place that cannot be written.
    """
    _check(embeddings, keys, labels, index, splits)
    path = Path(path)
    index = torch.arange(len(keys)) if index is None else index.cpu()
    about = {"normalised": _normalised(embeddings), "created": datetime.now(UTC).isoformat(timespec="seconds")}
    about |= {**(metadata or {}), "classes": list(classes), "format": 1}
    schema = _schema(embeddings.shape[1], labels is not None, bool(splits), about)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        how: dict[str, Any] = {"use_dictionary": False, "write_page_checksum": True}
        with replacing(path) as part, pq.ParquetWriter(part, schema, **how) as writer:
            for start in range(0, len(keys), ROWS):
                rows = slice(start, start + ROWS)
                columns = [pa.array(index[rows].numpy()), pa.array(list(keys[rows]), pa.string())]
                columns += [pa.array(list(splits[rows]), pa.string())] if splits else []
                if labels is not None:
                    label = labels[rows].cpu()
                    columns.append(pa.array(label.numpy(), pa.int64(), mask=label.numpy() < 0))
                    columns.append(pa.array(named(label, tuple(classes), len(label)), pa.string()))
                flat = pa.array(embeddings[rows].detach().to("cpu", torch.float32).contiguous().numpy().ravel())
                columns.append(pa.FixedSizeListArray.from_arrays(flat, embeddings.shape[1]))
                writer.write_table(pa.Table.from_arrays(columns, schema=schema))
    except OSError as error:
        raise UserError(f"cannot write {path} ({error.strerror or error}): choose a place you may write to.") from error


def named(labels: Tensor | None, classes: tuple[str, ...], count: int) -> list[str | None]:
    """Name the class of each of ``count`` images; None where there is no label, or no name of it."""
    if labels is None:
        return [None] * count
    numbers: list[int] = labels.tolist()
    return [classes[i] if 0 <= i < len(classes) else None for i in numbers]


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


def described(path: Path | str, schema: pa.Schema) -> dict[str, Any]:
    """Read what a file says of itself: model, set, class names, ...

    Raises:
        UserError: it is damaged.
    """
    try:
        about = read_json((schema.metadata or {}).get(KEY, b"{}"))
    except ValueError as error:
        raise UserError(f"{path} is damaged: its description cannot be read; write the embeddings again.") from error
    classes = about.get("classes", []) if isinstance(about, dict) else None
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise UserError(f"{path} is damaged: its description is none; write the embeddings again.")
    return about


def read_embeddings(path: Path | str) -> Embeddings:
    """Read a file of embeddings.

    Raises:
        UserError: no such file, no Parquet file, or one with other columns.
    """
    try:
        table = pq.read_table(path, page_checksum_verification=True)
        table.validate(full=True)  # texts that are no UTF-8
    except OSError as error:
        reason = error.strerror or "the Parquet file is damaged or cut short"
        raise UserError(f"cannot read {path} ({reason}).") from error
    except pa.ArrowException as error:
        raise UserError(f"{path} is not a Parquet file: give a .parquet that `viewkin embed` wrote.") from error
    _check_schema(path, table.schema)
    if any(table[name].null_count for name in ("id", "path", "embedding")):
        raise UserError(f"{path} has rows without id, path or embedding: write the embeddings again.")
    about = described(path, table.schema)
    width = table.schema.field("embedding").type.list_size
    blocks = [np.asarray(chunk.flatten()) for chunk in table["embedding"].chunks]
    flat = np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
    labels = table["label"].fill_null(-1).to_numpy() if "label" in table.column_names else None
    return Embeddings(
        embeddings=torch.from_numpy(flat.reshape(-1, width)),
        keys=tuple(table["path"].to_pylist()),
        index=torch.tensor(table["id"].to_numpy()),
        splits=tuple(table["split"].fill_null("").to_pylist()) if "split" in table.column_names else (),
        labels=None if labels is None else torch.tensor(labels, dtype=torch.int64),
        classes=tuple(about.pop("classes", ())),
        metadata=about,
    )


def _check(
    embeddings: Tensor, keys: Sequence[str], labels: Tensor | None, index: Tensor | None, splits: Sequence[str]
) -> None:
    """Refuse what would make a file that lies."""
    if embeddings.ndim != 2 or not embeddings.is_floating_point():
        raise UserError(f"embeddings must be (N, D) floats, not {tuple(embeddings.shape)} of {embeddings.dtype}.")
    for name, column in (("keys", keys), ("labels", labels), ("positions", index), ("splits", splits or None)):
        if column is not None and len(column) != len(embeddings):
            raise UserError(f"there are {len(embeddings)} embeddings but {len(column)} {name}: give one each.")
    if not bool(torch.isfinite(embeddings).all()):
        raise UserError("the embeddings hold NaN or infinity: the encoder has diverged, so there is nothing to write.")


def _check_schema(path: Path | str, schema: pa.Schema) -> None:
    """Refuse a file with other columns, naming those it has."""
    wanted: dict[str, Any] = {"id": pa.types.is_integer, "path": pa.types.is_string, "label": pa.types.is_integer}
    wanted |= {"split": pa.types.is_string, "class_name": pa.types.is_string}
    wanted["embedding"] = lambda kind: pa.types.is_fixed_size_list(kind) and kind.value_type == pa.float32()
    for name, fits in wanted.items():
        places = schema.get_all_field_indices(name)  # a file may have several columns of one name
        wrong = len(places) > 1 or not all(fits(schema.field(place).type) for place in places)
        if wrong or (not places and name not in ("split", "label", "class_name")):
            columns = ", ".join(f"{column.name} ({column.type})" for column in schema)
            raise UserError(
                f"{path} is not a file of embeddings: it needs id (integer), path (string), embedding (fixed-size list "
                f"of float32) and perhaps split (string), label (integer) and class_name (string), but has {columns}."
            )


def _schema(width: int, labelled: bool, split: bool, described: Mapping[str, Any]) -> pa.Schema:
    """Columns of the file."""
    fields = [pa.field("id", pa.int64()), pa.field("path", pa.string())]
    fields += [pa.field("split", pa.string())] if split else []
    fields += [pa.field("label", pa.int64()), pa.field("class_name", pa.string())] if labelled else []
    fields += [pa.field("embedding", pa.list_(pa.float32(), width))]
    return pa.schema(fields, metadata={KEY: json.dumps(described).encode()})


def _normalised(embeddings: Tensor) -> bool:
    """Whether every row has unit norm, to the precision of half floats."""
    return all(bool(((part.float().norm(dim=1) - 1).abs() < 2e-3).all()) for part in embeddings.split(ROWS))
