"""A folder of image files, at any depth, with or without classes and splits."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from viewkin.data.cache import Stamp, stamp_of
from viewkin.data.listing import Listing, evenly, openable_splits
from viewkin.runtime.errors import UserError

SPLITS = {"train": ("train", "training"), "test": ("test", "testing"), "val": ("val", "valid", "validation")}
"""Names of the subfolders that hold a split, in any case."""
RUN = {"recipe.json", "versions.json"}
"""Files that tell a run directory."""
NOT_PHOTOS = {".eps", ".ps", ".pdf", ".mpg", ".mpeg", ".h5", ".hdf", ".bufr", ".grib", ".wmf", ".emf"}
"""What Pillow lists as images and needs another program for, or only recognises."""


@cache
def image_suffixes() -> frozenset[str]:
    """List the file name endings that Pillow can read, in lower case with their dot."""
    Image.init()
    known = {suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    return frozenset(known - NOT_PHOTOS)


@dataclass(frozen=True)
class Files:
    """Image files by position."""

    root: Path
    """Folder that the paths start from."""
    paths: list[str]
    """Relative paths with forward slashes."""

    def __len__(self) -> int:
        """Count the files."""
        return len(self.paths)

    def open(self, position: int) -> Path:
        """Give the path of one file."""
        return self.root / self.paths[position]

    def sample(self, count: int) -> list[int]:
        """Choose ``count`` positions, spread evenly over the sorted paths."""
        return evenly(len(self), count)

    def stamps(self) -> list[Stamp]:
        """Give the stamp of each file: what the cache is keyed by."""
        return [stamp_of(path, self.root / path) for path in self.paths]

    def random_access(self, folder: Path) -> Files:
        """Give the files themselves."""
        return self


def image_files(root: Path) -> list[str]:
    """List the image files below ``root``: sorted relative paths.

    Hidden files and folders are passed over, and so are run directories.
    """
    suffixes, found, seen = image_suffixes(), list[str](), set[str]()
    for folder, folders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:  # a link that leads back up
            folders.clear()
            continue
        seen.add(real)
        if {*files} >= RUN:  # its figures are no images to learn from
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        here = Path(folder)
        found += [
            (here / name).relative_to(root).as_posix()
            for name in files
            if not name.startswith(".") and Path(name).suffix.lower() in suffixes and (here / name).is_file()
        ]
    return sorted(found)


def split_folders(root: Path) -> dict[str, Path]:
    """Find the split subfolders: {} unless ``train`` lies beside ``test`` or ``val``, or is the only subfolder.

    A lone ``train`` beside other folders is a class of trains.
    """
    below = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    found: dict[str, Path] = {}
    for split, names in SPLITS.items():
        for path in below:
            if path.name.lower() in names:
                found.setdefault(split, path)
    return found if "train" in found and (len(found) > 1 or len(below) == 1) else {}


def printable(path: str | Path) -> str:
    r"""Write a path so that terminals and files take it: bytes that are no UTF-8 become such as ``\xe9``."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def first_folder(path: str) -> str | None:
    """Name the first-level subfolder that a relative path lies in; None for a file of the folder itself."""
    return path.split("/", 1)[0] if "/" in path else None


def labels_of(paths: list[str], others: list[str]) -> tuple[Tensor | None, tuple[str, ...]]:
    """Label each path by its first-level subfolder, in sorted order over all splits; None below two of them."""
    mine = [first_folder(path) for path in paths]
    classes = sorted({name for name in [*mine, *map(first_folder, others)] if name is not None})
    if len(classes) < 2 or not any(mine):
        return None, ()
    number: dict[str | None, int] = {name: label for label, name in enumerate(classes)}
    return torch.tensor([number.get(name, -1) for name in mine]), tuple(map(printable, classes))


def choose_split(root: Path, folders: dict[str, Path], split: str) -> tuple[Path, list[str]]:
    """Pick the folder of a split, and say so where it is not the one named."""
    if not folders and split == "train":
        return root, []
    if split in folders:
        return folders[split], []
    if split == "test" and "val" in folders:
        return folders["val"], [f"There is no test folder in {printable(root)}, so its val folder stands in."]
    if split in SPLITS:
        raise UserError(
            f"{root} has no {split} folder, so there is no {split} split: add one beside train, "
            "or set part of the images aside with --holdout."
        )
    raise UserError(f"There is no split {split!r} of {root}; it has {', '.join(folders or ['train'])}.")


def list_folder(root: Path, split: str) -> Listing:
    """List the image files of one split of a folder.

    Raises:
        UserError: no such split, or no image file in it.
    """
    folders = split_folders(root)
    chosen, notes = choose_split(root, folders, split)
    paths = image_files(chosen)
    if not paths:
        raise UserError(f"{chosen} holds no image files; give a folder with pictures such as .jpg or .png in it.")
    others = [path for folder in folders.values() if folder != chosen for path in image_files(folder)]
    labels, classes = labels_of(paths, others)
    if labels is not None and bool((labels < 0).any()):
        notes.append(f"{int((labels < 0).sum())} images lie in no class folder and have no label.")
    return Listing(
        name=printable(root.name) or "images",
        encoded=Files(chosen, paths),
        ids=[printable(path) for path in paths],
        labels=labels,
        classes=classes,
        splits=openable_splits(folders) or ("train",),
        notes=notes,
    )
