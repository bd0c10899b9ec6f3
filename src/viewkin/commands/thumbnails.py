"""Small pictures of a collection's images, read from where they lie."""

from __future__ import annotations

import base64
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from PIL import Image
from torch import Tensor

from viewkin.collection.matches import Match
from viewkin.collection.reader import Reader
from viewkin.data.dataset import Dataset
from viewkin.data.decode import Readable, decode, to_rgb, turn
from viewkin.data.formats.pixels import PixelImages
from viewkin.data.large import is_large
from viewkin.data.listing import Listing
from viewkin.data.opening import opened
from viewkin.data.pillow_warnings import PillowWarnings
from viewkin.runtime.errors import UserError

SIDE = 160
"""Longer side of a thumbnail, pixels."""
QUALITY = 80
"""Of its JPEG, in percent."""


class Thumbnails:
    """Pictures of matches and queries as JPEG in data addresses; None where an image is no longer there."""

    def __init__(self, reader: Reader) -> None:
        """Show images of an opened collection."""
        self._reader = reader
        self._range = reader.manifest.value_range
        self._dataset: Dataset | None = None
        self._held: list[Tensor] = []
        self._listings: dict[str, tuple[Listing, dict[str, int]]] = {}
        self._made: dict[str, str | None] = {}

    def of(self, match: Match) -> str | None:
        """Show a match."""
        if match.key not in self._made:
            self._made[match.key] = _address(self.jpeg(match))
        return self._made[match.key]

    def jpeg(self, match: Match, side: int = SIDE) -> bytes | None:
        """Give the image of a match as JPEG.

        Args:
            match: which one.
            side: longer side at most, pixels.
        """
        whole = match.path is not None and match.path.endswith(match.key)
        return self._encoded(_file(match.path) if whole else self._opened(match), side)

    def of_query(self, name: str) -> str | None:
        """Show a query that is a key of the collection or a file."""
        row = self._reader.rows.row_of.get(name)
        if row is not None:
            return self.of(self._reader.match(name, 0, 1.0, row))
        return _address(self._encoded(_file(name), SIDE))

    def _encoded(self, image: Readable | None, side: int) -> bytes | None:
        """Make the thumbnail of an image."""
        if image is None:
            return None
        try:
            with PillowWarnings():
                small = self._small(image, side)
        except Exception:  # Pillow's plugins raise nearly anything; the page says that there is no picture
            return None
        sink = BytesIO()
        small.save(sink, "JPEG", quality=QUALITY)
        return sink.getvalue()

    def _small(self, image: Readable, side: int) -> Image.Image:
        """Reduce an image; one of very many pixels to its central square, which is read in bands."""
        if isinstance(image, Image.Image):
            return reduced(image, self._range, side)
        stream: Path | BinaryIO = image
        with opened(stream) as file:
            if not is_large(file):
                file.draft("RGB", (2 * side, 2 * side))
                return reduced(file, self._range, side)
        pixels = decode(stream, side, value_range=self._range)
        if isinstance(pixels, str):
            raise ValueError(pixels)
        return Image.fromarray(pixels.transpose(1, 2, 0))

    def _opened(self, match: Match) -> Readable | None:
        """Open an image that is inside a file of many, or drawn; None where the set is not there."""
        address, split = self._reader.manifest.images.address, match.split
        if address is None or split is None:
            return None
        try:
            if split not in self._listings:
                self._dataset = self._dataset or Dataset(address)
                listing = self._dataset.listing(split)
                if isinstance(listing.encoded, PixelImages):
                    self._held.append(listing.encoded.read())  # an archive is read once while it is held
                self._listings[split] = listing, {key: position for position, key in enumerate(listing.keys)}
            listing, positions = self._listings[split]
            return listing.encoded.open(positions[match.key])
        except (UserError, OSError, LookupError):
            return None


def _address(jpeg: bytes | None) -> str | None:
    return None if jpeg is None else f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"


def reduced(image: Image.Image, value_range: tuple[float, float] | None, side: int = SIDE) -> Image.Image:
    """Reduce an image to a thumbnail, upright."""
    image.load()
    method, rgb = turn(image), to_rgb(image, value_range)
    small = rgb.copy()
    small.thumbnail((side, side))
    return small if method is None else small.transpose(method)


def _file(path: str | None) -> Path | None:
    r"""Find a file by its name in a collection, where bytes that are no UTF-8 are written as ``\xe9``."""
    if path is None:
        return None
    for name in (path, _with_bytes(path)):
        file = Path(name).expanduser()
        if name and file.is_file():
            return file
    return None


def _with_bytes(path: str) -> str:
    try:
        return (
            path.encode("latin-1", "backslashreplace")
            .decode("unicode_escape")
            .encode("latin-1")
            .decode("utf-8", "surrogateescape")
        )
    except (UnicodeError, ValueError):
        return ""
