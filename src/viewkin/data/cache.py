"""The on-disk cache of decoded images: raw uint8, memory-mapped when opened again.

An entry is ``<key>.json`` (which images can be read) and, for sets that are held in memory, ``<key>.pixels`` (N x 3 x
S x S raw bytes). The content ids of a set are ``<key>.content`` (N x 16 raw bytes); their key has no stored size. Each
is written beside its place and moved into it, so an interrupted run leaves nothing that looks whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from viewkin.runtime.files import replacing, unfinished
from viewkin.runtime.json_text import read_json
from viewkin.runtime.places import why_not

FORMAT = 4
"""Version of the entries; part of every key. Raise it with any change of decoding or resizing."""

CONTENT_BYTES = 16
"""Bytes of a content id."""

Stamp = tuple[str, int, int, int, int, int]
"""Name, bytes, times of modification and of change in nanoseconds, inode, device."""


class UnwritableCacheError(Exception):
    """The cache cannot take an entry: read-only, full, or not a folder."""


def default_folder() -> Path:
    """Name the cache folder: $VIEWKIN_CACHE, else ``~/.cache/viewkin``."""
    named = os.environ.get("VIEWKIN_CACHE")
    return Path(named).expanduser() if named else Path.home() / ".cache" / "viewkin"


def stamp_of(name: str, path: Path) -> Stamp:
    """Say what tells a file from any other and from itself after any change, without reading it.

    The kernel moves the time of change on every write, also where a tool puts the modification time back; the inode
    tells apart files that were unpacked from two archives with equal names, sizes and times. A file that is no longer
    there has zeros.
    """
    try:
        facts = path.stat()
    except OSError:
        return name, 0, 0, 0, 0, 0
    return name, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino, facts.st_dev


def key_of(stamps: Sequence[Stamp], size: int) -> str:
    """Hash the stamps of all files, the stored side and the format version."""
    digest = hashlib.blake2b(json.dumps([FORMAT, size], separators=(",", ":")).encode(), digest_size=16)
    for stamp in stamps:
        digest.update(json.dumps(stamp).encode())
    return digest.hexdigest()


@dataclass(frozen=True, kw_only=True)
class Told:
    """What the first pass over a listing finds out beside which images can be read."""

    value_range: tuple[float, float] | None = None
    """Values that became black and white in images of more than 8 bits; None: there is no such image."""
    warned: tuple[int, ...] = ()
    """Positions of images that Pillow warns of."""
    pages: dict[int, int] = field(default_factory=dict[int, int])
    """Position to pages beyond the first."""

    @classmethod
    def of(cls, facts: Any) -> Told:
        """Take what was written as JSON; raises KeyError, TypeError or ValueError for anything else."""
        low_high = facts["value_range"]
        return cls(
            value_range=None if low_high is None else (float(low_high[0]), float(low_high[1])),
            warned=tuple(int(i) for i in facts["warned"]),
            pages={int(i): int(n) for i, n in facts["pages"].items()},
        )


@dataclass(frozen=True)
class Entry:
    """What the first pass over a listing tells."""

    listed: int
    """Images listed."""
    broken: dict[int, str]
    """Position in the listing to why it cannot be read."""
    pixels: Tensor | None
    """(N, 3, S, S) uint8 of the readable ones, in order; None when they are not kept."""
    told: Told = field(default_factory=lambda: Told())
    """What else was found out."""

    @property
    def rows(self) -> Tensor:
        """(N,) positions in the listing of the readable images."""
        return torch.tensor([i for i in range(self.listed) if i not in self.broken], dtype=torch.int64)


def load(folder: Path, key: str, size: int, *, with_pixels: bool) -> Entry | None:
    """Open an entry, its pixels memory-mapped; None when it is missing, damaged or lacks the pixels asked for."""
    try:
        facts = read_json((folder / f"{key}.json").read_text())
        listed, broken = int(facts["listed"]), {int(i): str(why) for i, why in facts["broken"].items()}
        told = Told.of(facts)
        if not with_pixels:
            return Entry(listed, broken, None, told)
        return Entry(listed, broken, map_pixels(folder / f"{key}.pixels", listed - len(broken), size), told)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        return None


def map_pixels(path: Path, count: int, size: int) -> Tensor:
    """Memory-map ``count`` images, privately: writing to the tensor never reaches the file."""
    total = count * 3 * size * size
    if path.stat().st_size != total:
        raise ValueError(f"{path} does not hold {count} images of {size} px")
    if total == 0:
        return torch.empty(0, 3, size, size, dtype=torch.uint8)
    return torch.from_file(str(path), shared=False, size=total, dtype=torch.uint8).view(count, 3, size, size)


def load_content(folder: Path, key: str, count: int) -> bytes | None:
    """Read the content ids of ``count`` images, 16 bytes each; None when they are missing or damaged."""
    try:
        rows = (folder / f"{key}.content").read_bytes()
    except OSError:
        return None
    return rows if len(rows) == CONTENT_BYTES * count else None


def keep_content(folder: Path, key: str, rows: bytes) -> None:
    """Keep content ids; a cache that cannot take them goes without."""
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / f"{key}.content") as part:
            part.write_bytes(rows)


class Writer:
    """Writes one entry; a ``with`` block that ends early leaves nothing behind.

    Raises:
        UnwritableCacheError: from any method that cannot write.
    """

    def __init__(self, folder: Path, key: str, *, with_pixels: bool) -> None:
        self._target = folder / f"{key}.json"
        self._pixels = folder / f"{key}.pixels"
        self._left = contextlib.ExitStack()
        self._with_pixels = with_pixels

    def __enter__(self) -> Writer:
        try:
            self._target.parent.mkdir(parents=True, exist_ok=True)
            self._part = self._left.enter_context(unfinished(self._pixels))
            self._file = self._left.enter_context(self._part.open("wb"))
        except OSError as error:
            raise UnwritableCacheError(why_not(error)) from error
        return self

    def append(self, images: list[NDArray[np.uint8]]) -> None:
        """Add decoded images (3, S, S) in order."""
        try:
            for image in images if self._with_pixels else ():
                self._file.write(image.tobytes())
        except OSError as error:
            raise UnwritableCacheError(why_not(error)) from error

    def finish(self, listed: int, broken: dict[int, str], told: Told) -> None:
        """Move the entry into its place: the pixels first, so that the facts never point at nothing."""
        try:
            self._file.close()
            if self._with_pixels:
                self._part.replace(self._pixels)
            with replacing(self._target) as facts:
                facts.write_text(json.dumps({"listed": listed, "broken": broken, **asdict(told)}))
        except OSError as error:
            raise UnwritableCacheError(why_not(error)) from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._left.close()
