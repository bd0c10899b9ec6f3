"""Which kind of image a file without an ending is, by its first bytes."""

from __future__ import annotations

import os
import re
from pathlib import Path

from viewkin.data.left_out import ending_of

LENGTH = 16
"""Bytes that are looked at."""
BEGINNINGS = (
    (b"\xff\xd8\xff", ".jpg"),
    (b"\x89PNG\r\n\x1a\n", ".png"),
    (b"GIF87a", ".gif"),
    (b"GIF89a", ".gif"),
    (b"II*\0", ".tif"),
    (b"MM\0*", ".tif"),
    (b"II+\0\x08\0\0\0", ".tif"),
    (b"MM\0+\0\x08\0\0", ".tif"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", ".jp2"),
    (b"\xff\x4f\xff\x51", ".j2k"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", ".jxl"),
    (b"8BPS\0\x01", ".psd"),
)
"""How files of each kind begin, with the usual ending of the kind."""
BRANDS = {
    **dict.fromkeys((b"avif", b"avis"), ".avif"),
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"), ".heic"),
}
"""Brands of the container that images share with films (ISO 14496-12), with the usual ending."""
ENDING = re.compile(r"\.(?=.*[a-z])[a-z0-9_~-]{1,9}")
"""What tells the kind of a file: short, without blanks, and no number."""


def kind_of_content(first: bytes) -> str:
    """Name the usual ending of the kind of image that begins so; "" for anything else."""
    for beginning, ending in BEGINNINGS:
        if first.startswith(beginning):
            return ending
    if first[:4] == b"RIFF" and first[8:12] == b"WEBP":
        return ".webp"
    if first[:2] == b"BM" and first[6:10] == bytes(4):  # the two fields that are reserved
        return ".bmp"
    return BRANDS.get(first[8:12], "") if first[4:8] == b"ftyp" else ""


def has_ending(name: str) -> bool:
    """Whether a name says what a file holds: ``a.txt`` does, ``photo.2024`` and ``Mr. Smith`` do not."""
    return ENDING.fullmatch(ending_of(name)) is not None


def kind_by_content(path: str | Path) -> str:
    """Look into a file and name the usual ending of the image in it; "" for other files, pipes and unreadable ones."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except (OSError, ValueError):
        return ""
    with os.fdopen(handle, "rb", buffering=0) as file:
        try:
            return kind_of_content(file.read(LENGTH) or b"")
        except OSError:
            return ""
