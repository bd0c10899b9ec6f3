"""PNG read in bands of rows, so that a very large image needs little memory."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from io import BytesIO
from typing import BinaryIO

import numpy as np
from PIL import Image

SIGNATURE = b"\x89PNG\r\n\x1a\n"
TEXTS = (b"tEXt", b"zTXt", b"iTXt")
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Colour type to numbers a pixel (PNG 3rd edition, table 9)."""
COLOURS = {1: 0, 2: 4, 3: 2, 4: 6}
"""Bytes a pixel to the colour type of 8 bits that has as many."""
PIECE = 1 << 20
"""Bytes inflated at once."""


def chunk(kind: bytes, body: bytes) -> bytes:
    """Write one chunk."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def chunks(stream: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """Read the chunks of a PNG file in turn: kind and body."""
    stream.seek(len(SIGNATURE))
    while len(head := stream.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        body = stream.read(length)
        stream.read(4)
        yield kind, body
        if kind == b"IEND":
            return


def without_texts(stream: BinaryIO) -> BytesIO:
    """Copy a PNG file without its texts, but with the camera's data that some programs write as one."""
    kept = [
        chunk(kind, body)
        for kind, body in chunks(stream)
        if kind not in TEXTS or body.startswith(b"Raw profile type exif")
    ]
    return BytesIO(SIGNATURE + b"".join(kept))


def bands(stream: BinaryIO, rows: int) -> Iterator[Image.Image] | None:
    """Read a PNG file ``rows`` rows at a time; None for the kinds that cannot be: interlaced, or 16-bit colours.

    Each band is unfiltered by Pillow as an image of bytes that follows the last row of the band before, and then
    written as a small PNG file of its own, so that every kind of pixel is read as Pillow reads it.
    """
    _, header = next(chunks(stream), (b"", b""))
    if len(header) != 13:
        return None
    width, height, bits, colour, _, _, interlaced = struct.unpack(">IIBBBBB", header)
    pixel_bits = bits * CHANNELS.get(colour, 0)
    if interlaced or not 0 < pixel_bits <= 32:
        return None
    return _bands(stream, header, (width, height), max(1, pixel_bits // 8), (width * pixel_bits + 7) // 8, rows)


def _bands(
    stream: BinaryIO, header: bytes, size: tuple[int, int], pixel: int, stride: int, rows: int
) -> Iterator[Image.Image]:
    colours: list[bytes] = []
    before = bytes(stride)
    left = size[1]
    wanted = min(rows, left)
    filtered = bytearray()
    for piece in _inflated(stream, colours):
        filtered += piece
        while left and len(filtered) >= wanted * (stride + 1):
            part, filtered = filtered[: wanted * (stride + 1)], filtered[wanted * (stride + 1) :]
            shape = struct.pack(">IIBBBBB", stride // pixel, wanted + 1, 8, COLOURS[pixel], 0, 0, 0)
            plain = np.asarray(_image(shape, [], b"\0" + before + part)).reshape(wanted + 1, stride)[1:]
            before = plain[-1].tobytes()
            unfiltered = np.concatenate([np.zeros((wanted, 1), np.uint8), plain], 1).tobytes()
            yield _image(struct.pack(">II", size[0], wanted) + header[8:], colours, unfiltered)
            left -= wanted
            wanted = min(rows, left)
    if left:
        raise OSError("image file is truncated")


def _image(header: bytes, colours: list[bytes], rows: bytes | bytearray) -> Image.Image:
    body = b"".join([chunk(b"IHDR", header), *colours, chunk(b"IDAT", zlib.compress(rows, 0)), chunk(b"IEND", b"")])
    image = Image.open(BytesIO(SIGNATURE + body), formats=["PNG"])
    image.load()
    return image


def _inflated(stream: BinaryIO, colours: list[bytes]) -> Iterator[bytes]:
    """Inflate the rows of a PNG file, a mebibyte at a time; what tells its colours is put into ``colours``."""
    inflate = zlib.decompressobj()
    for kind, body in chunks(stream):
        if kind in (b"PLTE", b"tRNS"):
            colours.append(chunk(kind, body))
        while kind == b"IDAT" and body:
            yield inflate.decompress(body, PIECE)
            body = inflate.unconsumed_tail
