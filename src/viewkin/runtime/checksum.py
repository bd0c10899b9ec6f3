"""Checksums inside files: one flipped bit is found when a file is read.

A file ends with ``MAGIC`` and the BLAKE2b-256 of all bytes before it. The checksum is in the file itself, so no kill
can leave the two out of step. Readers of ZIP archives (what ``torch.save`` writes) pass over bytes at the end.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from typing import Any, BinaryIO

MAGIC = b"viewkin blake2b\n"
DIGEST_BYTES = 32
BLOCK = 1 << 20
"""Bytes that are read at once."""


class HashingFile:
    """A binary file that hashes what is written to it."""

    def __init__(self, file: BinaryIO) -> None:
        """Write to ``file``, from its beginning."""
        self._file = file
        self._digest = new_digest()

    def write(self, data: Any) -> int:
        """Write bytes."""
        self._digest.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        """Flush the file."""
        self._file.flush()

    def seal(self) -> None:
        """Write the checksum behind everything else."""
        self._file.write(MAGIC + self._digest.digest())


def new_digest() -> Any:
    """Begin a BLAKE2b-256."""
    return hashlib.blake2b(digest_size=DIGEST_BYTES)


def is_sound(file: BinaryIO) -> bool | None:
    """Whether a file has the checksum that it ends with; None where it ends with none. It is rewound."""
    size = os.fstat(file.fileno()).st_size
    end = len(MAGIC) + DIGEST_BYTES
    if size < end:
        return None
    file.seek(size - end)
    if file.read(len(MAGIC)) != MAGIC:
        file.seek(0)
        return None
    stated = file.read()
    file.seek(0)
    digest = new_digest()
    for block in blocks(file, size - end):
        digest.update(block)
    file.seek(0)
    return digest.digest() == stated


def blocks(file: BinaryIO, count: int) -> Iterator[bytes]:
    """Read ``count`` bytes from where a file stands, in blocks."""
    while count > 0:
        block = file.read(min(BLOCK, count))
        if not block:
            return
        count -= len(block)
        yield block
