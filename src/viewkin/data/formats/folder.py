"""A folder of image files, at any depth, with or without classes and splits."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from viewkin.data.cache import Stamp, stamp_of
from viewkin.data.formats.split_folders import SPLITS, find_splits
from viewkin.data.formats.tree import (
    UNLISTED,
    Entries,
    Look,
    absolute,
    entries_of,
    image_files,
    image_files_below,
    image_suffixes,
    is_folder,
    is_image,
    printable,
)
from viewkin.data.layout import Layout
from viewkin.data.left_out import LeftOut, Tally, classes_named
from viewkin.data.listing import Listing, evenly, openable_splits
from viewkin.data.reading import Reading
from viewkin.runtime.errors import UserError

__all__ = ["FileImages", "FolderLayout", "image_files", "image_suffixes", "printable"]

UNREAD, UNUSED = (f"not {done}, beside the folders of the splits" for done in ("read", "used"))
"""Why folders, and images, beside the splits are left out."""
NO_CLASSES = frozenset(("images", "labels", "annotations"))
"""Folders that are no classes where there are no others."""
WHOLE = ""
"""Name of the part of a folder without splits."""


@dataclass(frozen=True)
class FileImages:
    """Image files by position."""

    root: Path
    """Absolute folder that the paths start from."""
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
        """Give the stamp of each file, taken once: what the cache is keyed by."""
        return self._stamps

    @cached_property
    def _stamps(self) -> list[Stamp]:
        return [stamp_of(path, self.root / path) for path in self.paths]

    def random_access(self, folder: Path) -> FileImages:
        """Give the files themselves."""
        return self


@dataclass(frozen=True)
class _Part:
    """The image files of one split, or of a folder without splits."""

    prefix: str
    """Folder of the split with its slash; empty without splits."""
    paths: list[str]
    """Sorted paths relative to the root of the set."""
    tally: Tally
    """What is not used."""

    @cached_property
    def inner(self) -> list[str]:
        """The paths, relative to the folder of the split."""
        return [path[len(self.prefix) :] for path in self.paths] if self.prefix else self.paths


class FolderLayout(Layout):
    """A folder of image files.

    Subfolders ``train`` and ``test`` or ``val`` are splits, in the set's folder or in its ``images``. Subfolders of the
    set, or of its splits, are classes where there are two at least, unless these are ``images`` and ``labels``.
    """

    def __init__(
        self,
        place: Path,
        entries: Entries,
        reading: Reading | None = None,
        *,
        look: Look = entries_of,
        metadata: Callable[[], str | None] = lambda: None,
    ) -> None:
        """Take a folder.

        Args:
            place: the folder as the user named it.
            entries: what lies in it.
            reading: whether folders are classes.
            look: looks into a folder.
            metadata: why Parquet files beside the images are not taken, for a folder without images.
        """
        self._reading, self._look, self._metadata = reading or Reading(), look, metadata
        self.place = place
        self._folder = self.root = absolute(place)
        self.address = str(self.root)
        self._entries = entries
        self.folders = find_splits(self._folder, entries, look)
        """Split to its folder, relative to the root."""

    @property
    def splits(self) -> tuple[str, ...]:
        """Splits that can be opened."""
        return openable_splits(self.folders) or ("train",)

    @cached_property
    def _parts(self) -> dict[str, _Part]:
        """Image files of every split, or of the whole folder."""
        if not self.folders:
            tally = Tally()
            return {WHOLE: _Part("", image_files_below(self._folder, "", tally, self._entries, self._look), tally)}
        parts: dict[str, _Part] = {}
        for split, name in self.folders.items():
            tally = Tally()
            paths = image_files_below(self._folder / name, f"{name}/", tally, look=self._look)
            parts[split] = _Part(f"{name}/", paths, tally)
        return parts

    @cached_property
    def _in_classes(self) -> dict[str, Sequence[str]]:
        """Paths of every split from the folders of the classes on.

        A folder that holds all of a split is none, where each split has one: ``training_set/training_set/cat/1.jpg``.
        """
        paths: dict[str, Sequence[str]] = {name: part.inner for name, part in self._parts.items()}
        held = [part for part in paths.values() if part]
        while self.folders and held and all(len({*map(first_folder, part)} - {None}) == 1 for part in held):
            if any(None in map(first_folder, part) for part in held):
                break
            paths = {name: [path.split("/", 1)[1] for path in part] for name, part in paths.items()}
            held = [part for part in paths.values() if part]
        return paths

    def listing(self, split: str) -> Listing:
        """List the image files of a split.

        Raises:
            UserError: no such split, or no image file in it.
        """
        chosen, notes = self._choose(split)
        part = self._parts[chosen]
        if not part.paths:
            if (why := self._metadata()) is not None:
                raise UserError(why)
            raise UserError(_no_images(printable(self.place / self.folders.get(chosen, "")), part.tally.report()))
        mine = self._in_classes[chosen]
        others = [path for name, paths in self._in_classes.items() if name != chosen for path in paths]
        labels, classes = labels_of(mine, others) if self._reading.labels else (None, ())
        notes += self._said_of(chosen, classes)
        if self._reading.labels and are_no_classes(folders := folders_in([*mine, *others])):
            notes.append(f"The folders are not taken for classes, as they are called {' and '.join(folders)}.")
        if labels is not None and bool((labels < 0).any()):
            notes.append(f"{int((labels < 0).sum())} images lie in no class folder and have no label.")
        return Listing(
            name=printable(self.place.name) or "images",
            encoded=FileImages(self._folder, part.paths),
            keys=[printable(path) for path in part.paths],
            names=[printable(path) for path in part.inner],
            labels=labels,
            classes=classes,
            splits=self.splits,
            notes=tuple(notes),
        )

    def _said_of(self, split: str, classes: tuple[str, ...]) -> list[str]:
        """Say what was guessed from the names of folders: splits and classes."""
        notes: list[str] = []
        if self.folders:
            names = ", ".join(f"{name} ({printable(folder)}/)" for name, folder in self.folders.items())
            notes.append(f"Split {split} of {names}, by the names of the folders.")
        if classes:
            notes.append(f"The folders are taken for {classes_named(classes)}; --no-labels ignores them.")
        return notes

    def left_out(self, split: str | None) -> list[LeftOut]:
        """Count what is not used in a split, or in all, and beside the folders of the splits."""
        whole = Tally()
        for part in list(self._parts) if split is None else [self._choose(split)[0]]:
            whole.include(self._parts[part].tally)
        if self.folders:
            whole.include(self._beside())
        return whole.report()

    def _beside(self) -> Tally:
        """Count what lies beside the folders of the splits, and beside the folder that these lie in."""
        tally = Tally()
        splits = set(self.folders.values())
        holders = {path.rpartition("/")[0] for path in splits if "/" in path}
        levels = [("", self._entries), *((f"{name}/", self._look(self._folder / name)) for name in holders)]
        for prefix, entries in levels:
            for entry in entries:
                path = prefix + entry.name
                if path not in splits and path not in holders and not entry.name.startswith("."):
                    self._count_beside(tally, entry, path)
        return tally

    def _count_beside(self, tally: Tally, entry: os.DirEntry[str], path: str) -> None:
        if is_folder(entry) and entry.name.lower() in NO_CLASSES:  # its files are few kinds: worth a look
            unused = image_files_below(Path(entry.path), f"{path}/", tally, look=self._look)
            if unused:
                tally.add("image", UNUSED, printable(unused[0]), len(unused))
        elif is_folder(entry):
            tally.add("folder", UNREAD, printable(path))
        elif is_image(entry):
            tally.add("image", UNUSED, printable(path))
        else:
            tally.add_file(printable(path))

    def _choose(self, split: str) -> tuple[str, list[str]]:
        """Pick the part of a split, and say so where it is not the one named.

        Raises:
            UserError: there is no such split.
        """
        if not self.folders and split == "train":
            return WHOLE, []
        if split in self.folders:
            return split, []
        if split == "test" and "val" in self.folders:
            return "val", [f"There is no test folder in {printable(self.place)}, so its val folder stands in."]
        if split in SPLITS:
            raise UserError(
                f"{printable(self.place)} has no {split} folder, so there is no {split} split: add one beside train, "
                "or set part of the images aside with --holdout."
            )
        have = ", ".join(self.folders or ["train"])
        raise UserError(f"There is no split {split!r} of {self.place}; it has {have}.")


def _no_images(place: str, seen: Sequence[LeftOut]) -> str:
    """Say that a folder holds no images, and what it holds."""
    told = "".join(f"; {one.sentence[:-1]}" for one in seen)
    if any(UNLISTED in one.reason for one in seen):
        return f"{place} holds no image files that may be read; allow its folders to be read (chmod -R u+rX){told}."
    return f"{place} holds no image files; give a folder with pictures such as .jpg or .png in it{told}."


def first_folder(path: str) -> str | None:
    """Name the first-level subfolder that a relative path lies in; None for a file of the folder itself."""
    return path.split("/", 1)[0] if "/" in path else None


def folders_in(paths: Iterable[str]) -> list[str]:
    """Name the first-level subfolders of relative paths, sorted; none below two of them."""
    names = sorted({name for path in paths if (name := first_folder(path)) is not None})
    return names if len(names) > 1 else []


def are_no_classes(folders: Sequence[str]) -> bool:
    """Whether folders hold images and annotations to them, by their names."""
    return bool(folders) and NO_CLASSES.issuperset(name.lower() for name in folders)


def labels_of(paths: Sequence[str], others: Sequence[str]) -> tuple[Tensor | None, tuple[str, ...]]:
    """Label each path by its first-level subfolder, in sorted order over all splits; None below two of them.

    Folders of images and of annotations to them are no classes.
    """
    mine = [first_folder(path) for path in paths]
    classes = folders_in([*paths, *others])
    if not any(mine) or not classes or are_no_classes(classes):
        return None, ()
    number: dict[str | None, int] = {name: label for label, name in enumerate(classes)}
    return torch.tensor([number.get(name, -1) for name in mine]), tuple(map(printable, classes))
