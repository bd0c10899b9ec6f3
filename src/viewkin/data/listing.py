"""What a set of images lists before anything is decoded, and what a quick look says about it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Protocol

from torch import Tensor

from viewkin.data.cache import Stamp
from viewkin.data.decode import Readable, shape
from viewkin.data.pillow_warnings import PillowWarnings

SIDES = (32, 48, 64, 96, 128, 160, 192, 224, 256)
"""Sides that images of many sizes are stored at, pixels. 256 leaves room for the usual test view of 224."""
SAMPLE = 256
"""Headers read to learn the sizes of the images."""


class Openable(Protocol):
    """Encoded images that can be opened in any order."""

    def open(self, position: int) -> Readable:
        """Give what the decoder takes."""
        ...


class Encoded(Openable, Protocol):
    """Images by position, not yet decoded: files of a folder, rows of Parquet files, images in memory."""

    def __len__(self) -> int:
        """Count the images listed."""
        ...

    def sample(self, count: int) -> list[int]:
        """Choose up to ``count`` positions that stand for all and are cheap to open."""
        ...

    def stamps(self) -> list[Stamp]:
        """Give the stamp of each file: what the cache is keyed by. It is empty where no file is: nothing is cached."""
        ...

    def random_access(self, folder: Path) -> Openable:
        """Give the same images in a form that opens as fast in any order, kept in the cache folder if need be."""
        ...


@dataclass(frozen=True)
class Sides:
    """Sizes of a sample of images, from their headers."""

    shorter: int
    """Median shorter side, pixels; 0 where no header could be read."""
    uniform: bool
    """Whether all of the sample are squares of one size."""


@dataclass(frozen=True, kw_only=True)
class Listing:
    """One split of a set of images. A listing is a snapshot: list again to see what changed since."""

    name: str
    """Short name for logs."""
    encoded: Encoded
    """The images, not yet decoded."""
    keys: list[str]
    """One an image, each once: its path relative to the set's root, with ``#row`` inside a file of many images."""
    names: list[str] = field(default_factory=list[str])
    """What the images call themselves, in the order of the keys; the keys where they have no better name."""
    labels: Tensor | None = None
    """(n,) int64, -1 where an image has none; None without labels."""
    classes: tuple[str, ...] = ()
    """Class names by label."""
    splits: tuple[str, ...]
    """Splits that can be opened."""
    notes: tuple[str, ...] = ()
    """Plain sentences on what was chosen."""
    targets: Tensor | None = None
    """(n, C) int8 for images that show several classes: 1 present, 0 absent, -1 to be ignored."""
    groups: Mapping[str, tuple[int, ...]] = field(default_factory=dict[str, tuple[int, ...]])
    """Sets of labels that the set itself names, such as the classes kept for testing."""

    def __post_init__(self) -> None:
        """Let the keys stand in for names."""
        if not self.names:
            object.__setattr__(self, "names", self.keys)

    def without_labels(self) -> Listing:
        """Give the same images without labels."""
        return replace(self, labels=None, targets=None, classes=(), groups={})

    @cached_property
    def sides(self) -> Sides:
        """Sizes of a sample of the images; their headers are read once."""
        return measure(self.encoded)


@dataclass(frozen=True)
class Survey:
    """What a quick look says about a set, before anything is decoded."""

    count: int
    """Images listed; some may turn out to be unreadable."""
    shorter_side: int
    """Median of the shorter side, pixels, of a sample; 0 where no header could be read."""
    uniform: bool
    """Whether all images of the sample are squares of one size."""
    labelled: bool
    """Whether at least one image has a label, or several."""
    splits: tuple[str, ...]
    """Splits that can be opened."""
    several: bool = False
    """Whether images show several classes each."""
    classes: int = 0
    """Classes; 0 where nothing is labelled, or an image has several."""

    def without_labels(self) -> Survey:
        """Say the same of the images without labels."""
        return replace(self, labelled=False, several=False, classes=0)


def survey_of(listing: Listing) -> Survey:
    """Sum a listing up; the headers of a sample are read."""
    sides, labels, several = listing.sides, listing.labels, listing.targets is not None
    classes = 0 if labels is None else max(len(listing.classes), int(labels.max()) + 1)
    labelled = labels is not None or several
    return Survey(len(listing.keys), sides.shorter, sides.uniform, labelled, listing.splits, several, classes)


def openable_splits(present: Iterable[str]) -> tuple[str, ...]:
    """List the splits that can be opened: those that are there, and ``test`` where ``val`` stands in for it."""
    names = list(present)
    return tuple(names + ["test"] * ("val" in names and "test" not in names))


def evenly(total: int, count: int) -> list[int]:
    """Choose ``count`` of ``total`` positions at even distances, the first among them."""
    count = min(count, total)
    return [i * total // count for i in range(count)]


def measure(encoded: Encoded) -> Sides:
    """Read the headers of a sample."""
    with PillowWarnings():
        sizes = [size for i in encoded.sample(SAMPLE) if (size := shape_at(encoded, i)) is not None]
    if not sizes:
        return Sides(0, False)
    return Sides(round(median(map(min, sizes))), len(set(sizes)) == 1 and sizes[0][0] == sizes[0][1])


def shape_at(encoded: Encoded, position: int) -> tuple[int, int] | None:
    """Read (width, height) of the image at a position; None where it cannot be opened."""
    try:
        return shape(encoded.open(position))
    except OSError:  # a damaged part of a Parquet file; the first pass names the image
        return None


def choose_side(sides: Sides) -> tuple[int, str]:
    """Choose the side to store images at, and say why in a sentence."""
    if sides.uniform and sides.shorter <= SIDES[-1]:
        return sides.shorter, f"Images are squares of {sides.shorter} px and kept as they are."
    side = min(SIDES, key=lambda s: abs(s - sides.shorter))
    return side, (
        f"Images are stored as squares of {side} px, because their shorter side is {sides.shorter} px in the median; "
        "name another size to change that."
    )
