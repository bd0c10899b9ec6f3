"""Where the Parquet files of a set lie: in its folder, in ``data``, or in folders of configurations and splits."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from viewkin.data.formats.split_words import split_in
from viewkin.data.formats.tree import Entries, Look, is_file, is_folder, is_image_name, is_of_system, is_run
from viewkin.data.left_out import some
from viewkin.runtime.errors import UserError

PARQUET = (".parquet", ".pq")
"""Endings of a Parquet file, in any case."""
DEPTH = 4
"""Folders below one another that are looked through."""
MOST_FOLDERS = 2000
"""Folders after which no Parquet file is looked for any more where none was met."""
IMAGES = 20
"""Image files from which on a folder without any Parquet file is one of image files."""


def parquet_files(path: Path) -> list[Path]:
    """List the Parquet files that a path names: the file, or those of the folder or of its ``data`` subfolder."""
    if path.is_file():
        return [path]
    return sorted(path.glob("*.parquet")) or sorted((path / "data").glob("*.parquet"))


def parquet_among(folder: Path, entries: Entries) -> list[Path]:
    """Choose the Parquet files of a folder, sorted."""
    return [
        folder / entry.name
        for entry in entries
        if Path(entry.name).suffix.lower() in PARQUET and not entry.name.startswith(".") and is_file(entry)
    ]


def parquet_below(folder: Path, entries: Entries, look: Look) -> list[Path]:
    """Find the Parquet files of a set: in its folder, else in ``data``, else in all folders below.

    Looking ends where image files are met and no Parquet file: such a folder is one of images.

    Raises:
        UserError: several configurations, each a set of its own.
    """
    files = parquet_among(folder, entries)
    if files:
        return files
    for entry in entries:
        if entry.name.lower() == "data" and is_folder(entry):
            files = _walk(folder / entry.name, look)
            if files:
                return files
    files = _walk(folder, look)
    _check_one_set(folder, files)
    return files


def _walk(folder: Path, look: Look) -> list[Path]:
    """List the Parquet files of a folder and below, sorted; none where it turns out to be one of images."""
    files, images, seen = list[Path](), 0, set[str]()
    waiting = [(folder, 0)]
    while waiting:
        place, depth = waiting.pop()
        real = os.path.realpath(place)
        if real in seen or is_of_system(real) or (len(seen) > MOST_FOLDERS and not files):
            continue
        seen.add(real)
        try:
            entries = look(place)
        except OSError:
            continue
        if is_run(entries):
            continue
        files += parquet_among(place, entries)
        images += sum(is_image_name(entry.name) for entry in entries[: IMAGES + 1])
        if images > IMAGES and not files:
            return []
        if depth < DEPTH:
            below = [place / e.name for e in entries if not e.name.startswith((".", "__")) and is_folder(e)]
            waiting += [(one, depth + 1) for one in reversed(below)]
    return sorted(files)


def _check_one_set(folder: Path, files: Sequence[Path]) -> None:
    """Refuse folders that are each a set: neither named after splits nor numbered parts of one.

    Raises:
        UserError: there are several.
    """
    names = dict.fromkeys(path.relative_to(folder).parts[0] for path in files)
    sets = [name for name in names if split_in(name) is None]
    stems = {re.sub(r"\d+", "", name) for name in sets}
    if len(sets) > 1 and len(stems) > 1:
        raise UserError(f"{folder} holds several sets of Parquet files ({some(sets)}): name one of its folders.")


def files_by_split(root: Path, files: Sequence[Path]) -> tuple[dict[str, list[Path]], list[Path]]:
    """Sort files into splits by the words of their paths.

    Returns:
        Files by split, and those of ``train`` whose paths name no split although others do.
    """
    splits: dict[str, list[Path]] = {}
    unnamed: list[Path] = []
    for path in files:
        split = split_in(path.relative_to(root).with_suffix("").as_posix())
        if split is None:
            unnamed.append(path)
        splits.setdefault(split or "train", []).append(path)
    return splits, unnamed if len(unnamed) < len(files) else []
