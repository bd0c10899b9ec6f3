"""What an image is: its content id, and the fingerprint of a set.

The content id of an encoded image is the BLAKE2b-128 of its size in bytes (8 bytes, little endian), its first 64 KiB
and its last 64 KiB; of all of it where it is smaller than both. An image without a file (of an archive, drawn,
or in memory) has the BLAKE2b-128 of its width and height (8 bytes each, little endian) and of its upright RGB pixels,
row by row. Content ids are written as 32 hexadecimal digits.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from viewkin.data.cache import CONTENT_BYTES, keep_content, key_of, load_content
from viewkin.data.decode import Readable, upright
from viewkin.data.listing import Encoded
from viewkin.data.pool import default_threads, in_order
from viewkin.data.values import is_wide
from viewkin.runtime.progress import counting

EDGE = 64 * 1024
"""Bytes of each end of an encoded image that are hashed."""
CHUNK = 64
"""Images hashed by one task of the pool."""
UNREADABLE = bytes(CONTENT_BYTES)
"""Content id of what cannot be read."""


def content_at(encoded: Encoded, position: int) -> bytes:
    """Hash the image at a position; UNREADABLE where it cannot be opened."""
    try:
        return content_of(encoded.open(position))
    except Exception:  # a damaged part of a Parquet file; the first pass names the image
        return UNREADABLE


def content_of(image: Readable) -> bytes:
    """Hash an image: 16 bytes, UNREADABLE where it cannot be read."""
    try:
        if isinstance(image, Path):
            return content_of_file(image)
        if isinstance(image, Image.Image):
            if is_wide(image):  # its values, whatever range of them is shown
                return content_of_values(np.asarray(image))
            return content_of_pixels(np.asarray(upright(image)))
        encoded = image.getvalue() if isinstance(image, BytesIO) else image.read()
        return content_of_ends(len(encoded), encoded[:EDGE], encoded[EDGE:][-EDGE:])
    except Exception:  # as in decode; the first pass names the image
        return UNREADABLE


def content_of_file(path: Path) -> bytes:
    """Hash an encoded image without reading its middle."""
    with path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        if size <= 2 * EDGE:
            return content_of_ends(size, file.read(), b"")
        first = file.read(EDGE)
        file.seek(size - EDGE)
        return content_of_ends(size, first, file.read(EDGE))


def content_of_ends(size: int, first: bytes, last: bytes) -> bytes:
    """Hash the size and both ends of an encoded image."""
    digest = hashlib.blake2b(size.to_bytes(8, "little"), digest_size=CONTENT_BYTES)
    digest.update(first)
    digest.update(last)
    return digest.digest()


def content_of_pixels(pixels: NDArray[np.uint8]) -> bytes:
    """Hash the RGB pixels (H, W, 3) of an image without a file."""
    height, width, _ = pixels.shape
    digest = hashlib.blake2b(width.to_bytes(8, "little") + height.to_bytes(8, "little"), digest_size=CONTENT_BYTES)
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.digest()


def content_of_values(values: NDArray[Any]) -> bytes:
    """Hash the values (H, W) of a picture of more than 8 bits without a file."""
    digest = hashlib.blake2b(f"{values.dtype.str}{values.shape}".encode(), digest_size=CONTENT_BYTES)
    digest.update(np.ascontiguousarray(values).data)
    return digest.digest()


def contents_of_pixels(images: Tensor) -> list[str]:
    """Hash each of some images (N, 3, H, W) uint8."""
    parts = (part.permute(0, 2, 3, 1).contiguous().numpy() for part in images.split(1024))
    return [content_of_pixels(image).hex() for part in parts for image in part]


def contents_of(encoded: Encoded, folder: Path, *, threads: int = 0, progress: bool = True) -> list[str]:
    """Hash every image of a listing, in its order; a cache entry of the same files is read instead.

    Args:
        encoded: the images.
        folder: folder of the cache.
        threads: threads that read (0: one a core).
        progress: whether to show a bar when it takes long.
    """
    stamps = encoded.stamps()
    key = key_of(stamps, 0)
    rows = load_content(folder, key, len(encoded)) if stamps else None
    if rows is None:
        chunks = [range(i, min(i + CHUNK, len(encoded))) for i in range(0, len(encoded), CHUNK)]

        def work(chunk: range) -> list[bytes]:
            return [content_at(encoded, i) for i in chunk]

        hashed = in_order(work, chunks, threads or default_threads())
        rows = b"".join(
            one for part in counting(hashed, "Reading images", len(encoded), shown=progress) for one in part
        )
        if stamps:
            keep_content(folder, key, rows)
    return [rows[i : i + CONTENT_BYTES].hex() for i in range(0, len(rows), CONTENT_BYTES)]


def fingerprint_of(images: Iterable[tuple[str, str]]) -> str:
    """Hash the sorted (key, content id) pairs of a set: 32 hexadecimal digits.

    The pairs may come in any order and from anywhere: a stream of tar shards gives the key ``shard.tar#member`` and the
    content id of each member while it is read.
    """
    digest = hashlib.blake2b(digest_size=16)
    for key, content in sorted(images):
        digest.update(key.encode("utf-8", "backslashreplace") + b"\0" + bytes.fromhex(content))
    return digest.hexdigest()
