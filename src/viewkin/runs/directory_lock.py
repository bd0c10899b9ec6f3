"""One process trains in a run directory at a time."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Generator
from pathlib import Path

from viewkin.runtime.errors import UserError

LOCK = ".lock"
"""File of a run directory that the process that trains there has locked; it is removed when the process ends."""
TRIES, PAUSE = 5, 0.1
"""How often, and how many seconds apart: a process that only looks holds a lock for a moment."""
BUSY = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)

_held: set[int] = set()


@contextlib.contextmanager
def directory_lock(out: Path) -> Generator[None]:
    """Hold the lock of a run directory; where the system has no such locks, hold nothing.

    Raises:
        UserError: another process holds it.
        OSError: the directory cannot be written.
    """
    number = _locked(out / LOCK)
    if number is None:
        yield
        return
    _held.add(number)
    try:
        yield
    finally:
        if number in _held:  # not in a forked process
            # While it is held, so that nobody locks a file that is about to go; _locked looks at what has the name.
            with contextlib.suppress(OSError):
                (out / LOCK).unlink(missing_ok=True)
            _held.discard(number)
            os.close(number)


def refuse_if_locked(out: Path | None) -> None:
    """Refuse a directory in which another process trains; nothing is written.

    Raises:
        UserError: one does.
    """
    if out is None:
        return
    with contextlib.suppress(ImportError, OSError):
        import fcntl

        number = os.open(out / LOCK, os.O_RDONLY)
        try:
            fcntl.flock(number, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in BUSY:
                raise _refusal(out) from None
        finally:
            os.close(number)


def _locked(path: Path) -> int | None:
    """Open and lock a file: its descriptor, or None where there are no such locks."""
    try:
        import fcntl
    except ImportError:
        return None
    for _ in range(TRIES):
        number = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(number)
            if error.errno not in BUSY:
                return None
            time.sleep(PAUSE)
            continue
        with contextlib.suppress(OSError):  # the process that had it before may have removed it meanwhile
            if os.fstat(number).st_ino == path.stat().st_ino:
                return number
        os.close(number)
    raise _refusal(path.parent)


def _refusal(out: Path) -> UserError:
    return UserError(f"Another process is training in {out}; wait until it ends, or name another --out.")


def _let_go() -> None:
    """Close the locks in a forked process, which would hold them beyond the end of the process that trains."""
    for number in _held:
        with contextlib.suppress(OSError):
            os.close(number)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)
