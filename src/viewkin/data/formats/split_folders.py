"""Which folders of a set are its splits: ``train/`` and ``test/``, or ``images/train/`` and ``images/val/``."""

from __future__ import annotations

from collections.abc import Sequence
from os import DirEntry
from pathlib import Path

from viewkin.data.formats.split_words import SPLIT_OF, holds_images, splits_of_folders
from viewkin.data.formats.tree import Entries, Look, is_folder, is_image

SPLITS = ("train", "test", "val")
"""Splits that subfolders may hold."""


def find_splits(root: Path, entries: Entries, look: Look) -> dict[str, str]:
    """Find the folders of the splits, relative to the root: in it, else in the one folder that holds the images.

    That folder is called ``images`` or the like, or is the only one and no image lies beside it.
    """
    folders = split_folders(entries)
    if folders:
        return folders
    holder = _holder(entries)
    if holder is None:
        return {}
    try:
        below = split_folders(look(root / holder))
    except OSError:
        return {}
    return {split: f"{holder}/{name}" for split, name in below.items()}


def split_folders(entries: Entries) -> dict[str, str]:
    """Find the names of the split subfolders.

    There are none unless ``train`` lies beside ``test`` or ``val``, or is the only subfolder: a lone ``train`` beside
    other folders is a class of trains.
    """
    below = [entry.name for entry in _visible(entries)]
    named = list(zip(splits_of_folders(below), below))
    folders: dict[str, str] = {}
    for split in SPLITS:
        mine = [name for kind, name in named if kind == split]
        if mine:
            folders[split] = min(mine, key=_preference)
    return folders if "train" in folders and (len(folders) > 1 or len(below) == 1) else {}


def _visible(entries: Entries) -> Sequence[DirEntry[str]]:
    return [entry for entry in entries if not entry.name.startswith(".") and is_folder(entry)]


def _preference(name: str) -> tuple[int, bool, str]:
    """Order folders of one split: ``train`` before ``Train``, ``validation`` before ``dev``, others last."""
    order = list(SPLIT_OF)
    return (order.index(name.lower()) if name.lower() in order else len(order)), name != name.lower(), name


def _holder(entries: Entries) -> str | None:
    """Name the one folder that holds all images; None where no name says so."""
    below = [entry.name for entry in _visible(entries)]
    named = [name for name in below if holds_images(name)]
    chosen = named[0] if len(named) == 1 else below[0] if len(below) == 1 else None
    return None if chosen is None or any(map(is_image, entries)) else chosen
