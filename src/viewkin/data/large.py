"""Images of very many pixels: reduced while they are read, or refused as bombs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path
from threading import Lock
from typing import BinaryIO

import numpy as np
from PIL import Image

from viewkin.data.png_bands import bands

LARGE = 2**26
"""Pixels above which an image is reduced while it is read, one such image at a time."""
PIXELS_A_BYTE = 1500
"""Pixels a byte of a file above which a large image is a bomb: deflated grey of one level has 1,030."""
WHOLE = 2**29
"""Bytes that an image may need to be read whole, where its file is so small that it may be a bomb."""
SMALL_FILE = 100
"""Pixels a byte above which a file is that small."""
MOST = 2**32
"""Bytes that any image may need to be read whole."""
BAND = 2**23
"""Pixels that are converted at once."""
ONE = Lock()
"""Held while a large image is read."""
BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2}
"""Mode of Pillow to bytes a pixel; all others need 4."""


def is_large(image: Image.Image) -> bool:
    """Whether an image is to be reduced while it is read."""
    return image.width * image.height > LARGE


def size_of(stream: Path | BinaryIO) -> int:
    """Count the bytes of an encoded image."""
    if isinstance(stream, Path):
        return stream.stat().st_size
    end = stream.seek(0, 2)
    stream.seek(0)
    return end


def refuse_bomb(image: Image.Image, stream: Path | BinaryIO) -> None:
    """Refuse an image whose file is far too small for its pixels.

    Raises:
        ValueError: it is.
    """
    size, pixels = size_of(stream), image.width * image.height
    if pixels > PIXELS_A_BYTE * size:
        raise ValueError(
            f"{image.width:,} x {image.height:,} pixels in {size:,} bytes are over the limit of {PIXELS_A_BYTE:,} "
            "pixels a byte, as in a file made to fill the memory"
        )


def reduced(
    image: Image.Image, stream: Path | BinaryIO, least: int, to_rgb: Callable[[Image.Image], Image.Image]
) -> Image.Image:
    """Read a large image, reduced by a whole number so that its shorter side keeps ``least`` pixels, as RGB.

    Raises:
        ValueError: it needs too much memory.
    """
    factor = max(1, min(image.size) // least)
    rows = max(1, BAND // image.width // factor) * factor
    with contextlib.ExitStack() as stack:
        parts: Iterable[Image.Image] | None = None
        if image.format == "PNG":
            parts = bands(stack.enter_context(stream.open("rb")) if isinstance(stream, Path) else stream, rows)
        if parts is None:
            _refuse_too_much(image, stream)
            image.load()
            tops = range(0, image.height, rows)
            parts = (image.crop((0, top, image.width, min(top + rows, image.height))) for top in tops)
        pixels = np.concatenate([np.asarray(to_rgb(part).reduce(factor)) for part in parts])
        # Blocks at the right and lower rim that are not whole would be stretched to whole ones.
        return Image.fromarray(pixels[: image.height // factor, : image.width // factor])


def _refuse_too_much(image: Image.Image, stream: Path | BinaryIO) -> None:
    pixels = image.width * image.height
    needed = pixels * BYTES.get(image.mode, 4)
    if needed > MOST or (needed > WHOLE and pixels > SMALL_FILE * size_of(stream)):
        raise ValueError(
            f"{image.width:,} x {image.height:,} pixels need {needed / 2**30:.1f} GiB, over the limit: save it smaller"
        )
