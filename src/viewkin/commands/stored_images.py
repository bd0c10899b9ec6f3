"""The images of a collection, opened one by one from where they lie."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from torch import Tensor

from viewkin.collection.reader import Reader
from viewkin.data.dataset import Dataset
from viewkin.data.decode import Readable
from viewkin.data.formats.pixels import PixelImages
from viewkin.data.listing import Listing
from viewkin.data.pillow_warnings import PillowWarnings
from viewkin.data.pool import default_threads, in_order
from viewkin.runtime.errors import UserError
from viewkin.runtime.progress import counting

CHUNK = 16
"""Images that one task of the pool reads."""
Made = TypeVar("Made")


class StoredImages:
    """Opens the image of a row."""

    def __init__(self, reader: Reader) -> None:
        """Open the images of a collection."""
        self._reader = reader
        self._held: list[Tensor] = []
        self._listings: dict[str, tuple[Listing, dict[str, int]]] = {}
        self._paths: list[str | None] = reader.table(vectors=False)["path"].to_pylist()
        self._splits: list[str | None] = reader.rows.table["split"].to_pylist()
        address = reader.manifest.images.address
        try:
            self._dataset = None if address is None else Dataset(address)
        except UserError:
            self._dataset = None

    def open(self, row: int) -> Readable | None:
        """Open an image; None where it is no longer there."""
        path, key = self._paths[row], self._reader.rows.keys[row]
        if path is not None and path.endswith(key) and Path(path).is_file():
            return Path(path)
        split = self._splits[row]
        if self._dataset is None or split is None:
            return None
        try:
            listing, positions = self._listing(self._dataset, split)
            return listing.encoded.open(positions[key])
        except (UserError, OSError, LookupError):
            return None

    def _listing(self, dataset: Dataset, split: str) -> tuple[Listing, dict[str, int]]:
        if split not in self._listings:
            listing = dataset.listing(split)
            if isinstance(listing.encoded, PixelImages):
                self._held.append(listing.encoded.read())  # an archive is read once while it is held
            self._listings[split] = listing, {key: position for position, key in enumerate(listing.keys)}
        return self._listings[split]

    def each(self, rows: Sequence[int], look: Callable[[Readable], Made | None], what: str) -> Iterator[Made | None]:
        """Open images in threads and pass each to ``look``; None where one is not there or cannot be read.

        Args:
            rows: which images, in order.
            look: what to do with one.
            what: what is done, in two words, for the bar.
        """
        for split in {self._splits[row] for row in rows}:
            if self._dataset is not None and split is not None and any("#" in self._reader.rows.keys[r] for r in rows):
                self._listing(self._dataset, split)

        def work(chunk: Sequence[int]) -> list[Made | None]:
            return [None if (image := self.open(row)) is None else _tried(look, image) for row in chunk]

        chunks = [rows[i : i + CHUNK] for i in range(0, len(rows), CHUNK)]
        with PillowWarnings():
            for part in counting(in_order(work, chunks, default_threads()), what, len(rows)):
                yield from part


def _tried(look: Callable[[Readable], Made | None], image: Readable) -> Made | None:
    try:
        return look(image)
    except Exception:  # Pillow's plugins raise nearly anything; the image counts as one that cannot be read
        return None
