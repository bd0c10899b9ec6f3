"""Imports without a search for garbage."""

from __future__ import annotations

import gc
import sys
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def swift_imports() -> Generator[None]:
    """Import torch and what stands on it, and leave none of it to the garbage collector.

    Modules live as long as the process, but for their third of a million objects Python would look for garbage again
    and again: a fifth of the time that importing them takes, and 0.2 s of each full search later.
    """
    if "torch" in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
