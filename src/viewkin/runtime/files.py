"""Files that are whole or not there."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex


@contextmanager
def replacing(path: Path) -> Generator[Path]:
    """Write a file so that a reader, or a kill at any moment, finds the old one or the new one, never half of one.

    Yields:
        A path beside ``path`` to write to; it takes the place of ``path`` when the block ends without an error, and is
        removed otherwise.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}-{token_hex(4)}.part")
    try:
        yield unfinished
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def clear_unfinished(folder: Path) -> None:
    """Remove what a process that was killed left of a file that it was writing."""
    for unfinished in folder.glob(".*.part"):
        unfinished.unlink(missing_ok=True)
