"""A folder laid out as PASCAL VOC: images that show several classes each."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from xml.etree import ElementTree

import torch
from torch import Tensor

from viewkin.data.formats.folder import FileImages
from viewkin.data.formats.tree import UNLISTED, absolute, entries_of, is_image_name, printable, why_not
from viewkin.data.layout import Layout
from viewkin.data.left_out import LeftOut, Tally
from viewkin.data.listing import Listing
from viewkin.runtime.errors import UserError

SPLITS = ("train", "val", "trainval", "test")
"""Files of ImageSets/Main that list the images of a split; the others there are of one class."""


def is_voc(path: Path) -> bool:
    """Tell whether a folder is laid out as VOC: Annotations, JPEGImages and ImageSets/Main."""
    try:
        return all((path / name).is_dir() for name in ("Annotations", "JPEGImages", "ImageSets/Main"))
    except OSError:  # a folder that may not be entered
        return False


class VocLayout(Layout):
    """A folder laid out as PASCAL VOC.

    A class is present (1) where it has an object that is not marked difficult, to be ignored (-1) where all its objects
    are, else absent (0): the rule of VOC's own ``ImageSets/Main/<class>_<split>.txt``, from the annotations, which
    every set in this layout has. Class names are those of all splits, sorted.
    """

    def __init__(self, place: Path) -> None:
        """Take a folder as the user named it."""
        self.place = place
        self._folder = self.root = absolute(place)
        self.address = str(self.root)
        self._lists = splits_of(place)

    @property
    def splits(self) -> tuple[str, ...]:
        """Splits that can be opened."""
        return tuple(self._lists)

    def surveyed_split(self, split: str) -> str:
        """Choose another split where there is no ``split``: the published sets have each, others what they have."""
        return split if split in self._lists else next(iter(self._lists), split)

    @cached_property
    def _names(self) -> dict[str, list[str]]:
        """Images that each split lists, without their endings."""
        return {split: names_in(path) for split, path in self._lists.items()}

    @cached_property
    def _shown(self) -> dict[str, list[tuple[str, bool]]]:
        """Objects that each listed image shows."""
        return {
            name: objects(self.place / "Annotations" / f"{name}.xml")
            for name in dict.fromkeys(name for names in self._names.values() for name in names)
        }

    def listing(self, split: str) -> Listing:
        """List the images of one split, with what each shows.

        Raises:
            UserError: no such split, or an annotation that is missing or damaged.
        """
        if split not in self._lists:
            have = ", ".join(self._lists) or "none"
            raise UserError(f"{self.place} has no {split} split in ImageSets/Main, only {have}.")
        classes = tuple(sorted({name for shown in self._shown.values() for name, _ in shown}))
        names = self._names[split]
        if not names:
            raise UserError(f"{self._lists[split]} lists no image.")
        paths = [f"JPEGImages/{name}.jpg" for name in names]
        return Listing(
            name=self.place.name,
            encoded=FileImages(self._folder, paths),
            keys=paths,
            targets=torch.stack([presence(self._shown[name], classes) for name in names]),
            classes=classes,
            splits=self.splits,
        )

    def left_out(self, split: str | None) -> list[LeftOut]:
        """Count the images that no split lists; a split by itself leaves nothing out."""
        tally = Tally()
        if split is not None:
            return []
        listed = {f"{name}.jpg" for names in self._names.values() for name in names}
        try:
            for entry in entries_of(self._folder / "JPEGImages"):
                if entry.name not in listed and is_image_name(entry.name):
                    tally.add("image", "in no list of ImageSets/Main", printable(f"JPEGImages/{entry.name}"))
        except OSError as error:
            tally.add("folder", f"{UNLISTED} ({why_not(error)})", "JPEGImages")
        return tally.report()


def splits_of(root: Path) -> dict[str, Path]:
    """Find the files that list images: split to file."""
    return {name: path for name in SPLITS if (path := root / "ImageSets" / "Main" / f"{name}.txt").is_file()}


def names_in(path: Path) -> list[str]:
    """Read the names that a list of images holds.

    Raises:
        UserError: it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8").split()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({why_not(error)}): allow it, or fetch the set again.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no list of images, or a damaged one: fetch the set again.") from error


def objects(annotation: Path) -> list[tuple[str, bool]]:
    """Read (class, whether it is difficult) of every object of an annotation.

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        tree = ElementTree.parse(annotation)
    except (OSError, ElementTree.ParseError) as error:
        raise UserError(f"{annotation} cannot be read ({error}); fetch the annotations again.") from error
    return [
        (one.findtext("name", "").strip(), one.findtext("difficult", "0").strip() == "1")
        for one in tree.iterfind("object")
    ]


def presence(shown: list[tuple[str, bool]], classes: tuple[str, ...]) -> Tensor:
    """What an image with these objects shows of every class: (C,) int8 of 1, 0 and -1."""
    row = torch.zeros(len(classes), dtype=torch.int8)
    for name, difficult in shown:
        place = classes.index(name)
        row[place] = -1 if difficult and row[place] < 1 else 1
    return row
