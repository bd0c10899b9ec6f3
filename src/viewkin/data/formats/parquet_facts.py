"""What one Parquet file says of its images without them. A file is opened once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from viewkin.data.decode import shape
from viewkin.data.formats.parquet_columns import (
    BYTES,
    PATH,
    class_names,
    has_field,
    image_column,
    image_kind,
    is_label,
    is_text,
    label_columns,
)
from viewkin.data.formats.parquet_rows import value_of
from viewkin.data.reading import Reading
from viewkin.runtime.errors import UserError

POINTER = b"version https://git-lfs"
"""How a file begins that only stands for one in Git's large file storage."""


@dataclass(frozen=True, kw_only=True)
class FileFacts:
    """What one Parquet file says without its images."""

    path: Path
    """The file."""
    schema: pa.Schema
    """Columns and metadata."""
    group_rows: list[int]
    """Rows of each row group."""
    image: str
    """Column of images."""
    label: str | None
    """Column of labels."""
    labels: pa.ChunkedArray | None
    """Its values."""
    unused: tuple[str, ...]
    """Columns that may hold labels and are not read."""
    names: pa.ChunkedArray | None
    """What the rows call themselves."""
    paths: pa.ChunkedArray | None
    """Paths that the image column gives."""
    empty: int
    """Rows without an image, as far as the file's statistics say."""
    further: int = 0
    """Images beyond the first of a row, where rows hold lists."""

    @property
    def rows(self) -> int:
        """Rows in all."""
        return sum(self.group_rows)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names that the metadata give."""
        return class_names(self.schema, self.label) if self.label is not None else ()


def read_facts(path: Path, reading: Reading) -> FileFacts:
    """Open a Parquet file once and read all but its images.

    Raises:
        UserError: it is damaged or no Parquet, or has no column of images.
    """
    try:
        with pq.ParquetFile(path) as parquet:
            schema, metadata = parquet.schema_arrow, parquet.metadata
            image = image_column(path, schema, reading.image_column, partial(holds_images, parquet))
            label, unused = chosen_label(schema, image, reading)
            columns = [label] if label is not None else []
            named = "name" in schema.names and is_text(schema.field("name").type)
            columns += ["name"] * (named and image != "name")
            columns += [f"{image}.{PATH}"] * has_field(schema, image, PATH)
            columns += [image] * is_text(schema.field(image).type)
            table = parquet.read(columns=columns)  # a leaf of a struct is read by its dotted name
            table.validate(full=True)  # texts that are no UTF-8
            group_rows = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        raise unreadable(path, error) from error
    return FileFacts(
        path=path,
        schema=schema,
        group_rows=group_rows,
        image=image,
        label=label,
        labels=None if label is None else table[label],
        unused=unused,
        names=table["name"] if "name" in columns else None,
        paths=paths_of(table, image),
        empty=null_rows(metadata, image) if image_kind(schema.field(image).type) == BYTES else 0,
        further=further_values(metadata, image),
    )


def chosen_label(schema: pa.Schema, image: str, reading: Reading) -> tuple[str | None, tuple[str, ...]]:
    """Choose the column of labels, and name those that may hold labels and are not read."""
    if not reading.labels:
        return None, ()
    if reading.label_column is not None:
        return (reading.label_column if reading.label_column in schema.names else None), ()
    likely = [name for name in label_columns(schema) if name != image]
    able = [name for name in likely if is_label(schema.field(name).type)]
    if able:
        return able[0], tuple(able[1:])
    if likely:
        return likely[0], ()
    return None, tuple(n for n in schema.names if n not in (image, "name") and is_label(schema.field(n).type))


def paths_of(table: pa.Table, image: str) -> pa.ChunkedArray | None:
    """Take the paths out of the image column, where it was read."""
    if image not in table.column_names:
        return None
    column = table[image]
    return pa.chunked_array(
        [chunk.field(PATH) if pa.types.is_struct(column.type) else chunk for chunk in column.chunks],
        column.type.field(PATH).type if pa.types.is_struct(column.type) else column.type,
    )


def holds_images(parquet: pq.ParquetFile, column: str) -> bool:
    """Look at the first row of a column that is not empty: whether it is an image."""
    for batch in parquet.iter_batches(batch_size=1, columns=[column]):
        if batch.num_rows and (value := value_of(batch.column(0)[0])):
            return not isinstance(value, bytes) or shape(BytesIO(value)) is not None
    return False


def has_images(path: Path, reading: Reading) -> bool | None:
    """Whether a Parquet file has a column of images; None where it cannot be read."""
    try:
        with pq.ParquetFile(path) as parquet:
            image_column(path, parquet.schema_arrow, reading.image_column, partial(holds_images, parquet))
    except UserError as error:
        return "several columns" in str(error)
    except (OSError, pa.ArrowException, UnicodeDecodeError):
        return None
    return True


def null_rows(metadata: pq.FileMetaData, column: str) -> int:
    """Count the rows without bytes in an image column by the file's statistics; 0 where it keeps none."""
    count = 0
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        for leaf in map(group.column, range(group.num_columns)):
            if leaf.path_in_schema in (column, f"{column}.{BYTES}") and leaf.statistics is not None:
                count += leaf.statistics.null_count or 0
    return count


def further_values(metadata: pq.FileMetaData, column: str) -> int:
    """Count the values beyond the first of each row in a column of lists, by the number of values that it keeps.

    An empty list counts as one value.
    """
    counts = dict[str, int]()
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        for leaf in map(group.column, range(group.num_columns)):
            if leaf.path_in_schema.startswith(f"{column}."):
                counts[leaf.path_in_schema] = counts.get(leaf.path_in_schema, 0) + leaf.num_values
    return max(counts.values(), default=metadata.num_rows) - metadata.num_rows


def unreadable(path: Path, error: Exception) -> UserError:
    """Say why a Parquet file cannot be read, and what to do."""
    if isinstance(error, PermissionError):
        return UserError(f"{path} cannot be read (permission denied): allow it to be read.")
    try:
        with path.open("rb") as file:
            first = file.read(len(POINTER))
    except OSError as failed:
        return UserError(f"{path} cannot be read ({(failed.strerror or str(failed)).lower()}): fetch it again.")
    if first == POINTER:
        return UserError(f"{path} is a Git LFS pointer and not the file itself: fetch it by 'git lfs pull'.")
    why = "it is empty" if not first else (str(error).splitlines() or ["damaged"])[0].rstrip(".")
    return UserError(f"{path} cannot be read as Parquet ({why}): fetch it again.")
