"""Images that the page is given to search by: bounded in bytes and pixels, and only of kinds that are pictures."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

from viewkin.data.large import is_large, refuse_bomb
from viewkin.data.opening import opened
from viewkin.runtime.errors import UserError

MOST_BYTES = 32 * 2**20
"""Bytes of the largest image that is taken."""
ENDINGS = {
    "JPEG": ".jpg",
    "MPO": ".jpg",
    "PNG": ".png",
    "WEBP": ".webp",
    "GIF": ".gif",
    "BMP": ".bmp",
    "TIFF": ".tif",
    "HEIF": ".heic",
    "AVIF": ".avif",
}
"""Kinds that are taken, with the ending of their files. Others, such as EPS, would start programs."""


class TooLargeError(UserError):
    """More bytes than are taken."""


async def read_bounded(chunks: AsyncIterator[bytes], declared: str | None, most: int) -> bytes:
    """Read the body of a request.

    Args:
        chunks: its parts.
        declared: its header Content-Length.
        most: bytes that are taken.

    Raises:
        TooLargeError: there are more, or more are declared.
    """
    refused = TooLargeError(f"This is over the limit of {most / 2**20:.0f} MB.")
    if declared is not None and (not declared.isdecimal() or int(declared) > most):
        raise refused
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > most:
            raise refused
    return bytes(body)


@contextmanager
def as_file(data: bytes) -> Generator[str]:
    """Write an image to a file that lasts as long as the block, so that it is read as all files are.

    Raises:
        UserError: it is no image, of a kind that is not taken, or of too many pixels.
    """
    ending = ENDINGS[checked(data)]
    with tempfile.TemporaryDirectory(prefix="viewkin-") as folder:
        path = Path(folder) / f"image{ending}"
        path.write_bytes(data)
        yield str(path)


def checked(data: bytes) -> str:
    """Name the kind of an image; only its head is read.

    Raises:
        UserError: it is no image, of a kind that is not taken, or of too many pixels.
    """
    try:
        with opened(BytesIO(data)) as image:
            kind, width, height, large = image.format or "", image.width, image.height, is_large(image)
            if large and kind in ENDINGS:
                refuse_bomb(image, BytesIO(data))
    except Exception as error:  # Pillow's plugins raise nearly anything
        bomb = isinstance(error, ValueError) and "pixels" in str(error)
        raise UserError(f"This cannot be read as an image{f': {error}' if bomb else ''}.") from error
    if kind not in ENDINGS:
        raise UserError(f"Images of the kind {kind or 'unknown'} are not taken: save it as JPEG or PNG.")
    if large:
        raise UserError(f"{width:,} x {height:,} pixels are over the limit: save it smaller.")
    return kind
