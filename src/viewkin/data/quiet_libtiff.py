"""What libtiff says of a damaged file by itself, past Python, onto standard error: nothing."""

from __future__ import annotations

import contextlib
import ctypes
from functools import cache
from pathlib import Path

import PIL


@cache
def quieten_libtiff() -> None:
    """Let the libtiff inside Pillow's wheel write no messages; Pillow raises an error for what cannot be read.

    Where Pillow was built with the system's libtiff, its messages stay.
    """
    package = Path(PIL.__file__).parent
    for library in [*(package.parent / "pillow.libs").glob("libtiff*"), *(package / ".dylibs").glob("libtiff*")]:
        with contextlib.suppress(OSError, AttributeError):
            loaded = ctypes.CDLL(str(library))
            for setter in (loaded.TIFFSetErrorHandler, loaded.TIFFSetWarningHandler):
                setter.argtypes, setter.restype = [ctypes.c_void_p], ctypes.c_void_p
                setter(None)
