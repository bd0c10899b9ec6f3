"""A folder laid out as PASCAL VOC: images that show several classes each."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import torch
from torch import Tensor

from viewkin.data.formats.folder import Files
from viewkin.data.listing import Listing
from viewkin.runtime.errors import UserError

SPLITS = ("train", "val", "trainval", "test")
"""Files of ImageSets/Main that list the images of a split; the others there are of one class."""


def is_voc(path: Path) -> bool:
    """Tell whether a folder is laid out as VOC: Annotations, JPEGImages and ImageSets/Main."""
    return all((path / name).is_dir() for name in ("Annotations", "JPEGImages", "ImageSets/Main"))


def list_voc(root: Path, split: str) -> Listing:
    """List the images of one split, with what each shows.

    A class is present (1) where it has an object that is not marked difficult, to be ignored (-1) where all its objects
    are, else absent (0): the rule of VOC's own ``ImageSets/Main/<class>_<split>.txt``, from the annotations, which
    every set in this layout has. Class names are those of all splits, sorted.

    Raises:
        UserError: no such split, or an annotation that is missing or damaged.
    """
    found = splits_of(root)
    if split not in found:
        raise UserError(f"{root} has no {split} split in ImageSets/Main, only {', '.join(found) or 'none'}.")
    names = {name: path.read_text().split() for name, path in found.items()}
    shown = {
        one: objects(root / "Annotations" / f"{one}.xml")
        for one in {one for listed in names.values() for one in listed}
    }
    classes = tuple(sorted({name for objects_of in shown.values() for name, _ in objects_of}))
    if not names[split]:
        raise UserError(f"{found[split]} lists no image.")
    paths = [f"JPEGImages/{one}.jpg" for one in names[split]]
    return Listing(
        name=root.name,
        encoded=Files(root, paths),
        ids=paths,
        labels=None,
        targets=torch.stack([presence(shown[one], classes) for one in names[split]]),
        classes=classes,
        splits=tuple(found),
        notes=[],
    )


def splits_of(root: Path) -> dict[str, Path]:
    """Find the lists of images: split to file."""
    return {name: path for name in SPLITS if (path := root / "ImageSets" / "Main" / f"{name}.txt").is_file()}


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
