"""Where the parts of a collection lie, its short lock, and files that are being written."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Generator
from pathlib import Path

from viewkin.runtime.errors import UserError
from viewkin.runtime.files import ENDING, sync, unfinished

PARTS, MANIFESTS, INDEXES = "parts", "manifest", "index"
"""Folders of a collection: Parquet parts, generations of the manifest, and caches that may be deleted."""
STAMPS = "stamps.parquet"
"""Cache of which files were read, and when; may be deleted."""
LOCK = ".lock"
"""File that a writer locks while it adds a generation."""
PATIENCE = 60.0
"""Seconds to wait for another writer, which holds the lock for a moment only."""
ABANDONED = 86400.0
"""Seconds after which an unfinished file belongs to nobody, where the file system has no locks."""


@contextlib.contextmanager
def locked(folder: Path, patience: float = PATIENCE) -> Generator[None]:
    """Hold the lock of a collection; where the system has no such locks, hold nothing.

    Raises:
        UserError: another process holds it for longer than ``patience`` seconds.
        OSError: the folder cannot be written.
    """
    number = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        end = time.monotonic() + patience
        while _lock(number) is False:
            if time.monotonic() > end:
                raise UserError(f"Another process has been writing to {folder} for {patience:.0f} s: try again later.")
            time.sleep(0.01)
        yield
    finally:
        os.close(number)


def _lock(number: int) -> bool | None:
    """Lock an open file without waiting: whether it is ours now; None where there are no locks."""
    try:
        import fcntl
    except ImportError:
        return None
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return False if error.errno in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES) else None
    return True


@contextlib.contextmanager
def written(folder: Path, data: bytes) -> Generator[Path]:
    """Write bytes to a file of another name, synced, for the caller to move into its place; else it is removed.

    The file is locked while it lies there, so that others can tell it from what a killed writer left.
    """
    with unfinished(folder / "new") as path, path.open("xb") as file:
        held = _lock(file.fileno())
        file.write(data)
        file.flush()
        sync(path)
        if held is None:  # Windows has no such locks, and moves no file that is open
            file.close()
        yield path


def clear_abandoned(folder: Path) -> None:
    """Remove unfinished files whose writer is gone."""
    for path in folder.glob(f".*{ENDING}"):
        with contextlib.suppress(OSError):
            number = os.open(path, os.O_RDWR)
            try:
                mine = _lock(number)
                old = time.time() - os.fstat(number).st_mtime > ABANDONED
                if mine or (mine is None and old):
                    path.unlink(missing_ok=True)
            finally:
                os.close(number)


def unwritable(folder: Path, error: OSError) -> UserError:
    """Say that a collection cannot be written, and what to do."""
    why = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return UserError(
            f"{folder} cannot be written ({why}): make room and run the same command again; what was written is kept."
        )
    return UserError(f"{folder} cannot be written ({why}): choose a place that you may write to.")
