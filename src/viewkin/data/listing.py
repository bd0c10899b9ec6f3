"""What a folder or a Parquet file lists before anything is decoded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import BinaryIO, Protocol

from torch import Tensor

from viewkin.data.cache import Stamp
from viewkin.data.decode import shape

SIDES = (32, 48, 64, 96, 128, 160, 192, 224, 256)
"""Sides that images of many sizes are stored at, pixels. 256 leaves room for the usual test view of 224."""
SAMPLE = 256
"""Headers read to learn the sizes of the images."""


class Openable(Protocol):
    """Encoded images that can be opened in any order."""

    def open(self, position: int) -> Path | BinaryIO:
        """Give what Pillow opens."""
        ...


class Encoded(Openable, Protocol):
    """Encoded images by position: the files of a folder, or the rows of Parquet files."""

    def __len__(self) -> int:
        """Count the images listed."""
        ...

    def sample(self, count: int) -> list[int]:
        """Choose up to ``count`` positions that stand for all and are cheap to open."""
        ...

    def stamps(self) -> list[Stamp]:
        """Give the stamp of each file: what the cache is keyed by."""
        ...

    def random_access(self, folder: Path) -> Openable:
        """Give the same images in a form that opens as fast in any order, kept in the cache folder if need be."""
        ...


@dataclass(frozen=True, kw_only=True)
class Listing:
    """One split of a set of encoded images."""

    name: str
    """Short name for logs."""
    encoded: Encoded
    """The images, not yet decoded."""
    ids: list[str]
    """Relative path or row id, one an image."""
    labels: Tensor | None
    """(n,) int64, -1 where an image has none; None without labels."""
    classes: tuple[str, ...]
    """Class names by label."""
    splits: tuple[str, ...]
    """Splits that can be opened."""
    notes: list[str]
    """Plain sentences on what was chosen."""
    targets: Tensor | None = None
    """(n, C) int8 for images that show several classes: 1 present, 0 absent, -1 to be ignored."""
    groups: Mapping[str, tuple[int, ...]] = field(default_factory=dict[str, tuple[int, ...]])
    """Sets of labels that the set itself names, such as the classes kept for testing."""


@dataclass(frozen=True)
class Sides:
    """Sizes of a sample of images, from their headers."""

    shorter: int
    """Median shorter side, pixels; 0 where no header could be read."""
    uniform: bool
    """Whether all of the sample are squares of one size."""


def openable_splits(found: Iterable[str]) -> tuple[str, ...]:
    """List the splits that can be opened: those found, and ``test`` where ``val`` stands in for it."""
    names = list(found)
    return tuple(names + ["test"] * ("val" in names and "test" not in names))


def evenly(total: int, count: int) -> list[int]:
    """Choose ``count`` of ``total`` positions at even distances, the first among them."""
    count = min(count, total)
    return [i * total // count for i in range(count)]


def measure(encoded: Encoded) -> Sides:
    """Read the headers of a sample."""
    found = [size for i in encoded.sample(SAMPLE) if (size := shape(encoded.open(i))) is not None]
    if not found:
        return Sides(0, False)
    return Sides(round(median(map(min, found))), len(set(found)) == 1 and found[0][0] == found[0][1])


def choose_side(sides: Sides) -> tuple[int, str]:
    """Choose the side to store images at, and say why in a sentence."""
    if sides.uniform and sides.shorter <= SIDES[-1]:
        return sides.shorter, f"Images are squares of {sides.shorter} px and kept as they are."
    side = min(SIDES, key=lambda s: abs(s - sides.shorter))
    return side, (
        f"Images are stored as squares of {side} px, because their shorter side is {sides.shorter} px in the median; "
        "name another size to change that."
    )
