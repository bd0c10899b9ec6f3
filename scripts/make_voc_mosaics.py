"""Write mosaics of CIFAR-100 as PASCAL VOC writes its images, to try the protocols of several classes an image on.

    python scripts/make_voc_mosaics.py data/voc-mosaics

Each image is 64 x 64 pixels, four CIFAR-100 images in a square, and shows the superclasses of the four. A tenth of the
objects is marked difficult, so that a class may be one to ignore. 5,000 images of the training set are ``trainval``
(the first half ``train``, the other ``val``) and 2,500 of the test set are ``test``; no CIFAR image is used twice. The
same seed writes the same files. Reads the sheets in ``cifar100/`` of $VIEWKIN_DATA (default ../shared/data).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image
from unpack_cifar import read_sheets

SIDE = 32
DIFFICULT = 0.1
OBJECT = """\t<object>
\t\t<name>{name}</name>
\t\t<pose>Unspecified</pose>
\t\t<truncated>0</truncated>
\t\t<difficult>{difficult}</difficult>
\t\t<bndbox><xmin>{left}</xmin><ymin>{top}</ymin><xmax>{right}</xmax><ymax>{bottom}</ymax></bndbox>
\t</object>
"""
ANNOTATION = """<annotation>
\t<folder>{folder}</folder>
\t<filename>{name}.jpg</filename>
\t<size><width>{width}</width><height>{width}</height><depth>3</depth></size>
\t<segmented>0</segmented>
{objects}</annotation>
"""


@dataclass(frozen=True)
class Mosaic:
    """One image and what it shows."""

    name: str
    """Six digits, as VOC2007 numbers its images."""
    pixels: NDArray[np.uint8]
    """(64, 64, 3)."""
    classes: list[str]
    """Name of the object in each quarter: top left, top right, bottom left, bottom right."""
    difficult: list[bool]
    """Whether it is marked so."""

    def state(self, name: str) -> int:
        """What VOC's own lists say of a class: 1 present, 0 difficult only, -1 absent."""
        marks = [hard for own, hard in zip(self.classes, self.difficult, strict=True) if own == name]
        return -1 if not marks else int(not all(marks))


def mosaics(
    images: NDArray[np.uint8], labels: list[int], names: list[str], count: int, first: int, seed: int
) -> Iterable[Mosaic]:
    """Put images (N, 3, 32, 32) together by fours, ``count`` times, numbered from ``first``."""
    random = np.random.default_rng([seed, first])
    drawn = random.permutation(len(images))[: 4 * count].reshape(count, 4)
    difficult = random.random((count, 4)) < DIFFICULT
    for place, (four, hard) in enumerate(zip(drawn, difficult, strict=True)):
        tiles = images[four].transpose(0, 2, 3, 1).reshape(2, 2, SIDE, SIDE, 3)
        pixels = tiles.transpose(0, 2, 1, 3, 4).reshape(2 * SIDE, 2 * SIDE, 3)
        yield Mosaic(f"{first + place:06d}", pixels, [names[labels[i]] for i in four], hard.tolist())


def write_image(root: Path, mosaic: Mosaic) -> None:
    """Write the picture and its annotation."""
    Image.fromarray(mosaic.pixels).save(root / "JPEGImages" / f"{mosaic.name}.jpg", quality=95, subsampling=0)
    objects = "".join(
        OBJECT.format(
            name=name,
            difficult=int(hard),
            left=1 + SIDE * (place % 2),
            top=1 + SIDE * (place // 2),
            right=SIDE * (place % 2 + 1),
            bottom=SIDE * (place // 2 + 1),
        )
        for place, (name, hard) in enumerate(zip(mosaic.classes, mosaic.difficult, strict=True))
    )
    text = ANNOTATION.format(folder=root.name, name=mosaic.name, width=2 * SIDE, objects=objects)
    (root / "Annotations" / f"{mosaic.name}.xml").write_text(text)


def write_lists(root: Path, split: str, made: list[Mosaic], names: list[str]) -> None:
    """Write the names of a split's images, and one list a class."""
    folder = root / "ImageSets" / "Main"
    (folder / f"{split}.txt").write_text("".join(f"{one.name}\n" for one in made))
    for name in names:
        (folder / f"{name}_{split}.txt").write_text("".join(f"{one.name} {one.state(name):2d}\n" for one in made))


def write(root: Path, source: Path, trainval: int, test: int, seed: int) -> None:
    """Write both splits."""
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    first = 1
    for split, pattern, count in (("trainval", "train-*", trainval), ("test", "test", test)):
        sheets = sorted(source.glob(f"cifar100-{pattern}.parquet"))
        if not sheets:
            sys.exit(f"error: there is no {source}/cifar100-{pattern}.parquet; set VIEWKIN_DATA to the folder above.")
        images, columns = read_sheets(sheets)
        if 4 * count > len(images):
            sys.exit(f"error: {count} mosaics need {4 * count} images, and {split} has {len(images)}; ask for fewer.")
        names: list[str] = json.loads((pq.read_schema(sheets[0]).metadata or {})[b"coarse_class_names"])
        made = list(mosaics(images, columns["coarse_labels"], names, count, first, seed))
        for mosaic in made:
            write_image(root, mosaic)
        halves = {"train": made[: count // 2], "val": made[count // 2 :]} if split == "trainval" else {}
        for name, part in {split: made, **halves}.items():
            write_lists(root, name, part, names)
        first += count
        print(f"{count:,} images of {split} in {root}")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument("--trainval", type=int, default=5000, help="images that teach")
    parser.add_argument("--test", type=int, default=2500, help="images that are judged")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    root = Path(os.environ.get("VIEWKIN_DATA") or "../shared/data")
    write(options.out, root / "cifar100", options.trainval, options.test, options.seed)


if __name__ == "__main__":
    main()
