"""Writes the differences between a set of images and a collection, part by part."""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from viewkin.collection.changes import Differences, Found, gone_of
from viewkin.collection.listed_images import ListedImages
from viewkin.collection.manifest import ImageSet, Origin
from viewkin.collection.parts import FIELDS
from viewkin.collection.stamps import Stamps
from viewkin.collection.store import Change, Rows, Store
from viewkin.data.dataset import Dataset
from viewkin.data.first_pass import range_of
from viewkin.encode.image_vectors import Range, SeenImage, image_vectors
from viewkin.encode.model import Model
from viewkin.encode.precision import Chosen, precision_for
from viewkin.runtime.places import printable
from viewkin.runtime.progress import progress_bar
from viewkin.runtime.wording import counted

PART_ROWS = 4096
"""Rows after which a part is written."""
PART_SECONDS = 60.0
"""Seconds after which a part is written, and the stamps."""


@dataclass
class Update:
    """What an update did."""

    images: int = 0
    """Live rows after it."""
    computed: int = 0
    """Images that were encoded, new and changed."""
    changed: int = 0
    """Images encoded whose key was there with another content."""
    kept: int = 0
    """Rows that stayed as they were."""
    renamed: int = 0
    """Images that have another key now; their vector was taken over."""
    copied: int = 0
    """Images whose content is there under another key as well; its vector was taken over."""
    relabelled: int = 0
    """Images of another split or label; their vector was taken over."""
    gone: int = 0
    """Rows whose image is no longer there."""
    left_out: dict[str, str] = field(default_factory=dict[str, str])
    """Key to reason of images that are listed and could not be read."""
    notes: list[str] = field(default_factory=list[str])
    """Sentences on what was found."""

    @property
    def sentence(self) -> str:
        """The counts in one line."""
        counts = {"kept": self.kept, "renamed": self.renamed, "changed": self.changed, "gone": self.gone}
        more = {"copied": self.copied, "relabelled": self.relabelled}
        counts |= {name: count for name, count in more.items() if count}
        told = ", ".join(f"{count:,} {name}" for name, count in {**counts, "left out": len(self.left_out)}.items())
        return f"{counted(self.images, 'image')}: {self.computed:,} computed, {told}"


@dataclass(frozen=True, kw_only=True)
class UpdateRequest:
    """Which images a collection is to mirror, and by which model."""

    folder: Path
    """The collection; made where it is not there."""
    dataset: Dataset
    """The images."""
    model: Model
    """The model."""
    origin: Origin
    """What the manifest says of it; ``width`` may be 0, as it is known only once an image is encoded."""
    device: torch.device
    """Where the network runs."""
    split: str | None = None
    """Split to mirror; rows of others stay as they are. None: all."""
    precision: str = "auto"
    """Form that the network runs in; ``auto``: that of the collection or, in a new one, the fastest."""
    number: str | None = None
    """``float32`` or ``float16``; None: as the collection has it, float32 in a new one."""
    overwrite: bool = False
    """Whether images of another place may take the place of most of those that are there."""


def images_of(dataset: Dataset) -> ImageSet:
    """Say what the manifest keeps of a set."""
    root = None if dataset.place is None else printable(dataset.place)
    return ImageSet(printable(dataset.name), dataset.address and printable(dataset.address), root)


class Writer:
    """Writes the differences between a set and a collection, part by part."""

    def __init__(
        self, request: UpdateRequest, store: Store, listed: Sequence[ListedImages], stamps: Stamps, told: Update
    ) -> None:
        """Write to a store what a request asks for, and count it in ``told``."""
        self.request, self.store, self.listed, self.stamps, self.told = request, store, listed, stamps, told
        self._images: list[tuple[Found, SeenImage]] = []
        self._rows: list[NDArray[np.float32]] = []
        self._written, self._saved = time.monotonic(), time.monotonic()
        self._facts: dict[str, object] = {}

    def forget_and_carry(self, rows: Rows, difference: Differences, classes: Sequence[str]) -> None:
        """Take rows out whose image is gone or has changed, and carry vectors over to new rows.

        A vector that is carried over is written in the same generation in which its old row goes.
        """
        told = self.told
        told.kept, told.renamed, told.copied = difference.kept, difference.renamed, difference.copied
        told.relabelled, told.gone = difference.relabelled, difference.forgotten
        origin = replace(self.request.origin, width=self.store.manifest.model.width)
        facts: dict[str, object] = {"classes": tuple(classes), "images": images_of(self.request.dataset)}
        self._facts = facts | {"model": origin}
        source = {row for _, row in difference.carried}
        left = [row for row in difference.gone if row not in source]
        for start in range(0, len(difference.carried), PART_ROWS):
            some = difference.carried[start : start + PART_ROWS]
            more = {row for _, row in difference.carried[start + PART_ROWS :]}
            going = {row for _, row in some} & set(difference.gone) - more
            vectors = self.store.vectors_at([rows.places[row] for _, row in some])
            table = self.store.table(self._carried_columns(rows, some), vectors)
            self.store.commit(Change(table, gone_of(rows, sorted(going))), **self._facts)
        same = all(getattr(self.store.manifest, name) == value for name, value in self._facts.items())
        if left or not same:
            self.store.commit(Change(None, gone_of(rows, left)), **self._facts)

    def _carried_columns(self, rows: Rows, some: Sequence[tuple[Found, int]]) -> dict[str, list[Any]]:
        old = rows.table.take([row for _, row in some]).to_pydict()
        split, label, name = zip(*(image.facts for image, _ in some))
        new = {"key": [image.key for image, _ in some], "path": [self._path(image) for image, _ in some]}
        return old | new | {"split": list(split), "label": list(label), "class_name": list(name)}

    def _path(self, image: Found) -> str | None:
        """Name the file of an image, relative to the folder of the set; None where it has none."""
        encoded, root = self.listed[image.place[0]].encoded, self.request.dataset.place
        paths: list[str] | None = getattr(encoded, "paths", None)
        if paths is not None and root is not None:
            base: Path = getattr(encoded, "root", root)
            path = paths[image.place[1]] if base == root else os.path.relpath(base / paths[image.place[1]], root)
            return printable(path)
        file, mark, _ = image.key.rpartition("#")
        return file if mark and root is not None and (root / file).is_file() else None

    def compute(self, images: Sequence[Found]) -> None:
        """Encode images and write them in parts.

        Raises:
            UserError: a network that gives no finite row an image, or a place that cannot be written.
        """
        try:
            with progress_bar("Embedding images", len(images)) as bar:
                for index, group in groupby(images, key=lambda image: image.place[0]):
                    for done in self._encoded(self.listed[index], list(group)):
                        bar.advance(done)
                        self._flush(whole=False)
        except (KeyboardInterrupt, SystemExit):
            self._flush(whole=True)  # whoever stops the work keeps all of it
            raise
        else:
            self._flush(whole=True)
        finally:
            self.stamps.save()

    def _encoded(self, one: ListedImages, images: Sequence[Found]) -> Generator[int]:
        """Encode images of one split; gives how many were read or left out."""
        of_position = {image.place[1]: image for image in images}
        choose = self._range_of(one)
        known = self._facts.get("precision", self.store.manifest.precision)
        asked = str(known or self.request.precision)
        precision = precision_for(asked, len(images))
        self._facts["precision"] = precision if precision != "auto" else known

        def settled(chosen: Chosen) -> None:
            self._facts["precision"] = chosen.precision
            if chosen.note is not None:
                self.told.notes.append(chosen.note)

        request, positions = self.request, list(of_position)
        encoding = image_vectors(request.model, one.encoded, positions, request.device, choose, precision, settled)
        with closing(encoding) as blocks:
            for block in blocks:
                for position, why in block.unread.items():
                    self.told.left_out[of_position[position].key] = why
                if block.positions:
                    self._rows.append(nn.functional.normalize(block.rows, dim=1).numpy())
                for position, seen in zip(block.positions, block.images):
                    image = of_position[position]
                    self._images.append((image, seen))
                    self.stamps.note(image.key, seen.content, seen.whole)
                yield len(block.positions) + len(block.unread)

    def _range_of(self, one: ListedImages) -> Any:
        """Give what chooses the range of values of images of more than 8 bits: once for a collection."""

        def choose() -> Range:
            known = self._facts.get("value_range", self.store.manifest.value_range)
            if known is None:
                known = self._facts["value_range"] = range_of(one.encoded)
            return known  # pyright: ignore[reportReturnType]

        return choose

    def _flush(self, *, whole: bool) -> None:
        """Write what was encoded as a part, if it is enough, or at the end."""
        late = time.monotonic() - self._written > PART_SECONDS
        while len(self._images) >= PART_ROWS or (self._images and (whole or late)):
            rows = np.concatenate(self._rows)
            some, self._images = self._images[:PART_ROWS], self._images[PART_ROWS:]
            self._rows = [rows[len(some) :]]
            self._set_width(rows.shape[1])
            table = self.store.table(self._columns(some), rows[: len(some)])
            self.store.commit(Change(table), **self._facts)
            self.told.computed += len(some)
            self.told.changed += sum(image.replaces for image, _ in some)
            self._written = time.monotonic()
        if time.monotonic() - self._saved > PART_SECONDS:
            self.stamps.save()
            self._saved = time.monotonic()

    def _set_width(self, width: int) -> None:
        """Note the length of the vectors, which a new collection does not know."""
        origin = replace(self.request.origin, width=width)
        self._facts["model"] = origin
        self.store.manifest = replace(self.store.manifest, model=origin)

    def _columns(self, some: Sequence[tuple[Found, SeenImage]]) -> dict[str, list[Any]]:
        """Make the columns of images that were encoded."""
        images, seen = [image for image, _ in some], [one for _, one in some]
        split, label, name = zip(*(image.facts for image in images))
        columns: dict[str, list[Any]] = {"key": [image.key for image in images], "path": [*map(self._path, images)]}
        columns |= {"split": list(split), "label": list(label), "class_name": list(name)}
        for field_name in ("size", "content", "whole", "width", "height"):
            columns[field_name] = [getattr(one, field_name) for one in seen]
        assert set(columns) == {one.name for one in FIELDS}
        return columns
