"""Embeddings as CSV and NPY, for programs that read no Parquet."""

from __future__ import annotations

import csv
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
from torch import Tensor

from viewkin.runtime.errors import UserError
from viewkin.runtime.files import replacing

COLUMNS = ["key", "split", "label", "class_name"]
"""What stands beside the numbers of an embedding, one row an image."""
ROWS = 4096
"""Rows that are put into text at a time."""


def write_csv(path: Path, embeddings: Tensor, columns: pa.Table) -> None:
    """Write ``key, split, label, class_name, e0, e1, ...``, whole or not at all.

    Numbers have as many digits as give the same float32 back.

    Args:
        path: file to write; one that exists is replaced.
        embeddings: (N, D) float32 on the CPU.
        columns: :data:`COLUMNS`, N rows.

    Raises:
        UserError: the place cannot be written.
    """
    names = [f"e{place}" for place in range(embeddings.shape[1])]
    fields = [*columns.schema, *(pa.field(name, pa.float32()) for name in names)]
    with _told(path), replacing(path) as part, pa_csv.CSVWriter(part, pa.schema(fields)) as writer:
        for start in range(0, len(embeddings), ROWS):
            numbers = [pa.array(row) for row in embeddings[start : start + ROWS].T.contiguous().numpy()]
            texts = columns.slice(start, ROWS).combine_chunks().columns
            writer.write_table(pa.Table.from_arrays([*texts, *numbers], schema=pa.schema(fields)))


def write_npy(path: Path, embeddings: Tensor, columns: pa.Table) -> None:
    """Write the matrix as NPY and the columns as CSV beside it, both or none of them.

    Args:
        path: file to write; one that exists is replaced, and so is the CSV.
        embeddings: (N, D) float32 on the CPU.
        columns: :data:`COLUMNS`, N rows.

    Raises:
        UserError: a place cannot be written.
    """
    beside = beside_npy(path)
    with _told(path), replacing(beside) as text, replacing(path) as part:
        with part.open("wb") as file:
            np.save(file, embeddings.contiguous().numpy(), allow_pickle=False)
        pa_csv.write_csv(columns, text)


def beside_npy(path: Path) -> Path:
    """Name the file of the columns that stands beside an NPY."""
    return path.with_suffix(".csv")


def check_csv(path: Path) -> None:
    """Read the header of a file that :func:`write_csv` or :func:`write_npy` wrote.

    Raises:
        UserError: it is another file.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            first = next(csv.reader(file), [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} is no CSV file of embeddings.") from error
    if first[: len(COLUMNS)] != COLUMNS or first[len(COLUMNS) :] != [f"e{i}" for i in range(len(first) - len(COLUMNS))]:
        raise UserError(f"{path} is no CSV file of embeddings.")


def check_npy(path: Path) -> None:
    """Read the header of a file that :func:`write_npy` wrote.

    Raises:
        UserError: it is another file.
    """
    try:
        matrix = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path} is no NPY file of embeddings.") from error
    if not isinstance(matrix, np.ndarray) or matrix.ndim != 2 or matrix.dtype != np.float32:
        raise UserError(f"{path} is no NPY file of embeddings.")


@contextmanager
def _told(path: Path) -> Generator[None]:
    """Tell in a sentence that a place cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise UserError(f"cannot write {path} ({error.strerror or error}): choose a place you may write to.") from error
