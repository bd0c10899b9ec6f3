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
            whole = match.path is not None and match.path.endswith(match.key)
            self._made[match.key] = self._shown(_file(match.path) if whole else self._opened(match))
        return self._made[match.key]

    def of_query(self, name: str) -> str | None:
        """Show a query that is a key of the collection or a file."""
        row = self._reader.rows.row_of.get(name)
        if row is not None:
            return self.of(self._reader.match(name, 0, 1.0, row))
        return self._shown(_file(name))

    def _shown(self, image: Readable | None) -> str | None:
        """Make the thumbnail of an image."""
        if image is None:
            return None
        try:
            with PillowWarnings():
                small = self._small(image)
        except Exception:  # Pillow's plugins raise nearly anything; the page says that there is no picture
            return None
        sink = BytesIO()
        small.save(sink, "JPEG", quality=QUALITY)
        return f"data:image/jpeg;base64,{base64.b64encode(sink.getvalue()).decode()}"

    def _small(self, image: Readable) -> Image.Image:
        """Reduce an image; one of very many pixels to its central square, which is read in bands."""
        if isinstance(image, Image.Image):
            return reduced(image, self._range)
        stream: Path | BinaryIO = image
        with opened(stream) as file:
            if not is_large(file):
                file.draft("RGB", (2 * SIDE, 2 * SIDE))
                return reduced(file, self._range)
        pixels = decode(stream, SIDE, value_range=self._range)
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


def reduced(image: Image.Image, value_range: tuple[float, float] | None) -> Image.Image:
    """Reduce an image to a thumbnail, upright."""
    image.load()
    method, rgb = turn(image), to_rgb(image, value_range)
    small = rgb.copy()
    small.thumbnail((SIDE, SIDE))
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
