"""Files and folders as a user names them: how messages write them, and what lies near one that is not there."""

from __future__ import annotations

import errno
import os
import shlex
from difflib import get_close_matches
from pathlib import Path

from viewkin.runtime.wording import one_line

SYSTEM = ("/proc", "/sys")
"""Folders that show the running system and hold no images."""
LONG = 120
"""Letters of a path from which on messages leave out its middle."""
REMEDIES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "make room"),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "allow it"),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "allow more open files (ulimit -n)"),
    errno.ENAMETOOLONG: "give a shorter name",
}
"""What to do about an error of the system."""
MANY = 1000
"""Names that are compared with one that is not there."""


def printable(path: str | Path) -> str:
    r"""Write a path so that terminals and files take it: bytes that are no UTF-8 become such as ``\xe9``."""
    try:
        return os.fsencode(path).decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # no name of a file, but what a caller wrote
        return str(path).encode("utf-8", "backslashreplace").decode("utf-8")


def shell_word(text: str) -> str:
    r"""Quote a text for a shell; unseen characters become such as ``$'caf\xe9'``, which bash and zsh read back."""
    if one_line(text) == text:
        return shlex.quote(text)
    letters = [chr(byte) if 32 <= byte < 127 and byte not in b"\\'" else f"\\x{byte:02x}" for byte in os.fsencode(text)]
    return f"$'{''.join(letters)}'"


def shortened(place: str) -> str:
    """Write a path for a message, the middle of a very long one left out."""
    text = printable(place)
    return text if len(text) <= LONG else f"{text[: LONG // 2]}...{text[-LONG // 4 :]}"


def why_not(error: OSError) -> str:
    """Put an error of the system in a few words."""
    return (error.strerror or str(error)).lower()


def remedy(error: OSError) -> str:
    """Say what a user may do about an error of the system, as an order without a full stop."""
    return REMEDIES.get(error.errno or 0, "check that place")


def is_of_system(real: str | Path) -> bool:
    """Whether a path, its links followed, lies among the system's views of itself."""
    return any(Path(real).is_relative_to(place) for place in SYSTEM)


def nearest(place: str | Path, *, words: tuple[str, ...] = ()) -> str | None:
    """Find what lies beside a path that is not there and has nearly its name, or a word that has.

    Args:
        place: the path.
        words: what could have been meant besides.
    """
    try:
        path = Path(place).expanduser()
        beside = [one.name for one in path.parent.iterdir()] if path.parent.is_dir() else []
    except (OSError, ValueError, RuntimeError):
        return None
    near = get_close_matches(path.name, [*beside[:MANY], *words], n=1)
    return None if not near else near[0] if near[0] in words else printable(path.parent / near[0])
