"""Every image of a data set once, with its split, label and content id: what a collection is compared with."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL.Image import Image

from viewkin.collection.stamps import Stamps
from viewkin.data.dataset import Dataset
from viewkin.data.formats.folder import FileImages
from viewkin.data.formats.parquet_rows import ParquetRows
from viewkin.data.identity import CHUNK, UNREADABLE, content_at
from viewkin.data.listing import Encoded, Listing
from viewkin.data.pool import default_threads, in_order
from viewkin.encode.image_vectors import whole_of
from viewkin.runtime.errors import UserError
from viewkin.runtime.progress import counting


@dataclass
class ListedImages:
    """The images of one split that no earlier split lists."""

    split: str
    """Name of the split."""
    listing: Listing
    """All images of the split."""
    positions: list[int]
    """Positions in the listing that count."""
    contents: list[str] = field(default_factory=list[str])
    """Content id of each of them."""

    @property
    def encoded(self) -> Encoded:
        """The encoded images, by position in the listing."""
        return self.listing.encoded

    @property
    def keys(self) -> list[str]:
        """Key of each."""
        return [self.listing.keys[position] for position in self.positions]

    def label_at(self, position: int) -> int | None:
        """Give the number that the listing has for an image's class; None where it has no label."""
        label = None if self.listing.labels is None else int(self.listing.labels[position])
        return None if label is None or label < 0 else label


def listed_images(dataset: Dataset, split: str | None) -> tuple[list[ListedImages], list[str], set[str]]:
    """List every image of a set, each in the first split that has it.

    Args:
        dataset: the images.
        split: take this one only; None: all.

    Returns:
        The splits, sentences on what is not listed, and the names of splits that could not be listed.

    Raises:
        UserError: nothing can be listed, or there is no such split.
    """
    if split is not None and split not in dataset.splits:
        raise UserError(f"{dataset.name} has no {split} split; it has {', '.join(dataset.splits)}.")
    order = dataset.splits if split is None else (split,)
    listed: list[ListedImages] = []
    seen: set[str] = set()
    notes: list[str] = []
    failed: set[str] = set()
    for name in order:
        try:
            listing = dataset.listing(name)
        except UserError as error:
            if len(order) == 1:
                raise
            notes.append(f"The {name} split is not embedded: {error}")
            failed.add(name)
            continue
        positions = [position for position, key in enumerate(listing.keys) if key not in seen]
        seen.update(listing.keys)
        if positions:
            listed.append(ListedImages(name, listing, positions))
    if not listed:
        raise UserError(" ".join(notes) or f"{dataset.name} holds no images.")
    return listed, notes, failed


def read_contents(dataset: Dataset, listed: Sequence[ListedImages], stamps: Stamps) -> None:
    """Fill in the content ids; files whose stamp is known are not read."""
    for one in listed:
        file_of = files_of(one.encoded, dataset.place)
        if file_of is None and not isinstance(one.encoded, ParquetRows):
            every = dataset.content_ids(one.split)
            one.contents = [every[position] for position in one.positions]
        else:
            one.contents = contents_by_stamp(one, file_of, stamps)


def files_of(encoded: Encoded, root: Path | None) -> Callable[[int, str], str] | None:
    """Give a function from position and key to the file that holds the image; None where stamps tell nothing."""
    if isinstance(encoded, FileImages):
        base, paths = str(encoded.root), encoded.paths
        return lambda position, _: os.path.join(base, paths[position])  # noqa: PTH118 (as in stamp_at)
    if isinstance(encoded, ParquetRows) and not encoded.named and root is not None:
        return lambda _, key: f"{root}/{key.rpartition('#')[0]}"
    return None


def contents_by_stamp(one: ListedImages, file_of: Callable[[int, str], str] | None, stamps: Stamps) -> list[str]:
    """Give the content id of every image, from the cache or by reading."""
    keys, positions = one.keys, one.positions
    contents = [""] * len(keys)
    unknown = list(range(len(keys)))
    if file_of is not None:
        known = [stamps.known(key, file_of(position, key)) for key, position in zip(keys, positions)]
        contents = ["" if before is None else before.content for before in known]
        unknown = [place for place, before in enumerate(known) if before is None]

    def work(places: Sequence[int]) -> list[str]:
        return [content_at(one.encoded, positions[place]).hex() for place in places]

    chunks = [unknown[i : i + CHUNK] for i in range(0, len(unknown), CHUNK)]
    hashed = counting(in_order(work, chunks, default_threads()), "Checking images", len(unknown))
    for place, content in zip(unknown, (content for part in hashed for content in part)):
        contents[place] = content
        if file_of is not None and content != UNREADABLE.hex():
            stamps.note(keys[place], content)
    return contents


def whole_at(encoded: Encoded, position: int) -> str | None:
    """Read an image and hash all its bytes; None where its content id reads them all, or it cannot be read."""
    try:
        image = encoded.open(position)
        if isinstance(image, Image):
            return None
        return whole_of(image.read_bytes() if isinstance(image, Path) else image.read())
    except OSError:
        return None
