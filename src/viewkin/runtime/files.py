"""Files and folders that are whole or not there."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Generator
from pathlib import Path
from secrets import token_hex

ENDING = ".part"
"""Ending of a file or folder that is being written; its name begins with a dot."""


@contextlib.contextmanager
def unfinished(path: Path) -> Generator[Path]:
    """Name a place beside ``path`` to write to, on the same disk; what lies there at the end is removed.

    Yields:
        A path that does not exist, for a file or a folder.
    """
    part = path.with_name(f".{path.name[:60]}.{os.getpid()}-{token_hex(4)}{ENDING}")
    try:
        yield part
    finally:
        remove(part)


@contextlib.contextmanager
def replacing(path: Path, *, durable: bool = False) -> Generator[Path]:
    """Write a file or folder so that a reader, or a kill at any moment, finds the old one or the new one, never half.

    A folder replaces nothing but an empty folder.

    Args:
        path: what to write.
        durable: wait until a file is on the disk, so that it also lasts through a power cut.

    Yields:
        A path beside ``path`` to write to; it takes the place of ``path`` when the block ends without an error, and is
        removed otherwise.
    """
    with unfinished(path) as part:
        yield part
        if durable:
            sync(part)
        part.replace(path)
        if durable:
            sync_folder(path.parent)


def sync(path: Path) -> None:
    """Wait until what was written to a file is on the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make what was renamed in a folder last through a power cut; some systems cannot."""
    with contextlib.suppress(OSError):
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def remove(path: Path) -> None:
    """Remove a file or a folder, as far as that is allowed."""
    with contextlib.suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing_folder(path: Path) -> Generator[Path]:
    """Write a folder so that a reader finds the old one, the new one, or for a moment none, and never half of one.

    Yields:
        A new folder beside ``path`` to write into; it takes the place of ``path``, whatever that holds, when the block
        ends without an error, and is removed otherwise.
    """
    path = path.absolute()
    with unfinished(path) as part, unfinished(path) as old:
        part.mkdir()
        yield part
        if path.exists():
            path.rename(old)
        try:
            part.replace(path)
        except OSError:
            if old.exists():
                old.rename(path)
            raise


def clear_unfinished(folder: Path) -> None:
    """Remove what a process that was killed left of a file that it was writing."""
    for part in folder.glob(f".*{ENDING}"):
        remove(part)
