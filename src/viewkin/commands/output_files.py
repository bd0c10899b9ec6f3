"""Files that a command is asked to write: refused before any work is done where they cannot be."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from viewkin.runtime.errors import UserError


def check_file(out: Path) -> None:
    """Refuse a file that cannot be written, before any work is done.

    Raises:
        UserError: it is a folder, or lies in none that may be written.
    """
    if out.is_dir() or not out.parent.is_dir() or not os.access(out.parent, os.W_OK | os.X_OK):
        raise UserError(
            f"--out {out} must be a file in a folder that exists and may be written, such as out/{out.name}."
        )


def check_target(out: Path, suffix: str, read: Callable[[Path], object]) -> None:
    """Refuse a file as :func:`check_file` does, and one of another kind: it may be the user's images or a run's part.

    Args:
        out: the file.
        suffix: how its name must end.
        read: reads a file of the kind that is written; one that exists is replaced only if this takes it.

    Raises:
        UserError: it cannot be written, has another ending, or holds something else.
    """
    check_file(out)
    if out.suffix.lower() != suffix:
        raise UserError(f"--out {out} must end in {suffix}.")
    if out.exists():
        try:
            read(out)
        except UserError as error:
            raise UserError(f"--out {out} exists and holds something else; name another file.") from error
