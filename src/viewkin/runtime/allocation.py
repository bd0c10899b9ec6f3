"""Freed memory that stays with the process, for work that needs the same amounts again at every step.

A training step frees the activations of a batch and asks for the same again. The GNU C library gives large blocks back
to the system at once, which then has to clear every page anew: a fifth of a step and more.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Generator
from contextlib import contextmanager

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4
"""Settings of ``mallopt`` (malloc.h)."""
LARGEST = 32 * 2**20
"""Bytes: where blocks of their own begin at the latest; the library comes to it by itself as large blocks are freed."""


@contextmanager
def kept_memory(wanted: bool = True) -> Generator[None]:
    """Keep what is freed inside for the next request; give it back to the system at the end.

    Does nothing where the C library is another one than glibc. Inside another such block it changes nothing either.

    Args:
        wanted: False does nothing.
    """
    library = ctypes.CDLL(None) if wanted and sys.platform == "linux" else None
    if library is None or not hasattr(library, "gnu_get_libc_version") or _inside:
        yield
        return
    library.mallopt(M_MMAP_MAX, 0)
    library.mallopt(M_TRIM_THRESHOLD, -1)
    _inside.append(True)
    try:
        yield
    finally:
        _inside.clear()
        library.mallopt(M_MMAP_MAX, 65536)
        library.mallopt(M_MMAP_THRESHOLD, LARGEST)
        library.mallopt(M_TRIM_THRESHOLD, 2 * LARGEST)
        library.malloc_trim(0)


_inside: list[bool] = []
