"""The Parquet parts of a collection: a row an image; written once, read only where the checksum matches."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from secrets import token_hex
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from viewkin.collection.manifest import Part
from viewkin.collection.places import PARTS
from viewkin.runtime.errors import UserError

NUMBERS = {"float32": pa.float32(), "float16": pa.float16()}
"""Types that the numbers of a vector may have."""
FIELDS = [
    pa.field("key", pa.string(), nullable=False),
    pa.field("path", pa.string()),
    pa.field("split", pa.string()),
    pa.field("size", pa.int64()),
    pa.field("content", pa.string(), nullable=False),
    pa.field("whole", pa.string()),
    pa.field("width", pa.int32()),
    pa.field("height", pa.int32()),
    pa.field("label", pa.int64()),
    pa.field("class_name", pa.string()),
]
"""Columns before ``embedding``. ``path`` is relative to the folder of the images; ``whole`` is a hash of all bytes of
an image that is longer than what its content id reads."""
COLUMNS = [one.name for one in FIELDS]


class DamagedPartError(UserError):
    """A part is not what was written, or is not there."""


def schema_of(width: int, number: str) -> pa.Schema:
    """Give the columns of a part whose vectors have ``width`` numbers."""
    vector = pa.list_(pa.field("item", NUMBERS[number], nullable=False), width)
    return pa.schema([*FIELDS, pa.field("embedding", vector, nullable=False)])


def encoded_part(table: pa.Table) -> tuple[Part, bytes]:
    """Encode rows as Parquet, and describe the part that they make."""
    sink = pa.BufferOutputStream()
    repeated: Any = ["split", "class_name"]
    pq.write_table(table, sink, use_dictionary=repeated, write_statistics=False, compression="none")
    data = sink.getvalue().to_pybytes()
    return Part(f"part-{token_hex(8)}.parquet", table.num_rows, len(data), digest_of(data)), data


def digest_of(data: bytes) -> str:
    """Hash a part: BLAKE2b-256."""
    return hashlib.blake2b(data, digest_size=32).hexdigest()


def read_part(folder: Path, part: Part, columns: Sequence[str] = COLUMNS) -> pa.Table:
    """Read columns of a part.

    Raises:
        DamagedPartError: it is missing or damaged.
        UserError: it may not be read.
    """
    path = folder / PARTS / part.name
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise _damaged(path, part, "it is not there") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror or error}): allow it to be read.") from error
    if len(data) != part.bytes or digest_of(data) != part.digest:
        raise _damaged(path, part, "its checksum does not match")
    # Without Arrow's threads: one that lets go of bytes of Python's while the process ends aborts it.
    return pq.ParquetFile(pa.BufferReader(data), pre_buffer=False).read(columns=list(columns), use_threads=False)


def _damaged(path: Path, part: Part, why: str) -> DamagedPartError:
    return DamagedPartError(
        f"{path} is damaged ({why}): run the same `viewkin embed` again, which computes its {part.rows:,} images anew, "
        "or restore it from a copy."
    )


def vectors_of(table: pa.Table) -> NDArray[np.float32]:
    """Give the column ``embedding`` as a matrix (n, D) float32."""
    column: Any = table["embedding"]
    width = column.type.list_size
    chunks = [chunk.flatten().to_numpy(zero_copy_only=False).reshape(-1, width) for chunk in column.chunks]
    rows = np.concatenate(chunks) if chunks else np.zeros((0, width), np.float32)
    return rows.astype(np.float32, copy=False)


def vector_column(rows: NDArray[np.float32], number: str) -> pa.FixedSizeListArray:
    """Make the column ``embedding`` of a matrix (n, D)."""
    kind = np.float16 if number == "float16" else np.float32
    flat = pa.array(np.ascontiguousarray(rows, dtype=kind).reshape(-1), NUMBERS[number])
    return pa.FixedSizeListArray.from_arrays(flat, type=schema_of(rows.shape[1], number).field("embedding").type)
