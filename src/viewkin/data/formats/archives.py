"""The archives that torchvision reads: CIFAR-10, CIFAR-100 and STL-10, already unpacked on disk."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from viewkin.data.formats.pixels import PixelImages
from viewkin.data.formats.tree import absolute
from viewkin.data.identity import contents_of_pixels
from viewkin.data.layout import PixelLayout
from viewkin.data.listing import Listing, Survey
from viewkin.data.source import ResidentSource, SourceInfo
from viewkin.runtime.errors import UserError

ARCHIVES = {"cifar-10-batches-py": "CIFAR10", "cifar-100-python": "CIFAR100", "stl10_binary": "STL10"}
"""Folder name to torchvision's class."""
SPLITS: dict[str, dict[str, int]] = {
    "CIFAR10": {"train": 50_000, "test": 10_000},
    "CIFAR100": {"train": 50_000, "test": 10_000},
    "STL10": {"train": 5_000, "unlabeled": 100_000, "train+unlabeled": 105_000, "test": 8_000},
}
"""Images of each split, as published; torchvision checks the files against their published checksums."""
CLASSES = {"CIFAR10": 10, "CIFAR100": 100, "STL10": 10}
SIDES = {"CIFAR10": 32, "CIFAR100": 32, "STL10": 96}
"""Side of the images, pixels."""


def find_archive(path: Path) -> Path | None:
    """Find the archive that a path is or holds; None when there is none.

    Raises:
        UserError: there are several.
    """
    if path.name in ARCHIVES:
        return path
    archives = [path / name for name in ARCHIVES if (path / name).is_dir()]
    if len(archives) > 1:
        names = " and ".join(str(one) for one in archives)
        raise UserError(f"{path} holds several data sets: name one of {names}.")
    return archives[0] if archives else None


def kind_of(archive: Path, split: str) -> str:
    """Name torchvision's class of an archive that has the split.

    Raises:
        UserError: it has not.
    """
    kind = ARCHIVES[archive.name]
    if split not in SPLITS[kind]:
        raise UserError(f"{archive} has no split {split!r}; choose among {', '.join(SPLITS[kind])}.")
    return kind


def read_archive(archive: Path, split: str) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """Read one split: images (N, 3, S, S) uint8, labels (N,) int64 with -1 for none, class names.

    Raises:
        UserError: no such split, a missing or altered file, or no torchvision.
    """
    kind = kind_of(archive, split)
    try:
        from torchvision import datasets
    except (ImportError, RuntimeError) as error:
        raise UserError(f"Reading {archive} needs a working torchvision ({error}): install it again.") from error
    try:
        if kind == "STL10":
            loaded: Any = datasets.STL10(str(archive.parent), split=split, download=False)
            return torch.from_numpy(loaded.data), torch.from_numpy(loaded.labels).long(), tuple(loaded.classes)
        loaded = getattr(datasets, kind)(str(archive.parent), train=split == "train", download=False)
    except PermissionError as error:
        raise UserError(f"{archive} cannot be read (permission denied): allow its files to be read.") from error
    except (RuntimeError, OSError, ValueError, EOFError) as error:
        raise UserError(
            f"{archive} is incomplete, or its checksum is wrong: unpack the published archive of {kind} again."
        ) from error
    images = np.ascontiguousarray(loaded.data.transpose(0, 3, 1, 2))
    return torch.from_numpy(images), torch.tensor(loaded.targets), tuple(loaded.classes)


def resize(images: Tensor, size: int) -> Tensor:
    """Resize square images (N, 3, S, S) uint8 to ``size`` pixels, bicubic and antialiased."""
    if images.shape[-1] == size:
        return images
    resized = [
        functional.interpolate(part.float(), size=size, mode="bicubic", antialias=True).round().clamp(0, 255).byte()
        for part in images.split(512)
    ]
    return torch.cat(resized)


class ArchiveLayout(PixelLayout):
    """An unpacked archive; each split is read when it is first needed."""

    def __init__(self, place: Path) -> None:
        """Take the archive's folder as the user named it."""
        self.place = place
        self.root = absolute(place)
        self.address = str(self.root)
        self._pixels: WeakValueDictionary[str, Tensor] = WeakValueDictionary()  # whoever uses the pixels keeps them
        self._listings: dict[str, Listing] = {}

    @property
    def splits(self) -> tuple[str, ...]:
        """Splits that the publisher made."""
        return tuple(SPLITS[ARCHIVES[self.place.name]])

    def known_survey(self, split: str) -> Survey:
        """Say what is published of a split."""
        kind = kind_of(self.place, split)
        labelled = split != "unlabeled"
        classes = CLASSES[kind] if labelled else 0
        return Survey(SPLITS[kind][split], SIDES[kind], True, labelled, self.splits, classes=classes)

    def listing(self, split: str) -> Listing:
        """Read a split, and list its images."""
        if split not in self._listings:
            self._read(split)
        return self._listings[split]

    def source(self, split: str, size: int | None) -> ResidentSource:
        """Give a split at its own size unless another is asked for."""
        images = self._read(split)
        native, listing = int(images.shape[-1]), self.listing(split)
        facts = SourceInfo(
            name=listing.name,
            size=size or native,
            keys=listing.keys,
            labels=listing.labels,
            classes=listing.classes,
            notes=() if size in (None, native) else (f"Images are resized from {native} to {size} px.",),
        )
        return ResidentSource(facts, resize(images, facts.size))

    def content_ids(self, split: str) -> list[str]:
        """Hash the pixels of every image of a split."""
        return contents_of_pixels(self._read(split))

    def _read(self, split: str) -> Tensor:
        """Give the images of a split, which are read once while anything uses them.

        Raises:
            UserError: no such split, a missing or altered file, or no torchvision.
        """
        images = self._pixels.get(split)
        if images is not None:
            return images
        images, labels, classes = read_archive(self.place, split)
        self._pixels[split] = images
        known = labels >= 0
        labelled = bool(known.any())
        self._listings[split] = Listing(
            name=ARCHIVES[self.place.name].lower(),
            encoded=PixelImages(len(images), partial(self._read, split)),
            keys=keys_of(split, known.tolist()),
            labels=labels if labelled else None,
            classes=classes if labelled else (),
            splits=self.splits,
        )
        return images


def keys_of(split: str, known: list[bool]) -> list[str]:
    """Number the images of a split; those of two splits together are numbered as in their own."""
    first, _, second = split.partition("+")
    own = sum(known) if second else len(known)
    return [f"{first}#{i}" for i in range(own)] + [f"{second}#{i}" for i in range(len(known) - own)]
