"""The encoded images of Parquet files, by row: read in order, or unpacked to be read in any order."""

from __future__ import annotations

from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from viewkin.data.cache import Stamp, key_of, stamp_of
from viewkin.data.listing import evenly
from viewkin.runtime.errors import UserError
from viewkin.runtime.files import replacing


@dataclass
class ParquetRows:
    """The image column of some Parquet files, by row over all files.

    It reads one row group at a time and keeps the last two, which suits reading in order.
    """

    files: list[Path]
    """Parquet files, in order."""
    columns: list[str]
    """The image column of each file."""
    groups: list[tuple[int, int, int]]
    """(file, row group, first row) of every row group."""
    total: int
    """Rows."""
    named: list[str] = field(default_factory=list[str])
    """Absolute paths of the image files, where rows only name them."""
    _damaged: dict[int, str] = field(default_factory=dict[int, str])
    _held: dict[int, pa.ChunkedArray] = field(default_factory=dict[int, Any])
    _lock: Lock = field(default_factory=Lock)

    def __len__(self) -> int:
        """Count the rows."""
        return self.total

    def open(self, position: int) -> BytesIO | Path:
        """Give one row's bytes as a stream, empty where the row is null, or the file that it names.

        Raises:
            OSError: its part of the file is damaged.
        """
        group = int(np.searchsorted([first for _, _, first in self.groups], position, side="right")) - 1
        file, _, first = self.groups[group]
        return opened_cell(self._group(group)[position - first], self.files[file].parent)

    def _group(self, group: int) -> pa.ChunkedArray:
        """Read a row group's image column, unless it is one of the last two."""
        with self._lock:
            if group not in self._held:
                while len(self._held) > 1:
                    self._held.pop(next(iter(self._held)))
                self._held[group] = self._read(group)
            return self._held[group]

    def _read(self, group: int) -> pa.ChunkedArray:
        """Read a row group's image column; a damaged one is tried once.

        Raises:
            OSError: it is damaged.
        """
        file, number, _ = self.groups[group]
        column = self.columns[file]
        if group not in self._damaged:
            try:
                with pq.ParquetFile(self.files[file]) as parquet:
                    return parquet.read_row_group(number, columns=[column])[column]
            except (OSError, pa.ArrowException) as error:
                said = (str(error).splitlines() or ["unknown"])[0]
                self._damaged[group] = f"its part of the Parquet file is damaged ({said})"
        raise OSError(self._damaged[group])

    def sample(self, count: int) -> list[int]:
        """Choose ``count`` rows from up to eight row groups."""
        chosen = evenly(len(self.groups), 8)
        ends = [*(first for _, _, first in self.groups[1:]), self.total]
        starts = [(self.groups[g][2], ends[g]) for g in chosen]
        each = -(-count // len(starts))
        return [first + i for first, end in starts for i in evenly(end - first, each)]

    def stamps(self) -> list[Stamp]:
        """Give the stamp of each file, named with the column."""
        own = [stamp_of(f"{path.name}#{column}", path) for path, column in zip(self.files, self.columns)]
        return own + [stamp_of(name, Path(name)) for name in self.named]

    def random_access(self, folder: Path) -> Packed:
        """Unpack the column into an Arrow file of the cache, which can be read in any order.

        Raises:
            UserError: the cache folder cannot take it.
        """
        path = folder / f"{key_of(self.stamps(), 0)}.arrow"
        try:
            if not path.exists():
                folder.mkdir(parents=True, exist_ok=True)
                with replacing(path) as part:
                    self._unpack(part)
        except OSError as error:
            raise UserError(
                f"{folder} cannot take the unpacked Parquet images ({error}): name a writable cache folder by "
                "VIEWKIN_CACHE, or raise the memory limit."
            ) from error
        return Packed(path)

    def _unpack(self, target: Path) -> None:
        kind = pa.large_binary()
        with pa.OSFile(str(target), "wb") as file, pa.ipc.new_file(file, pa.schema([("bytes", kind)])) as writer:
            for group in range(len(self.groups)):
                rows = pa.array(self._bytes_of(group), kind)
                writer.write_batch(pa.record_batch([rows], names=["bytes"]))

    def _bytes_of(self, group: int) -> list[bytes]:
        """Give the encoded images of a row group; empty ones for what cannot be read."""
        file, _, first = self.groups[group]
        try:
            cells = [opened_cell(cell, self.files[file].parent) for cell in self._group(group)]
        except OSError:
            end = self.groups[group + 1][2] if group + 1 < len(self.groups) else self.total
            return [b""] * (end - first)
        return [_content(cell) for cell in cells]


class Packed:
    """The encoded images of an Arrow file, memory-mapped: any row at the cost of reading it."""

    def __init__(self, path: Path) -> None:
        with pa.memory_map(str(path)) as file:
            self._bytes = pa.ipc.open_file(file).read_all()["bytes"]

    def open(self, position: int) -> BytesIO:
        """Give one row's bytes as a stream."""
        return BytesIO(self._bytes[position].as_py())


def value_of(cell: pa.Scalar) -> bytes | str | None:
    """Take out of a cell the bytes of an image or, where it has none, the path of one.

    A cell is bytes, a path, a struct of either or both, or a list of one of these.
    """
    value: Any = cell.as_py()
    if isinstance(value, list):
        value = value[0] if value else None
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    return value or None


def stream_of(cell: pa.Scalar) -> BytesIO:
    """Give the bytes of a cell as a stream; an empty one where it has none."""
    value = value_of(cell)
    return BytesIO(value if isinstance(value, bytes) else b"")


def opened_cell(cell: pa.Scalar, folder: Path) -> BytesIO | Path:
    """Give the bytes of a cell as a stream, or the file that it names, from ``folder`` on, where that exists."""
    value = value_of(cell)
    if isinstance(value, str):
        path = folder / value
        try:
            return path if path.is_file() else BytesIO()
        except (OSError, ValueError):
            return BytesIO()
    return BytesIO(value or b"")


def _content(cell: BytesIO | Path) -> bytes:
    try:
        return cell.read_bytes() if isinstance(cell, Path) else cell.getvalue()
    except OSError:
        return b""
