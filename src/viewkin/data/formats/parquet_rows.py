"""The encoded images of Parquet files, by row: read in order, or unpacked to be read in any order."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from secrets import token_hex
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from viewkin.data.cache import Stamp, key_of, stamp_of
from viewkin.data.listing import evenly
from viewkin.runtime.errors import UserError


@dataclass
class ParquetRows:
    """The image column of some Parquet files, by row over all files.

    It reads one row group at a time and keeps the last two, which suits reading in order.
    """

    files: list[Path]
    """Parquet files, in order."""
    column: str
    """The image column."""
    groups: list[tuple[int, int, int]]
    """(file, row group, first row) of every row group."""
    total: int
    """Rows."""
    _held: dict[int, pa.ChunkedArray] = field(default_factory=dict[int, Any])
    _lock: Lock = field(default_factory=Lock)

    def __len__(self) -> int:
        """Count the rows."""
        return self.total

    def open(self, position: int) -> BytesIO:
        """Give one row's bytes as a stream; an empty one where the row is null."""
        group = int(np.searchsorted([first for _, _, first in self.groups], position, side="right")) - 1
        return stream_of(self._group(group)[position - self.groups[group][2]])

    def _group(self, group: int) -> pa.ChunkedArray:
        """Read a row group's image column, unless it is one of the last two."""
        with self._lock:
            if group not in self._held:
                while len(self._held) > 1:
                    self._held.pop(next(iter(self._held)))
                file, number, _ = self.groups[group]
                with pq.ParquetFile(self.files[file]) as parquet:
                    self._held[group] = parquet.read_row_group(number, columns=[self.column])[self.column]
            return self._held[group]

    def sample(self, count: int) -> list[int]:
        """Choose ``count`` rows from up to eight row groups."""
        chosen = evenly(len(self.groups), 8)
        ends = [*(first for _, _, first in self.groups[1:]), self.total]
        starts = [(self.groups[g][2], ends[g]) for g in chosen]
        each = -(-count // len(starts))
        return [first + i for first, end in starts for i in evenly(end - first, each)]

    def stamps(self) -> list[Stamp]:
        """Give the stamp of each file, named with the column."""
        return [stamp_of(f"{path.name}#{self.column}", path) for path in self.files]

    def random_access(self, folder: Path) -> Packed:
        """Unpack the column into an Arrow file of the cache, which can be read in any order.

        Raises:
            UserError: the cache folder cannot take it.
        """
        path = folder / f"{key_of(self.stamps(), 0)}.arrow"
        part = path.with_suffix(f".{token_hex(4)}.part")
        try:
            if not path.exists():
                folder.mkdir(parents=True, exist_ok=True)
                self._unpack(part)
                part.replace(path)
        except OSError as error:
            raise UserError(
                f"{folder} cannot take the unpacked Parquet images ({error}): name a writable cache folder by "
                "VIEWKIN_CACHE, or raise the memory limit."
            ) from error
        finally:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
        return Packed(path)

    def _unpack(self, target: Path) -> None:
        kind = pa.large_binary()
        with pa.OSFile(str(target), "wb") as file, pa.ipc.new_file(file, pa.schema([("bytes", kind)])) as writer:
            for group in range(len(self.groups)):
                rows = [stream_of(row).getvalue() for row in self._group(group)]
                writer.write_batch(pa.record_batch([pa.array(rows, kind)], names=["bytes"]))


class Packed:
    """The encoded images of an Arrow file, memory-mapped: any row at the cost of reading it."""

    def __init__(self, path: Path) -> None:
        with pa.memory_map(str(path)) as file:
            self._bytes = pa.ipc.open_file(file).read_all()["bytes"]

    def open(self, position: int) -> BytesIO:
        """Give one row's bytes as a stream."""
        return BytesIO(self._bytes[position].as_py())


def stream_of(cell: pa.Scalar) -> BytesIO:
    """Take the bytes out of a cell of either kind."""
    value = cell.as_py()
    return BytesIO((value.get("bytes") if isinstance(value, dict) else value) or b"")
