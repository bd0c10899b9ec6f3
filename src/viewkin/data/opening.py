"""Opening encoded images with Pillow: plugins, very large images, and PNG files of long texts."""

from __future__ import annotations

import contextlib
import importlib
import logging
from collections.abc import Generator
from functools import cache
from io import BytesIO
from pathlib import Path
from threading import Lock
from typing import BinaryIO

from PIL import Image

from viewkin.data.png_bands import without_texts
from viewkin.data.quiet_libtiff import quieten_libtiff

LIMIT = Lock()
"""Held while Pillow's limit of pixels is lifted to open a large image."""
POINTER = b"version https://git-lfs"
"""How a file begins that only stands for one in Git's large file storage."""


@cache
def register_plugins() -> None:
    """Let Pillow read the kinds of image that installed plugins add."""
    quieten_libtiff()
    logging.getLogger("PIL").addHandler(logging.NullHandler())  # else its errors go to standard error
    with contextlib.suppress(ImportError, AttributeError):
        importlib.import_module("pillow_heif").register_heif_opener()
    for plugin in ("pillow_avif", "pillow_jxl"):
        with contextlib.suppress(ImportError):
            importlib.import_module(plugin)  # it registers itself


@contextlib.contextmanager
def opened(stream: Path | BinaryIO) -> Generator[Image.Image]:
    """Open an encoded image of any size; raises what Pillow raises, and ValueError for a bomb."""
    register_plugins()
    try:
        image = Image.open(stream)
    except Image.DecompressionBombError:
        with LIMIT:
            limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            try:
                image = Image.open(stream)
            finally:
                Image.MAX_IMAGE_PIXELS = limit
    with image:
        yield image


def readable_png(stream: Path | BinaryIO, error: ValueError) -> BytesIO:
    """Copy a PNG file without its texts, where their length alone is why it was refused; else raise the error."""
    if "MAX_TEXT" not in str(error) and "text chunks" not in str(error):
        raise error
    with stream.open("rb") if isinstance(stream, Path) else contextlib.nullcontext(stream) as file:
        return without_texts(file)


def is_pointer(stream: object) -> bool:
    """Whether a file only stands for one in Git's large file storage."""
    if not isinstance(stream, Path):
        return False
    try:
        with stream.open("rb") as file:
            return file.read(len(POINTER)) == POINTER
    except OSError:
        return False
